//! Masks and weights by element, which share a binding. Weights that the kernels of rows cannot read as they are, of 16 bits
//! or beside a mask, go through scratch.

use crate::device::module::{File, Part, Piece, Program, constants, uniform, wgsl};
use crate::device::plan::{Bind, Dispatches, Grid, Region, Scratch, bindings, to_u32};
use crate::device::tensor::{DType, Tensor};
use crate::error::Error;
use crate::kernels::rows::call::RowInputs;
use crate::kernels::rows::phase::Phases;
use crate::kernels::storage::{REAL_KINDS, real_kind};

uniform! {
    /// As shaders/shared/weigh.wgsl has it.
    struct WeighParams {
        elements: u32,
        cols: u32,
        groups_x: u32,
        kind: u32,
        weight_offset: u32,
        weight_stride: u32,
        mask_offset: u32,
        mask_stride: u32,
        masked: u32,
    }
}

bindings! {
    struct WeighBindings {
        1: weight,
        4: mask,
        6: weights,
    }
}

constants! {
    /// How a copied weight says that its element is masked out.
    MARKS {
        UNCOUNTED = 0xffff_ffff,
    }
}

/// The copies of a window's weights.
pub(crate) static WEIGH: Program = Program {
    name: "weigh",
    pieces: &[
        Piece::File(wgsl!("shared/math.wgsl")),
        Piece::File(wgsl!("shared/reals.wgsl")),
        Piece::File(wgsl!("shared/flag.wgsl")),
        Piece::File(wgsl!("shared/weigh.wgsl")),
    ],
    entries: &["weigh"],
    constants: &[MARKS, REAL_KINDS],
    bindings: WeighBindings::NAMES,
    mirrors: &[&[WeighParams::MIRROR]],
};

const fn masks(name: &'static str, files: &'static [File]) -> Part {
    Part {
        bindings: &[(4, "mask")],
        ..Part::new(name, files)
    }
}

const fn weights(name: &'static str, files: &'static [File]) -> Part {
    Part {
        bindings: &[(4, "weight")],
        ..Part::new(name, files)
    }
}

/// Neither.
pub(crate) static MASK_NONE: Part = Part::new(
    "",
    &[
        wgsl!("shared/mask_none.wgsl"),
        wgsl!("shared/unweighted.wgsl"),
    ],
);
/// A mask that begins where the logits do.
pub(crate) static MASK_WORDS: Part = masks(
    "mask",
    &[
        wgsl!("shared/mask_words.wgsl"),
        wgsl!("shared/unweighted.wgsl"),
    ],
);
/// A mask that begins anywhere.
pub(crate) static MASK_ANY: Part = masks(
    "maskany",
    &[
        wgsl!("shared/mask_any.wgsl"),
        wgsl!("shared/unweighted.wgsl"),
    ],
);
/// Weights that begin where the logits do.
pub(crate) static WEIGHT: Part = weights(
    "weight",
    &[
        wgsl!("shared/weights_vectors.wgsl"),
        wgsl!("shared/weights_count.wgsl"),
    ],
);
/// Weights that begin anywhere.
pub(crate) static WEIGHT_ANY: Part = weights(
    "weightany",
    &[
        wgsl!("shared/weights_any.wgsl"),
        wgsl!("shared/weights_count.wgsl"),
    ],
);
/// Copies of weights, in which the mask is.
pub(crate) static WEIGHT_COPIED: Part = Part {
    constants: MARKS,
    ..weights(
        "weightcopied",
        &[
            wgsl!("shared/weights_any.wgsl"),
            wgsl!("shared/weights_masked.wgsl"),
        ],
    )
};

/// The part that reads what a call has of both, in rows that begin at these phases; of rows that begin anywhere without.
pub(crate) fn mask_part(inputs: &RowInputs<'_>, phases: Option<&Phases>) -> &'static Part {
    match (inputs.weight, inputs.mask) {
        (Some(_), _) if is_copied(inputs) => &WEIGHT_COPIED,
        (Some(weight), _) if phases.is_some_and(|phases| phases.vectors(&weight)) => &WEIGHT,
        (Some(_), _) => &WEIGHT_ANY,
        (None, None) => &MASK_NONE,
        (None, Some(mask)) if phases.is_some_and(|phases| phases.begin_alike(&mask)) => &MASK_WORDS,
        (None, Some(_)) => &MASK_ANY,
    }
}

/// Whether the kernels cannot read the weights as they are.
pub(crate) fn is_copied(inputs: &RowInputs<'_>) -> bool {
    let other = |weight: Tensor<'_>| weight.dtype() != DType::F32 || inputs.mask.is_some();
    inputs.weight.is_some_and(other)
}

/// The weights of one window of rows at a time, copied into scratch.
pub(crate) struct Copies<'a> {
    weight: Tensor<'a>,
    mask: Option<Tensor<'a>>,
    region: Region,
}

impl<'a> Copies<'a> {
    /// Those of a call that needs them. Their place comes later.
    pub(crate) fn of(inputs: &RowInputs<'a>) -> Option<Self> {
        let copies = |weight| Copies {
            weight,
            mask: inputs.mask,
            region: Region::ABSENT,
        };
        inputs.weight.filter(|_| is_copied(inputs)).map(copies)
    }

    /// Takes room for a window of `rows` rows.
    pub(crate) fn take(&mut self, scratch: &mut Scratch, rows: usize) -> Result<(), Error> {
        self.region = scratch.take(rows as u64 * self.weight.cols() as u64)?;
        Ok(())
    }

    /// Their binding, first element and elements of a row.
    pub(crate) fn bind(&self) -> (Bind<'a>, u32, u32) {
        (self.region.bind(), 0, self.weight.cols() as u32)
    }

    /// Adds the dispatch that makes those of a window.
    pub(crate) fn make(
        &self,
        steps: &mut Dispatches<'a, '_>,
        first: usize,
        rows: usize,
    ) -> Result<(), Error> {
        let elements = rows as u64 * self.weight.cols() as u64;
        if elements == 0 {
            return Ok(());
        }
        let target = steps.target;
        let (weight, weight_offset) = target.bind_rows(&self.weight, first, rows);
        let (mask, mask_offset) = match &self.mask {
            Some(mask) => target.bind_rows(mask, first, rows),
            None => (Bind::Nothing, 0),
        };
        let params = WeighParams {
            elements: to_u32(elements, "weight")?,
            cols: self.weight.cols() as u32,
            groups_x: 0,
            kind: real_kind(self.weight.dtype()),
            weight_offset,
            weight_stride: self.weight.row_stride() as u32,
            mask_offset,
            mask_stride: self.mask.map_or(0, |mask| mask.row_stride() as u32),
            masked: u32::from(self.mask.is_some()),
        };
        let on = |grid: Grid| WeighParams {
            groups_x: grid.groups_x,
            ..params
        };
        let module = WEIGH.module(target.variant.workgroup);
        let bindings = WeighBindings {
            weight,
            mask,
            weights: self.region.bind(),
        };
        let groups = elements.div_ceil(u64::from(module.workgroup));
        steps.push(module, "weigh", groups, on, bindings)
    }
}
