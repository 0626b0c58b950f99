//! Element types and label forms as the kernels store them, one row each: a new one is a row here and its files.

use crate::device::caps::Half;
use crate::device::module::{File, Part, constants, wgsl};
use crate::device::tensor::DType;

/// How real values are stored in a buffer.
#[derive(Debug)]
pub(crate) struct Storage {
    dtype: DType,
    /// The variant's way with f16 that this is for; any where it does not matter.
    half: Option<Half>,
    /// Gradient elements in one storage word, as PACK says in WGSL.
    pub(crate) pack: u32,
    /// What logits of a row loss need beside one of the next three.
    pub(crate) logits: Part,
    /// Logits, and a gradient that goes into a tensor of f32.
    pub(crate) grad_f32: Part,
    /// Logits, and a gradient that is stored like them.
    pub(crate) grad_same: Part,
    /// Logits that the gradient replaces.
    pub(crate) in_place: Part,
    /// Dense targets of a row loss.
    pub(crate) targets: Part,
    /// Rows of a contrastive loss.
    pub(crate) source: Part,
}

const GRAD: &[(usize, &str)] = &[(7, "grad")];

const fn grad(name: &'static str, files: &'static [File]) -> Part {
    Part {
        bindings: GRAD,
        ..Part::new(name, files)
    }
}

/// Every way in which real values are stored.
pub(crate) static STORAGES: [Storage; 4] = [
    Storage {
        dtype: DType::F32,
        half: None,
        pack: 1,
        logits: Part::new("f32", &[]),
        grad_f32: grad(
            "f32",
            &[
                wgsl!("shared/logits_f32.wgsl"),
                wgsl!("shared/grad_f32.wgsl"),
            ],
        ),
        grad_same: grad(
            "same",
            &[
                wgsl!("shared/logits_f32.wgsl"),
                wgsl!("shared/grad_f32.wgsl"),
            ],
        ),
        in_place: Part::new("inplace", &[wgsl!("shared/in_place_f32.wgsl")]),
        targets: Part::new("f32", &[wgsl!("shared/targets_f32.wgsl")]),
        source: Part::new("packf32", &[wgsl!("contrastive/source_f32.wgsl")]),
    },
    Storage {
        dtype: DType::F16,
        half: Some(Half::Native),
        pack: 1,
        logits: Part {
            f16: true,
            ..Part::new("f16", &[])
        },
        grad_f32: grad(
            "f32",
            &[
                wgsl!("shared/logits_f16.wgsl"),
                wgsl!("shared/grad_f32.wgsl"),
            ],
        ),
        grad_same: grad(
            "same",
            &[
                wgsl!("shared/logits_f16.wgsl"),
                wgsl!("shared/grad_f16.wgsl"),
            ],
        ),
        in_place: Part::new("inplace", &[wgsl!("shared/in_place_f16.wgsl")]),
        targets: Part::new("f16", &[wgsl!("shared/targets_f16.wgsl")]),
        source: PACKED_F16_SOURCE,
    },
    Storage {
        dtype: DType::F16,
        half: Some(Half::Packed),
        pack: 2,
        logits: Part::new("f16packed", &[wgsl!("shared/half_f16.wgsl")]),
        grad_f32: PACKED_GRAD_F32,
        grad_same: PACKED_GRAD_SAME,
        in_place: PACKED_IN_PLACE,
        targets: Part::new("f16", &[wgsl!("shared/targets_f16.wgsl")]),
        source: PACKED_F16_SOURCE,
    },
    Storage {
        dtype: DType::Bf16,
        half: None,
        pack: 2,
        logits: Part::new("bf16", &[wgsl!("shared/half_bf16.wgsl")]),
        grad_f32: PACKED_GRAD_F32,
        grad_same: PACKED_GRAD_SAME,
        in_place: PACKED_IN_PLACE,
        targets: Part::new("bf16", &[wgsl!("shared/targets_bf16.wgsl")]),
        source: Part::new(
            "packbf16",
            &[
                wgsl!("shared/half_bf16.wgsl"),
                wgsl!("contrastive/source_packed.wgsl"),
            ],
        ),
    },
];

// What two values in a word share, whichever type they have.
const PACKED_GRAD_F32: Part = grad(
    "f32",
    &[
        wgsl!("shared/logits_packed.wgsl"),
        wgsl!("shared/grad_f32.wgsl"),
    ],
);
const PACKED_GRAD_SAME: Part = grad(
    "same",
    &[
        wgsl!("shared/logits_packed.wgsl"),
        wgsl!("shared/grad_packed.wgsl"),
    ],
);
const PACKED_IN_PLACE: Part = Part::new("inplace", &[wgsl!("shared/in_place_packed.wgsl")]);

const PACKED_F16_SOURCE: Part = Part::new(
    "packf16",
    &[
        wgsl!("shared/half_f16.wgsl"),
        wgsl!("contrastive/source_packed.wgsl"),
    ],
);

impl Storage {
    /// Whether the values are f32, so that a gradient stored like them is one of f32.
    pub(crate) fn is_f32(&self) -> bool {
        self.dtype == DType::F32
    }

    /// How values of an element type are stored under a variant; none for a type that is not real.
    pub(crate) fn of(dtype: DType, half: Half) -> Option<&'static Storage> {
        let fits = |storage: &&Storage| {
            storage.dtype == dtype && storage.half.is_none_or(|wanted| wanted == half)
        };
        STORAGES.iter().find(fits)
    }
}

/// Dense targets in bytes.
pub(crate) static TARGETS_U8: Part = Part::new("u8", &[wgsl!("shared/targets_u8.wgsl")]);
/// Targets in packed bits.
pub(crate) static TARGETS_BITS: Part = Part::new("bits", &[wgsl!("shared/targets_bits.wgsl")]);
/// Offsets and indices of the positives.
pub(crate) static TARGETS_CSR: Part = Part {
    bindings: &[(3, "indices")],
    ..Part::new("csr", &[wgsl!("shared/targets_csr.wgsl")])
};

constants! {
    /// How kernels with `reals.wgsl` call an element type.
    REAL_KINDS {
        REAL_F32 = 0,
        REAL_F16 = 1,
        REAL_BF16 = 2,
    }
}

/// The code of a real element type in [`REAL_KINDS`].
pub(crate) fn real_kind(dtype: DType) -> u32 {
    match dtype {
        DType::F16 => REAL_F16,
        DType::Bf16 => REAL_BF16,
        DType::F32 | DType::U8 | DType::U32 => REAL_F32,
    }
}
