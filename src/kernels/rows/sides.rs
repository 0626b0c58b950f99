//! The small tensors by row or column, which all row kernels reach through one binding.

use crate::device::module::{File, Part, Piece, Program, constants, wgsl};
use crate::device::plan::{ABSENT, Bind, Dispatches, Scratch, Target, bindings, to_u32};
use crate::device::tensor::Tensor;
use crate::error::Error;
use crate::kernels::rows::call::RowInputs;
use crate::kernels::rows::params::{GATHER_PARAMS, GatherPiece, PIECES, RowSides};
use crate::kernels::rows::phase::Phases;
use crate::losses::labels::Threshold;

/// Upper bound on the workgroups of a copy.
pub(crate) const MAX_COPY_GROUPS: u32 = 1024;

constants! {
    /// How a table of weights says that a label is masked out.
    SIDES {
        MASKED = 0xffff_ffff,
    }
}

bindings! {
    /// What copies reach.
    struct GatherBindings {
        1: class_mask,
        2: class_weight,
        3: threshold,
        4: sample_weight,
        5: grad_loss,
        6: scratch,
    }
}

/// Copies of side tensors into scratch.
pub(crate) static GATHER: Program = Program {
    name: "gather",
    pieces: &[
        Piece::File(wgsl!("shared/flag.wgsl")),
        Piece::File(wgsl!("shared/gather.wgsl")),
    ],
    entries: &["gather"],
    constants: &[SIDES],
    bindings: GatherBindings::NAMES,
    mirrors: &[&[GatherPiece::MIRROR, GATHER_PARAMS]],
};

/// The one binding.
const BOUND: &[(usize, &str)] = &[(5, "sides")];
static BY_ROW: Part = Part {
    bindings: BOUND,
    ..Part::new("", &[wgsl!("shared/sides_rows.wgsl")])
};
const fn by_label(name: &'static str, files: &'static [File]) -> Part {
    Part {
        constants: SIDES,
        bindings: BOUND,
        ..Part::new(name, files)
    }
}
static WEIGHTS: Part = by_label(
    "weights",
    &[
        wgsl!("shared/tables.wgsl"),
        wgsl!("shared/sides_tables.wgsl"),
        wgsl!("shared/sides_weights.wgsl"),
    ],
);
static WEIGHTS_ANY: Part = by_label(
    "weightsany",
    &[
        wgsl!("shared/tables_any.wgsl"),
        wgsl!("shared/sides_tables.wgsl"),
        wgsl!("shared/sides_weights.wgsl"),
    ],
);
static THRESHOLDS: Part = by_label(
    "thresholds",
    &[
        wgsl!("shared/tables.wgsl"),
        wgsl!("shared/sides_tables.wgsl"),
        wgsl!("shared/sides_thresholds.wgsl"),
    ],
);
static THRESHOLDS_ANY: Part = by_label(
    "thresholdsany",
    &[
        wgsl!("shared/tables_any.wgsl"),
        wgsl!("shared/sides_tables.wgsl"),
        wgsl!("shared/sides_thresholds.wgsl"),
    ],
);

/// Which side tensors by label there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SideForm {
    /// None.
    Rows,
    /// Weights or a mask of classes, in tables for each phase.
    Weights,
    /// The same in a table for any phase.
    WeightsAny,
    /// A threshold, with or without these, in tables for each phase.
    Thresholds,
    /// The same in tables for any phase.
    ThresholdsAny,
}

/// Every form.
pub(crate) const SIDE_FORMS: [SideForm; 5] = [
    SideForm::Rows,
    SideForm::Weights,
    SideForm::WeightsAny,
    SideForm::Thresholds,
    SideForm::ThresholdsAny,
];

impl SideForm {
    pub(crate) fn of(target: Target<'_>, inputs: &RowInputs<'_>) -> SideForm {
        let logits = inputs.logits;
        let words = logits.rows() as u128 * 2 + logits.cols() as u128 * 2 * 4;
        let any = 4 * words + (1 << 10) > u128::from(target.caps.max_binding);
        let classes = inputs.class_mask.is_some() || inputs.class_weight.is_some();
        match (inputs.threshold, any) {
            (Some(Threshold::Label(_)), false) => SideForm::Thresholds,
            (Some(Threshold::Label(_)), true) => SideForm::ThresholdsAny,
            (_, false) if classes => SideForm::Weights,
            (_, true) if classes => SideForm::WeightsAny,
            _ => SideForm::Rows,
        }
    }

    /// The part that reads them.
    pub(crate) fn part(self) -> &'static Part {
        match self {
            SideForm::Rows => &BY_ROW,
            SideForm::Weights => &WEIGHTS,
            SideForm::WeightsAny => &WEIGHTS_ANY,
            SideForm::Thresholds => &THRESHOLDS,
            SideForm::ThresholdsAny => &THRESHOLDS_ANY,
        }
    }
}

/// One binding that reaches every side tensor, and where in it each begins.
pub(crate) struct Sides<'a> {
    pub(crate) bind: Bind<'a>,
    params: RowSides,
    copies: Option<Copies<'a>>,
}

/// What the `gather` kernel has to copy first.
struct Copies<'a> {
    pieces: [GatherPiece; PIECES],
    bindings: GatherBindings<'a>,
}

impl<'a> Sides<'a> {
    /// Binds the side tensors where they lie if they are by row and one binding reaches them all, else as copies in scratch.
    pub(crate) fn bind(
        target: Target<'_>,
        inputs: &RowInputs<'a>,
        phases: &Phases,
        scratch: &mut Scratch,
    ) -> Result<Self, Error> {
        if SideForm::of(target, inputs) != SideForm::Rows {
            return Sides::copied(target, inputs, phases, scratch);
        }
        let tensors = [
            ("threshold", inputs.threshold.map(Threshold::values)),
            ("sample_weight", inputs.sample_weight),
            ("grad_loss", inputs.grad_loss),
        ];
        let mut present = tensors
            .into_iter()
            .filter_map(|(name, t)| Some((name, t.filter(|t| t.len() > 0)?)));
        let mut params = RowSides {
            sample_weight: ABSENT,
            grad_loss: ABSENT,
            threshold: ABSENT,
            labels: ABSENT,
            thresholds: ABSENT,
            ..RowSides::by_row(inputs)
        };
        let Some((first, one)) = present.next() else {
            return Ok(Sides {
                bind: Bind::Nothing,
                params,
                copies: None,
            });
        };
        let present: Vec<_> = std::iter::once((first, one)).chain(present).collect();
        let ends = present.iter().map(|(_, t)| t.bytes(0, 1));
        let from = ends.clone().map(|(from, _)| from).min().unwrap_or(0);
        let end = ends.map(|(_, end)| end).max().unwrap_or(0);
        // A range over several tensors may cover outputs too, which browsers refuse.
        let caps = target.caps;
        let together = present.len() == 1
            || (!cfg!(target_arch = "wasm32")
                && present.iter().all(|(_, t)| t.memory() == one.memory())
                && end - from + caps.storage_align <= caps.max_binding);
        if !together {
            return Sides::copied(target, inputs, phases, scratch);
        }
        let (bind, before) = Bind::bytes(one.memory(), from, end, caps.storage_align);
        if end - from + before > caps.max_binding {
            target.rows_per_binding(first, &one)?;
        }
        for (name, tensor) in present {
            let (begin, _) = tensor.bytes(0, 1);
            let at = to_u32((begin - from + before) / tensor.dtype().size(), name)?;
            match name {
                "threshold" => params.threshold = at,
                "sample_weight" => params.sample_weight = at,
                _ => params.grad_loss = at,
            }
        }
        Ok(Sides {
            bind,
            params,
            copies: None,
        })
    }

    /// Finds room for copies of the tensors.
    fn copied(
        target: Target<'_>,
        inputs: &RowInputs<'a>,
        phases: &Phases,
        scratch: &mut Scratch,
    ) -> Result<Self, Error> {
        let begin = scratch.words();
        let lanes = u64::from(target.variant.workgroup);
        let mut bindings = GatherBindings::default();
        let mut pieces = [GatherPiece::default(); PIECES];
        let mut params = RowSides {
            sample_weight: ABSENT,
            grad_loss: ABSENT,
            threshold: ABSENT,
            labels: ABSENT,
            thresholds: ABSENT,
            ..RowSides::by_row(inputs)
        };
        let groups = |words: u64| words.div_ceil(lanes).min(u64::from(MAX_COPY_GROUPS)) as u32;
        let some = |t: Option<Tensor<'a>>| t.filter(|t| t.len() > 0);
        let bind = |name, tensor: Tensor<'a>| target.bind_all(name, &tensor);

        let cols = inputs.logits.cols() as u64;
        // Rows begin in at most four ways, and a row's last vector reaches beyond it.
        let fours = phases.fours() && Phases::of(&inputs.logits, 4).fours();
        let form = SideForm::of(target, inputs);
        let any = matches!(form, SideForm::WeightsAny | SideForm::ThresholdsAny);
        let tables = if fours || any { 1 } else { 4 };
        let stride = (cols + 7).div_ceil(4) + 1;
        params.labels_stride = to_u32(stride, "class_weight")?;
        let table = |scratch: &mut Scratch, pieces: &mut GatherPiece| -> Result<u32, Error> {
            let words = tables * stride * 4;
            let at = scratch.take(words)?.first() - begin;
            *pieces = GatherPiece {
                len: to_u32(cols, "class_weight")?,
                destination: to_u32(at, "class_weight")?,
                groups: groups(words),
                kind: 1,
                phases: tables as u32,
                stride: to_u32(stride, "class_weight")?,
                ..*pieces
            };
            to_u32(at / 4, "class_weight")
        };
        let copy = |scratch: &mut Scratch, piece: &mut GatherPiece, len: usize| {
            let at = scratch.take(len as u64)?.first() - begin;
            let at = to_u32(at, "sample_weight")?;
            *piece = GatherPiece {
                len: len as u32,
                destination: at,
                groups: groups(len as u64),
                ..*piece
            };
            Ok::<u32, Error>(at)
        };
        if form != SideForm::Rows && cols > 0 {
            pieces[0].at = ABSENT;
            pieces[0].mask_at = ABSENT;
            if let Some(weights) = some(inputs.class_weight) {
                (bindings.class_weight, pieces[0].at) = bind("class_weight", weights)?;
            }
            if let Some(mask) = some(inputs.class_mask) {
                (bindings.class_mask, pieces[0].mask_at) = bind("class_mask", mask)?;
            }
            params.labels = table(scratch, &mut pieces[0])?;
        }
        if let Some(threshold) = inputs.threshold.filter(|t| t.values().len() > 0) {
            (bindings.threshold, pieces[1].at) = bind("threshold", threshold.values())?;
            match threshold {
                Threshold::Label(_) => params.thresholds = table(scratch, &mut pieces[1])?,
                _ => {
                    let len = threshold.values().len();
                    params.threshold = copy(scratch, &mut pieces[1], len)?;
                }
            }
        }
        if let Some(weights) = some(inputs.sample_weight) {
            (bindings.sample_weight, pieces[2].at) = bind("sample_weight", weights)?;
            params.sample_weight = copy(scratch, &mut pieces[2], weights.len())?;
        }
        if let Some(upstream) = some(inputs.grad_loss) {
            (bindings.grad_loss, pieces[3].at) = bind("grad_loss", upstream)?;
            params.grad_loss = copy(scratch, &mut pieces[3], upstream.len())?;
        }
        let own = Bind::scratch(begin, scratch.words() - begin);
        bindings.scratch = own;
        Ok(Sides {
            bind: own,
            params,
            copies: Some(Copies { pieces, bindings }),
        })
    }

    /// Adds the dispatch that copies, where there is anything to copy.
    pub(crate) fn gather(&self, steps: &mut Dispatches<'a, '_>) {
        if let Some(copies) = &self.copies {
            let widest = copies.pieces.iter().map(|piece| piece.groups).max();
            let Some(widest @ 1..) = widest else {
                return;
            };
            let grid = [widest, PIECES as u32, 1];
            let module = GATHER.module(steps.target.variant.workgroup);
            let bindings = copies.bindings;
            steps.push_grid(module, "gather", grid, copies.pieces, bindings);
        }
    }

    /// Where each begins.
    pub(crate) fn params(&self) -> RowSides {
        self.params
    }
}

impl RowSides {
    /// What changes from row to row.
    fn by_row(inputs: &RowInputs<'_>) -> RowSides {
        RowSides {
            threshold_row: u32::from(matches!(inputs.threshold, Some(Threshold::Row(_)))),
            grad_loss_row: u32::from(inputs.grad_loss.is_some_and(|t| t.cols() > 1)),
            ..RowSides::default()
        }
    }
}
