//! The constraint module: its kernels, and from a call to its dispatches.
//!
//! sigma rises, so the maximum of probabilities is that of logits, and every term is a softplus of the winner's logit.
//! `own` does the leaves, which are their own winners. `climb` does the other classes level by level, in the steps that
//! src/losses/climb.rs has laid out: a lane looks at few classes and few winners of lower levels, so that no list is long
//! and no lane waits for another. Each class notes its term, and counts its winner's wins by an integer atomic, which
//! no order changes. `sums` adds up the terms, `gradient` reads the wins. shaders/shared/best.wgsl finds maxima with the
//! first index in integers, so that ties, NaN and infinities are the same everywhere.

use crate::device::caps::Reduce;
use crate::device::context::Context;
use crate::device::inspect::{Inspection, Shape};
use crate::device::module::{Module, NO_PART, PARTS, Part, Piece, Program, uniform, wgsl};
use crate::device::plan::{
    Bind, Binds, Dispatches, Draft, Grid, Region, Scratch, Target, bindings, to_u32,
};
use crate::device::prepared;
use crate::device::prepared::Prepared;
use crate::device::tensor::{DType, FLOATS, Tensor};
use crate::error::Error;
use crate::kernels::on_device::OnDevice;
use crate::kernels::storage::REAL_KINDS;
use crate::kernels::sums;
use crate::kernels::sums::{Between, Rows, To};
use crate::kernels::targets::inspect_targets;
use crate::kernels::view::View;
use crate::kernels::work::push_portions;
use crate::losses::hierarchy::Hierarchy;
use crate::losses::labels::{TargetNames, Targets};
use crate::losses::mcm::Mcm;
use crate::losses::reduction::Reduction;
use std::ops::Range;

/// What the constraint module reads. Everything lies on the device; no value of it is read back.
#[derive(Clone, Copy, Debug)]
pub struct McmInputs<'a> {
    /// `[B, L]`, f32, f16 or bf16.
    pub logits: Tensor<'a>,
    /// The targets, which are hard; needed for loss and gradient, not for probabilities. Dense ones are u8 (0 or 1), or
    /// f32, f16, bf16 (positive above 0.5); bits are u32; lists are not taken.
    pub targets: Option<Targets<Tensor<'a>>>,
    /// The hierarchy.
    pub hierarchy: OnDevice<'a, Hierarchy>,
    /// Upstream gradient, f32 `[1]`, or `[B]` without a reduction; absent: ones.
    pub grad_loss: Option<Tensor<'a>>,
}

/// What the constraint module writes; what is absent is not computed.
#[derive(Clone, Copy, Debug, Default)]
pub struct McmOutputs<'a> {
    /// f32 `[1]`, or `[B]` without a reduction.
    pub loss: Option<Tensor<'a>>,
    /// `[B, L]`, f32 or the logits' type: the gradient to the logits.
    pub grad_logits: Option<Tensor<'a>>,
    /// f32 `[B, L]`: the constrained probabilities.
    pub probabilities: Option<Tensor<'a>>,
}

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

bindings! {
    /// What `own` and `climb` reach.
    struct ClassBindings {
        1: logits,
        2: targets,
        3: hierarchy,
        4: probabilities,
        5: terms,
        6: wins,
        7: found,
    }
}

bindings! {
    /// What `gradient` reaches.
    struct GradientBindings {
        1: logits,
        4: losses,
        5: sides,
        6: wins,
        7: grad,
    }
}

uniform! {
    /// Parameters of the kernels.
    struct McmParams {
        /// The logits of this window of rows.
        logits: View,
        /// Their targets.
        targets: View,
        /// Their probabilities.
        probabilities: View,
        /// The upstream gradient, with a stride of 0 where all rows share one.
        sides: View,
        /// The gradient to the logits of this window.
        grad: View,
        /// The first element of this dispatch.
        begin: u32,
        /// Where they end.
        end: u32,
        /// Workgroups in x.
        groups_x: u32,
        /// Classes.
        cols: u32,
        /// The first row of this window.
        first_row: u32,
        /// Where the hierarchy has a bit for each class: whether it is a leaf.
        leaves_at: u32,
        /// The class of each step.
        classes_at: u32,
        /// Of each step, where its classes begin and where its steps begin; and their end.
        starts_at: u32,
        /// The classes and steps.
        entries_at: u32,
        /// Steps.
        steps: u32,
        /// The first step of this level.
        first_step: u32,
        /// Steps of this level.
        step_count: u32,
        /// Whether terms are wanted.
        want_terms: u32,
        /// Whether it is counted how often a class wins.
        want_wins: u32,
        /// The factor of the gradient.
        scale: f32,
        /// The bits of NaN, which WGSL lets no constant have.
        nan: u32,
        /// Those of infinity.
        infinity: u32,
    }
}

const TARGETS: &[(usize, &str)] = &[(2, "targets")];

/// Forms of the targets, the first part of `own` and `climb`.
static NO_TARGETS: Part = Part::new("none", &[wgsl!("mcm/targets_none.wgsl")]);
static BYTES: Part = Part {
    bindings: TARGETS,
    ..Part::new("u8", &[wgsl!("mcm/targets_bytes.wgsl")])
};
static BITS: Part = Part {
    bindings: TARGETS,
    ..Part::new("bits", &[wgsl!("mcm/targets_bits.wgsl")])
};
static REALS: Part = Part {
    bindings: TARGETS,
    ..Part::new("reals", &[wgsl!("mcm/targets_reals.wgsl")])
};

/// Whether probabilities are written, the second.
static PROBABILITIES: Part = Part {
    bindings: &[(4, "probabilities")],
    ..Part::new("probabilities", &[wgsl!("mcm/probabilities.wgsl")])
};
static NO_PROBABILITIES: Part = Part::new("", &[wgsl!("mcm/no_probabilities.wgsl")]);

/// A program whose parts are the targets and whether probabilities are written: bindings beside the shared ones.
macro_rules! of_classes {
    ($name:literal, $entry:literal, $file:literal, $($binding:expr)?) => {
        Program {
            name: $name,
            pieces: &[
                Piece::File(wgsl!("shared/math.wgsl")),
                Piece::File(wgsl!("shared/best.wgsl")),
                Piece::File(wgsl!("shared/reals.wgsl")),
                Piece::File(wgsl!("shared/view.wgsl")),
                Piece::File(wgsl!("shared/group_index.wgsl")),
                Piece::File(wgsl!("mcm/logits.wgsl")),
                Piece::Part(0),
                Piece::Part(1),
                Piece::File(wgsl!("mcm/class.wgsl")),
                Piece::File(wgsl!($file)),
            ],
            entries: &[$entry],
            constants: &[REAL_KINDS],
            bindings: &[
                (1, "logits"),
                (3, "hierarchy"),
                (5, "terms"),
                (6, "wins"),
                $($binding)?
            ],
            mirrors: &[&[View::MIRROR, McmParams::MIRROR]],
        }
    };
}
static MCM_OWN: Program = of_classes!("mcm_own", "own", "mcm/own.wgsl",);
static MCM_CLIMB: Program = of_classes!("mcm_climb", "climb", "mcm/climb.wgsl", (7, "found"));

/// Its part is how the gradient is stored.
static MCM_GRADIENT: Program = Program {
    name: "mcm_gradient",
    pieces: &[
        Piece::File(wgsl!("shared/math.wgsl")),
        Piece::File(wgsl!("shared/reals.wgsl")),
        Piece::File(wgsl!("shared/view.wgsl")),
        Piece::File(wgsl!("shared/group_index.wgsl")),
        Piece::File(wgsl!("mcm/logits.wgsl")),
        Piece::File(wgsl!("mcm/slope.wgsl")),
        Piece::Part(0),
    ],
    entries: &["gradient"],
    constants: &[REAL_KINDS],
    bindings: GradientBindings::NAMES,
    mirrors: &[&[View::MIRROR, McmParams::MIRROR]],
};

static GRADIENT_F32: Part = Part::new("f32", &[wgsl!("mcm/gradient_f32.wgsl")]);
static GRADIENT_HALF: Part = Part::new("half", &[wgsl!("mcm/gradient_half.wgsl")]);
static PARTS_OF_GRADIENTS: &[&[&Part]] = &[&[&GRADIENT_F32], &[&GRADIENT_HALF]];

/// A module with its parts.
fn module(program: &'static Program, first: &'static [&'static Part], workgroup: u32) -> Module {
    let mut parts = [&NO_PART; PARTS];
    parts
        .iter_mut()
        .zip(first)
        .for_each(|(to, part)| *to = part);
    program.with(parts, Reduce::Tree, workgroup)
}

/// The parts of `own` and `climb` that there are.
static PARTS_OF_CLASSES: &[&[&Part]] = &[
    &[&NO_TARGETS, &PROBABILITIES],
    &[&BYTES, &PROBABILITIES],
    &[&BYTES, &NO_PROBABILITIES],
    &[&BITS, &PROBABILITIES],
    &[&BITS, &NO_PROBABILITIES],
    &[&REALS, &PROBABILITIES],
    &[&REALS, &NO_PROBABILITIES],
];

/// Those of a call.
fn parts_of_classes(
    targets: &Option<Targets<Tensor<'_>>>,
    probabilities: bool,
) -> &'static [&'static Part] {
    let form = match targets {
        None | Some(Targets::Sparse { .. }) => 0,
        Some(Targets::Dense(t)) if t.dtype() == DType::U8 => 1,
        Some(Targets::Bits(_)) => 3,
        Some(Targets::Dense(_)) => 5,
    };
    PARTS_OF_CLASSES[form + usize::from(form > 0 && !probabilities)]
}

/// Every module of the constraint module.
pub(crate) fn modules(workgroup: u32) -> Vec<Module> {
    let mut all = Vec::new();
    for parts in PARTS_OF_CLASSES {
        all.push(module(&MCM_OWN, parts, workgroup));
        all.push(module(&MCM_CLIMB, parts, workgroup));
    }
    for part in PARTS_OF_GRADIENTS {
        all.push(module(&MCM_GRADIENT, part, workgroup));
    }
    all
}

/// Limit on what is kept of a window of rows, in bytes, unless one row has more.
const WINDOW_BYTES: u64 = 64 << 20;

/// Checks the tensors of a call, and gives their bytes.
fn inspect(config: &Mcm, inputs: &McmInputs<'_>, outputs: &McmOutputs<'_>) -> Result<u64, Error> {
    let hierarchy = inputs.hierarchy.host;
    let (rows, cols) = (inputs.logits.rows(), hierarchy.nodes());
    let each = config.reduction == Reduction::None;
    let all = Shape::Matrix(rows, cols);
    let mut tensors = Inspection::default();
    tensors.reads("logits", inputs.logits, FLOATS, all)?;
    let dense = &[DType::U8, DType::F32, DType::F16, DType::Bf16];
    match &inputs.targets {
        Some(Targets::Sparse { .. }) => {
            let reason = "this loss takes no lists of labels";
            return Err(Error::refused(TargetNames::TARGETS.offsets, reason));
        }
        Some(targets) => {
            let names = TargetNames::TARGETS;
            inspect_targets(&mut tensors, targets, names, (rows, cols), dense)?;
        }
        None if outputs.loss.is_some() || outputs.grad_logits.is_some() => {
            return Err(Error::refused(
                "targets",
                "needed to compute the loss or its gradient",
            ));
        }
        None => {}
    }
    let words = Shape::Vector(hierarchy.words_len());
    tensors.reads("hierarchy", inputs.hierarchy.words, &[DType::U32], words)?;
    tensors.grad_loss(inputs.grad_loss, each.then_some(rows))?;
    let losses = Shape::Vector(if each { rows } else { 1 });
    tensors.writes("loss", outputs.loss, &[DType::F32], losses)?;
    let grads: &[DType] = match inputs.logits.dtype() {
        DType::F32 => &[DType::F32],
        half => &[DType::F32, half],
    };
    tensors.writes("grad_logits", outputs.grad_logits, grads, all)?;
    tensors.writes("probabilities", outputs.probabilities, &[DType::F32], all)?;
    tensors.finish()
}

/// From a checked call to its dispatches.
fn plan<'a>(
    target: Target<'_>,
    config: &Mcm,
    inputs: &McmInputs<'a>,
    outputs: &McmOutputs<'a>,
) -> Result<Draft<'a>, Error> {
    let mut call = Call::new(target, config, inputs, outputs)?;
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
    targets: Option<Tensor<'a>>,
    rows: usize,
    cols: usize,
    /// Rows that are gone through at a time.
    window: usize,
    scratch: Scratch,
    kept: Kept,
    hierarchy: Bind<'a>,
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
        let targets = inputs.targets.map(|targets| match targets {
            Targets::Dense(t) | Targets::Bits(t) | Targets::Sparse { offsets: t, .. } => t,
        });
        let window = window(&target, inputs, outputs, targets)?;
        to_u32(rows as u64, "logits")?;
        let (want_wins, want_loss) = (outputs.grad_logits.is_some(), outputs.loss.is_some());
        // A row's loss tells too whether there is a NaN in it.
        let want_terms = want_loss || want_wins;
        let of_window = window.min(rows) as u64;
        let elements = of_window * cols as u64;
        let mut scratch = Scratch::default();
        let kept = Kept {
            terms: scratch.take_if(want_terms, elements)?,
            wins: scratch.take_if(want_wins, 2 * elements)?,
            found: scratch.take(4 * of_window * climb.len() as u64)?,
            losses: scratch.take_if(want_terms, rows as u64)?,
            of_terms: Between::take(&mut scratch, of_window, cols as u64)?,
            of_losses: Between::take(&mut scratch, 1, rows as u64)?,
        };
        let (hierarchy, words) = target.view_all("hierarchy", inputs.hierarchy.words)?;
        let (sides, sides_view) = target.view_all("grad_loss", inputs.grad_loss)?;
        let [leaves_at, classes_at, starts_at, entries_at, _] =
            climb.places().map(|place| words.offset + place as u32);
        let row_scale = config.row_scale(cols);
        Ok(Call {
            target,
            inputs,
            outputs,
            targets,
            rows,
            cols,
            window,
            scratch,
            kept,
            hierarchy,
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

    /// A window of rows, from `first` on: winners, losses, gradient.
    fn sweep(&mut self, first: usize) -> Result<(), Error> {
        let count = self.window.min(self.rows - first);
        let view = |tensor: Option<Tensor<'a>>| self.target.view_rows(tensor, first, count);
        let (logits, logits_view) = view(Some(self.inputs.logits));
        let (targets, targets_view) = view(self.targets);
        let (grad, grad_view) = view(self.outputs.grad_logits);
        let (probabilities, probabilities_view) = view(self.outputs.probabilities);
        let params = McmParams {
            first_row: first as u32,
            logits: logits_view,
            targets: targets_view,
            grad: grad_view,
            probabilities: probabilities_view,
            ..self.plain
        };
        let workgroup = self.target.variant.workgroup;
        let (count, cols) = (count as u64, self.cols as u64);
        let bindings = ClassBindings {
            logits,
            targets,
            hierarchy: self.hierarchy,
            probabilities,
            terms: self.kept.terms.bind(),
            wins: self.kept.wins.bind(),
            found: Bind::Nothing,
        };
        let parts = parts_of_classes(&self.inputs.targets, self.outputs.probabilities.is_some());
        let own = (module(&MCM_OWN, parts, workgroup), "own");
        self.push(own, (count * cols, 4), params, bindings)?;
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
            let climb = (module(&MCM_CLIMB, parts, workgroup), "climb");
            let each = 8 + 3 * entries.div_ceil(steps as u64);
            self.push(climb, (count * steps as u64, each), params, bindings)?;
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
        if let Some(tensor) = self.outputs.grad_logits {
            let (storage, words) = match tensor.dtype() {
                DType::F32 => (PARTS_OF_GRADIENTS[0], cols),
                _ => (PARTS_OF_GRADIENTS[1], (cols + 2) / 2),
            };
            let bindings = GradientBindings {
                logits,
                losses: self.kept.losses.bind(),
                sides: self.sides,
                wins: self.kept.wins.bind(),
                grad,
            };
            let gradient = (module(&MCM_GRADIENT, storage, workgroup), "gradient");
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
    targets: Option<Tensor<'_>>,
) -> Result<usize, Error> {
    let (rows, cols) = (inputs.logits.rows(), inputs.logits.cols());
    let steps = inputs.hierarchy.host.climb().len();
    let (wins, found) = (8 * cols as u64, 16 * steps as u64);
    let kept = WINDOW_BYTES / (wins + wins / 2 + found);
    let one = target.caps.max_binding / wins.max(found);
    // Elements are counted in 32 bits.
    let counted = u64::from(u32::MAX / 2) / (cols as u64 + 2).max(steps as u64);
    let most = kept.min(one).min(counted);
    let mut window = most.clamp(1, rows.max(1) as u64) as usize;
    for (name, tensor) in [
        ("logits", Some(inputs.logits)),
        ("targets", targets),
        ("grad_logits", outputs.grad_logits),
        ("probabilities", outputs.probabilities),
    ] {
        if let Some(tensor) = tensor {
            window = window.min(target.rows_per_binding(name, &tensor)?);
        }
    }
    Ok(window)
}
