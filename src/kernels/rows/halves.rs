//! The two-way loss's half over the classes: the same loss of the batch turned, with a row for each class. Logits, targets
//! and weights are copied turned into scratch, the rows' driver goes over them, and where the gradient to the logits is
//! written, a sweep over the batch takes that half's from the plane it was left in.

use crate::device::caps::Reduce;
use crate::device::live::Given;
use crate::device::module::{Module, NO_PART, PARTS, Part, Piece, Program, uniform, wgsl};
use crate::device::plan::{
    ABSENT, Bind, Dispatches, Draft, Grid, REGION_WORDS, Region, Scratch, Target, bindings, to_u32,
};
use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::kernels::gradient::Gradient;
use crate::kernels::rows::call::{RowInputs, RowOutputs};
use crate::kernels::rows::count;
use crate::kernels::rows::driver::Among;
use crate::kernels::rows::loss::{Row, RowLoss};
use crate::kernels::rows::plan::record;
use crate::kernels::sparse::Bits;
use crate::kernels::storage::{REAL_KINDS, real_kind};
use crate::kernels::sums::{self, Between, Rows, To};
use crate::kernels::targets::{LABEL_FORMS, label_form};
use crate::kernels::view::View;
use crate::losses::labels::Targets;
use crate::losses::zlpr::Half;

uniform! {
    /// As shaders/zlpr/turn.wgsl has it.
    struct TurnParams {
        targets: View,
        rows: u32,
        cols: u32,
        groups_x: u32,
        logits_kind: u32,
        logits_offset: u32,
        logits_stride: u32,
        class_mask_offset: u32,
        mask_offset: u32,
        mask_stride: u32,
        sample_weight_offset: u32,
        weight_kind: u32,
        weight_offset: u32,
        weight_stride: u32,
        turned_targets: u32,
        turned_weights: u32,
        turned_stride: u32,
    }
}

bindings! {
    struct TurnBindings {
        1: logits,
        2: targets,
        3: class_mask,
        4: mask,
        5: sides,
        6: turned,
        7: weight,
    }
}

/// The copies. Its part is the form of the targets.
static TURN: Program = Program {
    name: "turn",
    pieces: &[
        Piece::File(wgsl!("shared/math.wgsl")),
        Piece::File(wgsl!("shared/reals.wgsl")),
        Piece::File(wgsl!("shared/view.wgsl")),
        Piece::Part(0),
        Piece::File(wgsl!("shared/flag.wgsl")),
        Piece::File(wgsl!("zlpr/turn.wgsl")),
    ],
    entries: &["turn"],
    constants: &[REAL_KINDS],
    bindings: TurnBindings::NAMES,
    mirrors: &[&[View::MIRROR, TurnParams::MIRROR]],
};

/// The module of the copies of targets in a form.
fn module(form: &'static Part, workgroup: u32) -> Module {
    let mut parts = [&NO_PART; PARTS];
    parts[0] = form;
    TURN.with(parts, Reduce::Tree, workgroup)
}

/// Every module of the copies.
pub(crate) fn modules(workgroup: u32) -> Vec<Module> {
    let form = |form| module(form, workgroup);
    LABEL_FORMS.iter().map(form).collect()
}

/// The batch turned, in scratch.
struct Turned {
    all: Region,
    logits: Tensor<'static>,
    targets: Tensor<'static>,
    weight: Option<Tensor<'static>>,
    /// Where the gradient goes.
    grad: Tensor<'static>,
    /// Vectors from class to class.
    stride: u64,
    /// Words from one copy to the next.
    apart: u64,
}

impl Turned {
    fn take(scratch: &mut Scratch, inputs: &RowInputs<'_>, gradient: bool) -> Result<Self, Error> {
        let (rows, cols) = (inputs.logits.rows(), inputs.logits.cols());
        // A batch of nothing may have any number of rows or labels.
        to_u32(rows as u64, "logits")?;
        to_u32(cols as u64, "logits")?;
        let stride = rows.div_ceil(4);
        let plane = 4 * stride as u64 * cols as u64;
        // Bindings that reach one of them must not reach into the next: browsers refuse that.
        let apart = plane.next_multiple_of(REGION_WORDS);
        let weights = if inputs.weight.is_some() { apart } else { 0 };
        // Logits, weights, then targets in bytes; the gradient, which another dispatch binds, apart.
        let words = apart + weights + plane / 4;
        to_u32(words, "scratch")?;
        let all = scratch.take(words)?;
        let grad = scratch.take(if gradient { plane } else { 0 })?;
        let view =
            |first, dtype| Tensor::scratch(first, dtype, cols, rows).with_row_stride(4 * stride);
        Ok(Turned {
            all,
            logits: view(all.first(), DType::F32),
            weight: inputs.weight.map(|_| view(all.first() + apart, DType::F32)),
            targets: view(all.first() + apart + weights, DType::U8),
            grad: view(grad.first(), DType::F32),
            stride: stride as u64,
            apart,
        })
    }

    /// Adds the copies.
    fn push<'a>(
        &self,
        steps: &mut Dispatches<'a, '_>,
        scratch: &mut Scratch,
        inputs: &RowInputs<'a>,
    ) -> Result<(), Error> {
        let target = steps.target;
        let (rows, cols) = (inputs.logits.rows(), inputs.logits.cols());
        let plane = self.stride * cols as u64;
        if plane == 0 {
            return Ok(());
        }
        let bind = |name, tensor: Option<Tensor<'a>>| -> Result<(Bind<'a>, u32), Error> {
            let bound = target.bind_any(name, tensor.filter(|t| t.len() > 0))?;
            Ok(bound.unwrap_or((Bind::Nothing, ABSENT)))
        };
        let (logits, logits_offset) = bind("logits", Some(inputs.logits))?;
        let (class_mask, class_mask_offset) = bind("class_mask", inputs.class_mask)?;
        let (mask, mask_offset) = bind("mask", inputs.mask)?;
        let (sides, sample_weight_offset) = bind("sample_weight", inputs.sample_weight)?;
        let (weight, weight_offset) = bind("weight", inputs.weight)?;
        let mut bits = Bits::of(&inputs.targets, (rows, cols));
        let (targets, targets_view) = match (&mut bits, inputs.targets) {
            (Some(bits), _) => {
                bits.take(scratch, rows)?;
                bits.make(steps, 0, rows)?;
                let (bind, _, stride) = bits.bind();
                (bind, View::whole(stride as usize))
            }
            (None, Targets::Dense(t) | Targets::Bits(t) | Targets::Sparse { offsets: t, .. }) => {
                target.view_all("targets", Some(t))?
            }
        };
        let weighs = inputs.weight.is_some();
        let stride_of = |t: Option<Tensor<'_>>| t.map_or(0, |t| t.row_stride() as u32);
        let params = TurnParams {
            targets: targets_view,
            rows: rows as u32,
            cols: cols as u32,
            logits_kind: real_kind(inputs.logits.dtype()),
            logits_offset,
            logits_stride: inputs.logits.row_stride() as u32,
            class_mask_offset,
            mask_offset,
            mask_stride: stride_of(inputs.mask),
            sample_weight_offset,
            weight_kind: inputs.weight.map_or(0, |t| real_kind(t.dtype())),
            weight_offset,
            weight_stride: stride_of(inputs.weight),
            turned_weights: (self.apart / 4) as u32,
            turned_targets: (self.apart * (1 + u64::from(weighs))) as u32,
            turned_stride: self.stride as u32,
            groups_x: 0,
        };
        let on = |grid: Grid| TurnParams {
            groups_x: grid.groups_x,
            ..params
        };
        let bindings = TurnBindings {
            logits,
            targets,
            class_mask,
            mask,
            sides,
            turned: self.all.bind(),
            weight,
        };
        let form = &LABEL_FORMS[label_form(&inputs.targets)];
        let module = module(form, target.variant.workgroup);
        let groups = plane.div_ceil(u64::from(module.workgroup));
        steps.push(module, "turn", groups, on, bindings)
    }

    /// What a loss of the classes reads: weights by sample and by class have changed their places.
    fn inputs<'a>(&self, inputs: &RowInputs<'a>) -> RowInputs<'a> {
        RowInputs {
            sample_weight: inputs.class_weight,
            class_weight: inputs.sample_weight,
            weight: self.weight,
            grad_loss: inputs.grad_loss,
            ..RowInputs::new(self.logits, Targets::Dense(self.targets))
        }
    }
}

/// Plans a checked call with a half over the classes; `none` is a loss of rows whose loss and gradient are 0.
pub(crate) fn plan<'a>(
    target: Target<'_>,
    (row, half): (&Row, Half),
    none: &'static RowLoss,
    inputs: &RowInputs<'a>,
    outputs: &RowOutputs<'a>,
    settings: &Given<'a>,
) -> Result<Draft<'a>, Error> {
    let mut scratch = Scratch::default();
    let mut steps = Dispatches::new(target);
    steps.push_settings(settings)?;
    let turned = Turned::take(&mut scratch, inputs, outputs.grad_logits.is_some())?;
    turned.push(&mut steps, &mut scratch, inputs)?;
    // The losses of both halves.
    let losses = scratch.take(2)?;
    let loss_of = |half: u64| Tensor::scratch(losses.first() + half, DType::F32, 1, 1);
    let both = half == Half::Both;
    let loss = |half| {
        outputs
            .loss
            .map(|loss| if both { loss_of(half) } else { loss })
    };

    let of_classes = turned.inputs(inputs);
    let to_classes = RowOutputs {
        loss: loss(0),
        grad_logits: outputs.grad_logits.map(|_| Gradient::To(turned.grad)),
        ..RowOutputs::default()
    };
    // What is counted is counted before a scale is written into what comes after.
    let classes = count::push(&mut steps, &mut scratch, row, &of_classes)?;
    let samples = match both {
        true => count::push(&mut steps, &mut scratch, row, inputs)?,
        false => None,
    };
    count::scale(&mut steps, classes);
    let mut bytes = record(
        &mut steps,
        &mut scratch,
        row,
        &of_classes,
        &to_classes,
        Among::Here,
    )?
    .bytes;
    let mut windows = 1;
    if both || outputs.grad_logits.is_some() {
        let row = Row {
            loss: if both { row.loss } else { none },
            turned: outputs.grad_logits.map(|_| turned.grad),
            ..*row
        };
        let outputs = RowOutputs {
            loss: if both { loss(1) } else { None },
            ..*outputs
        };
        count::scale(&mut steps, samples);
        let recorded = record(
            &mut steps,
            &mut scratch,
            &row,
            inputs,
            &outputs,
            Among::Here,
        )?;
        (bytes, windows) = (bytes + recorded.bytes, recorded.windows);
    }
    if let Some(loss) = outputs.loss.filter(|_| both) {
        let (results, at) = target.bind_all("loss", &loss)?;
        let to = To {
            results,
            at,
            scale: 1.0,
        };
        let from = Rows {
            addends: losses,
            rows: 1,
            len: 2,
        };
        let between = Between::take(&mut scratch, 1, 2)?;
        sums::push(&mut steps, from, &between, to)?;
    }
    Ok(steps.draft(&scratch, windows).moving(bytes))
}
