//! The small tensors by row or column, which all row kernels reach through one binding.

use crate::device::module::{Piece, Program, wgsl};
use crate::device::plan::{ABSENT, Bind, Binds, Dispatches, Scratch, Target, to_u32};
use crate::device::tensor::Tensor;
use crate::error::Error;
use crate::kernels::rows::call::RowInputs;
use crate::kernels::rows::params::{GATHER_PARAMS, GatherPiece, PIECES, RowSides};
use crate::losses::labels::Threshold;

/// What errors call them, in the order of [`RowInputs`] below.
const NAMES: [&str; PIECES] = [
    "class_mask",
    "class_weight",
    "sample_weight",
    "threshold",
    "grad_loss",
];
/// Upper bound on the workgroups of a copy.
pub(crate) const MAX_COPY_GROUPS: u32 = 1024;

/// Copies of side tensors into scratch.
pub(crate) static GATHER: Program = Program {
    name: "gather",
    pieces: &[Piece::File(wgsl!("shared/gather.wgsl"))],
    entries: &["gather"],
    constants: &[],
    bindings: &[
        (1, "piece0"),
        (2, "piece1"),
        (3, "piece2"),
        (4, "piece3"),
        (5, "piece4"),
        (6, "scratch"),
    ],
    mirrors: &[&[GatherPiece::MIRROR, GATHER_PARAMS]],
};

/// One binding that reaches every side tensor, and where in it each begins.
pub(crate) struct Sides<'a> {
    pub(crate) bind: Bind<'a>,
    /// In elements of each tensor.
    at: [u32; PIECES],
    copies: Option<Copies<'a>>,
}

/// What the `gather` kernel has to copy first, where no binding reaches all tensors where they lie.
struct Copies<'a> {
    pieces: [GatherPiece; PIECES],
    bindings: Binds<'a>,
    /// Workgroups of the largest copy, and the number of copies.
    groups: [u32; 2],
}

impl<'a> Sides<'a> {
    /// Binds the side tensors where they lie if one binding reaches them all, else as copies in scratch.
    pub(crate) fn bind(
        target: Target<'_>,
        inputs: &RowInputs<'a>,
        scratch: &mut Scratch,
    ) -> Result<Self, Error> {
        let tensors = [
            inputs.class_mask,
            inputs.class_weight,
            inputs.sample_weight,
            inputs.threshold.map(Threshold::values),
            inputs.grad_loss,
        ];
        let present: Vec<(usize, Tensor<'a>)> = tensors
            .into_iter()
            .enumerate()
            .filter_map(|(i, t)| Some((i, t.filter(|t| t.len() > 0)?)))
            .collect();
        let caps = target.caps;
        let Some((first, one)) = present.first() else {
            return Ok(Sides {
                bind: Bind::Nothing,
                at: [ABSENT; PIECES],
                copies: None,
            });
        };
        let ends: Vec<(u64, u64)> = present.iter().map(|(_, t)| t.bytes(0, 1)).collect();
        let from = ends.iter().map(|(from, _)| *from).min().unwrap_or(0);
        let end = ends.iter().map(|(_, end)| *end).max().unwrap_or(0);
        // A range over several tensors may cover outputs too, which browsers refuse.
        let together = present.len() == 1
            || (!cfg!(target_arch = "wasm32")
                && present.iter().all(|(_, t)| t.buffer() == one.buffer())
                && end - from + caps.storage_align <= caps.max_binding);
        if !together {
            return Sides::copied(target, &present, scratch);
        }
        let (bind, before) = Bind::bytes(one.buffer(), from, end, caps.storage_align);
        if end - from + before > caps.max_binding {
            target.rows_per_binding(NAMES[*first], one)?;
        }
        let mut at = [ABSENT; PIECES];
        for ((i, tensor), (first, _)) in present.iter().zip(&ends) {
            let begin = (first - from + before) / tensor.dtype().size();
            at[*i] = to_u32(begin, NAMES[*i])?;
        }
        Ok(Sides {
            bind,
            at,
            copies: None,
        })
    }

    /// Finds room for copies of the tensors.
    fn copied(
        target: Target<'_>,
        present: &[(usize, Tensor<'a>)],
        scratch: &mut Scratch,
    ) -> Result<Self, Error> {
        let begin = scratch.words();
        let lanes = u64::from(target.variant.workgroup);
        let mut at = [ABSENT; PIECES];
        let mut pieces = [GatherPiece::default(); PIECES];
        let mut bindings = Binds::default();
        let mut widest = 1;
        for (place, (i, tensor)) in present.iter().enumerate() {
            let (first, end) = tensor.bytes(0, 1);
            let words = (end - first).div_ceil(4);
            let to = u64::from(scratch.take(words)?.at()) - begin;
            let (bind, before) =
                Bind::bytes(tensor.buffer(), first, end, target.caps.storage_align);
            let groups = words.div_ceil(lanes).min(u64::from(MAX_COPY_GROUPS)) as u32;
            widest = widest.max(groups);
            bindings[place] = bind;
            pieces[place] = GatherPiece {
                source: to_u32(before, NAMES[*i])?,
                words: to_u32(words, NAMES[*i])?,
                destination: to_u32(to, NAMES[*i])?,
                groups,
            };
            at[*i] = to_u32(to * 4 / tensor.dtype().size(), NAMES[*i])?;
        }
        let bind = Bind::scratch(begin, scratch.words() - begin);
        bindings[5] = bind;
        Ok(Sides {
            bind,
            at,
            copies: Some(Copies {
                pieces,
                bindings,
                groups: [widest, present.len() as u32],
            }),
        })
    }

    /// Adds the dispatch that copies, where there is anything to copy.
    pub(crate) fn gather(&self, steps: &mut Dispatches<'a, '_>) {
        if let Some(copies) = &self.copies {
            let module = GATHER.module(steps.target.variant.workgroup);
            let [x, y] = copies.groups;
            steps.push_grid(module, "gather", [x, y, 1], copies.pieces, copies.bindings);
        }
    }

    /// Where each begins.
    pub(crate) fn params(&self, inputs: &RowInputs<'a>) -> RowSides {
        let [
            class_mask,
            class_weight,
            sample_weight,
            threshold,
            grad_loss,
        ] = self.at;
        RowSides {
            class_mask,
            class_weight,
            sample_weight,
            threshold,
            threshold_row: u32::from(matches!(inputs.threshold, Some(Threshold::Row(_)))),
            threshold_col: u32::from(matches!(inputs.threshold, Some(Threshold::Label(_)))),
            grad_loss,
            grad_loss_row: u32::from(inputs.grad_loss.is_some_and(|t| t.cols() > 1)),
        }
    }
}
