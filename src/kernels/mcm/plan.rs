//! From a checked call of the constraint module to its dispatches.

use crate::device::context::Context;
use crate::device::module::Module;
use crate::device::plan::{Bind, Binds, Dispatches, Draft, Grid, Region, Scratch, Target, to_u32};
use crate::device::prepared;
use crate::device::prepared::Prepared;
use crate::device::tensor::Tensor;
use crate::error::Error;
use crate::kernels::gradient::{stored, tensor};
use crate::kernels::mcm::call::{McmInputs, McmOutputs, inspect};
use crate::kernels::mcm::counts::{Marks, Table};
use crate::kernels::mcm::table::{
    ClassBindings, GradientBindings, McmParams, Wins, of_classes, of_gradient, wins,
};
use crate::kernels::sparse::Bits;
use crate::kernels::sums;
use crate::kernels::sums::{Between, Rows, To};
use crate::kernels::view::{View, Viewed};
use crate::kernels::work::push_portions;
use crate::losses::labels::{TargetNames, Targets};
use crate::losses::mcm::Mcm;
use crate::losses::reduction::Reduction;
use std::ops::Range;

impl Mcm {
    /// Checks the call and makes what it needs: pipelines, bind groups, parameters, scratch.
    ///
    /// # Errors
    /// Every error there can be: settings, shapes, element types, buffer usage and size, overlap of outputs with other
    /// tensors, limits of the device. Nothing has been written then.
    pub fn prepare(
        &self,
        cx: &Context,
        inputs: &McmInputs<'_>,
        outputs: &McmOutputs<'_>,
    ) -> Result<Prepared, Error> {
        self.check()?;
        let bytes = inspect(self, inputs, outputs)?;
        let draft = plan(cx.target(), self, inputs, outputs)?;
        prepared::build(cx, draft.moving(bytes))
    }
}

/// Limit on what is kept of a window of rows, in bytes, unless one row has more.
const WINDOW_BYTES: u64 = 64 << 20;

/// From a checked call to its dispatches.
fn plan<'a>(
    target: Target<'_>,
    config: &Mcm,
    inputs: &McmInputs<'a>,
    outputs: &McmOutputs<'a>,
) -> Result<Draft<'a>, Error> {
    let mut call = Call::new(target, config, inputs, outputs)?;
    if let Some(table) = &call.table {
        table.make(&mut call.dispatches, inputs)?;
    }
    for first in (0..call.rows).step_by(call.window) {
        call.sweep(first)?;
    }
    call.total(config)?;
    let windows = call.rows.div_ceil(call.window).max(1);
    Ok(call.dispatches.draft(&call.scratch, windows))
}

/// What is kept of a window of rows, and of all rows.
struct Kept {
    /// The term of each class.
    terms: Region,
    /// How often each class has won.
    wins: Region,
    /// The winners that each step has found.
    found: Region,
    /// The loss of each row of the batch.
    losses: Region,
    /// For the sums of terms.
    of_terms: Between,
    /// For the sum of losses.
    of_losses: Between,
}

/// A call while its dispatches are laid out.
struct Call<'a, 'c> {
    target: Target<'c>,
    inputs: &'c McmInputs<'a>,
    outputs: &'c McmOutputs<'a>,
    rows: usize,
    cols: usize,
    /// Rows that are gone through at a time.
    window: usize,
    scratch: Scratch,
    kept: Kept,
    /// The bits of sparse targets.
    bits: Option<Bits<'a>>,
    marks: Option<Marks<'a>>,
    table: Option<Table>,
    wins: &'static Wins,
    hierarchy: Bind<'a>,
    /// The terms, with the weights of the classes where there are some.
    terms: Bind<'a>,
    sides: Bind<'a>,
    /// The parameters but for what a window changes.
    plain: McmParams,
    row_scale: f32,
    dispatches: Dispatches<'a, 'c>,
}

impl<'a, 'c> Call<'a, 'c> {
    /// Binds what all windows share, and lays out the scratch.
    fn new(
        target: Target<'c>,
        config: &Mcm,
        inputs: &'c McmInputs<'a>,
        outputs: &'c McmOutputs<'a>,
    ) -> Result<Self, Error> {
        let climb = inputs.hierarchy.host.climb();
        let (rows, cols) = (inputs.logits.rows(), inputs.logits.cols());
        let wins = wins(inputs.class_weight.is_some());
        let window = window(&target, inputs, outputs, wins)?;
        to_u32(rows as u64, "logits")?;
        let want_wins = outputs.grad_logits.is_some();
        // A row's loss tells too whether there is a NaN in it.
        let want_terms = outputs.want_terms();
        let of_window = window.min(rows) as u64;
        let elements = of_window * cols as u64;
        let mut scratch = Scratch::default();
        let terms = scratch.take_if(want_terms, elements)?;
        // Next to the terms, so that one binding reaches both.
        let table = match want_terms {
            true => Table::take(inputs, &mut scratch)?,
            false => None,
        };
        let kept = Kept {
            terms,
            wins: scratch.take_if(want_wins, wins.words * elements)?,
            found: scratch.take(4 * of_window * climb.len() as u64)?,
            losses: scratch.take_if(want_terms, rows as u64)?,
            of_terms: Between::take(&mut scratch, of_window, cols as u64)?,
            of_losses: Between::take(&mut scratch, 1, rows as u64)?,
        };
        let marks = match want_terms {
            true => Marks::take(&target, inputs, config.row_mean, of_window, &mut scratch)?,
            false => None,
        };
        let mut bits = inputs
            .targets
            .as_ref()
            .and_then(|targets| Bits::of(targets, (rows, cols)));
        if let Some(bits) = &mut bits {
            bits.take(&mut scratch, of_window as usize)?;
        }
        let (terms, weights_at, total_at) = match &table {
            Some(table) => table.with_terms(terms)?,
            None => (terms.bind(), 0, 0),
        };
        let (hierarchy, words) = target.view_all("hierarchy", inputs.hierarchy.words)?;
        let (sides, sides_view) = target.view_all("grad_loss", inputs.grad_loss)?;
        let [leaves_at, classes_at, starts_at, entries_at, _] =
            climb.places().map(|place| words.offset + place as u32);
        // Where not all classes count, a row's factor has its scale.
        let row_scale = match &marks {
            Some(_) => 1.0,
            None => config.row_scale(cols),
        };
        Ok(Call {
            target,
            inputs,
            outputs,
            rows,
            cols,
            window,
            scratch,
            kept,
            bits,
            marks,
            table,
            wins,
            hierarchy,
            terms,
            sides,
            plain: McmParams {
                sides: View {
                    stride: u32::from(inputs.grad_loss.is_some_and(|t| t.cols() > 1)),
                    ..sides_view
                },
                cols: cols as u32,
                leaves_at,
                classes_at,
                starts_at,
                entries_at,
                steps: climb.len() as u32,
                want_terms: u32::from(want_terms),
                want_wins: u32::from(want_wins),
                scale: (config.reduction.scale(rows) * row_scale) as f32,
                nan: f32::NAN.to_bits(),
                infinity: f32::INFINITY.to_bits(),
                weights_at,
                total_at,
                ..McmParams::default()
            },
            row_scale: row_scale as f32,
            dispatches: Dispatches::new(target),
        })
    }

    /// Adds the dispatches for `count` elements of `each` loads.
    fn push(
        &mut self,
        (module, entry): (Module, &'static str),
        (count, each): (u64, u64),
        params: McmParams,
        bindings: impl Into<Binds<'a>>,
    ) -> Result<(), Error> {
        let lanes = u64::from(self.target.variant.workgroup);
        let params = |portion: Range<u64>, grid: Grid| McmParams {
            begin: portion.start as u32,
            end: portion.end as u32,
            groups_x: grid.groups_x,
            ..params
        };
        let steps = &mut self.dispatches;
        push_portions(
            steps,
            (module, entry),
            (count, each),
            lanes,
            params,
            bindings,
        )
    }

    /// The targets of `count` rows from `first` on, in a form that `own` and `climb` read.
    fn targets(&mut self, first: usize, count: usize) -> Result<Viewed<'a>, Error> {
        let given = match (&self.bits, self.inputs.targets) {
            (Some(bits), _) => {
                bits.make(&mut self.dispatches, first, count)?;
                let (bind, _, words) = bits.bind();
                (bind, View::whole(words as usize))
            }
            (None, Some(Targets::Dense(t) | Targets::Bits(t))) => {
                self.target.view_rows(t, first, count)
            }
            (None, _) => Viewed::default(),
        };
        match &self.marks {
            Some(marks) => {
                marks.make(&mut self.dispatches, (first, count), given)?;
                Ok(marks.view())
            }
            None => Ok(given),
        }
    }

    /// A window of rows, from `first` on: winners, losses, gradient.
    fn sweep(&mut self, first: usize) -> Result<(), Error> {
        let rows = self.window.min(self.rows - first);
        let view = |tensor: Option<Tensor<'a>>| self.target.view_rows(tensor, first, rows);
        let (logits, logits_view) = view(Some(self.inputs.logits));
        let (grad, grad_view) = view(tensor(self.outputs.grad_logits));
        let (probabilities, probabilities_view) = view(self.outputs.probabilities);
        let (targets, targets_view) = self.targets(first, rows)?;
        let params = McmParams {
            first_row: first as u32,
            logits: logits_view,
            targets: targets_view,
            grad: grad_view,
            probabilities: probabilities_view,
            ..self.plain
        };
        let workgroup = self.target.variant.workgroup;
        let (count, cols) = (rows as u64, self.cols as u64);
        let bindings = ClassBindings {
            logits,
            targets,
            hierarchy: self.hierarchy,
            probabilities,
            terms: self.terms,
            wins: self.kept.wins.bind(),
            found: Bind::Nothing,
        };
        let marked = self.marks.is_some();
        let probabilities = self.outputs.probabilities.is_some();
        let targets = (&self.inputs.targets, marked);
        let (own, climb) = of_classes(targets, probabilities, self.wins, workgroup);
        self.push((own, "own"), (count * cols, 4), params, bindings)?;
        let bindings = ClassBindings {
            found: self.kept.found.bind(),
            ..bindings
        };
        for (first, steps, entries) in self.inputs.hierarchy.host.climb().levels() {
            let params = McmParams {
                first_step: first as u32,
                step_count: steps as u32,
                ..params
            };
            let each = 8 + 3 * entries.div_ceil(steps as u64);
            let work = (count * steps as u64, each);
            self.push((climb, "climb"), work, params, bindings)?;
        }
        if params.want_terms != 0 {
            let from = Rows {
                addends: self.kept.terms,
                rows: count,
                len: cols,
            };
            let to = To {
                results: self.kept.losses.bind(),
                at: first as u32,
                scale: self.row_scale,
            };
            sums::push(&mut self.dispatches, from, &self.kept.of_terms, to)?;
        }
        if let Some(marks) = &self.marks {
            let losses = self.kept.losses;
            marks.weigh(&mut self.dispatches, (first, rows), losses)?;
        }
        if let Some(grad_tensor) = tensor(self.outputs.grad_logits) {
            let words = stored(grad_tensor.dtype(), cols as usize);
            let adds = self.outputs.grad_logits.is_some_and(|grad| grad.adds());
            let (marks, table) = (&self.marks, &self.table);
            let bindings = GradientBindings {
                logits,
                factors: marks.as_ref().map_or(Bind::Nothing, Marks::factors),
                total: table.as_ref().map_or(Bind::Nothing, Table::total),
                losses: self.kept.losses.bind(),
                sides: self.sides,
                wins: self.kept.wins.bind(),
                grad,
            };
            let gradient = of_gradient((grad_tensor.dtype(), adds), marked, self.wins, workgroup);
            let gradient = (gradient, "gradient");
            self.push(gradient, (count * words, 4), params, bindings)?;
        }
        Ok(())
    }

    /// The losses of all rows, to the caller's tensor.
    fn total(&mut self, config: &Mcm) -> Result<(), Error> {
        if self.outputs.loss.is_none() {
            return Ok(());
        }
        let (results, view) = self.target.view_all("loss", self.outputs.loss)?;
        let rows = self.rows as u64;
        let (rows, len, scale) = match config.reduction {
            Reduction::None => (rows, 1, 1.0),
            reduction => (1, rows, reduction.scale(self.rows) as f32),
        };
        let from = Rows {
            addends: self.kept.losses,
            rows,
            len,
        };
        let to = To {
            results,
            at: view.offset,
            scale,
        };
        sums::push(&mut self.dispatches, from, &self.kept.of_losses, to)
    }
}

/// Rows of a window: as many as one binding reaches in every tensor, and as what is kept of them has room for.
fn window(
    target: &Target<'_>,
    inputs: &McmInputs<'_>,
    outputs: &McmOutputs<'_>,
    wins: &Wins,
) -> Result<usize, Error> {
    let (rows, cols) = (inputs.logits.rows(), inputs.logits.cols());
    let steps = inputs.hierarchy.host.climb().len();
    let (terms, found) = (4 * cols as u64, 16 * steps as u64);
    let wins = wins.words * terms;
    let kept = WINDOW_BYTES / (wins + terms + found);
    let one = target.caps.max_binding / wins.max(found);
    // Elements are counted in 32 bits.
    let counted = u64::from(u32::MAX) / 4 / (cols as u64 + 2).max(steps as u64);
    let most = kept.min(one).min(counted);
    let mut window = most.clamp(1, rows.max(1) as u64) as usize;
    let names = TargetNames::TARGETS;
    let targets = match inputs.targets {
        Some(Targets::Dense(t)) => (names.dense, Some(t)),
        Some(Targets::Bits(t)) => (names.bits, Some(t)),
        Some(Targets::Sparse { .. }) | None => (names.offsets, None),
    };
    for (name, tensor) in [
        ("logits", Some(inputs.logits)),
        targets,
        ("mask", inputs.mask),
        ("grad_logits", tensor(outputs.grad_logits)),
        ("probabilities", outputs.probabilities),
    ] {
        if let Some(tensor) = tensor {
            window = window.min(target.rows_per_binding(name, &tensor)?);
        }
    }
    Ok(window)
}
