//! Element types and label forms as the kernels store them, one row each: a new one is a row here and its files.

use crate::device::caps::Half;
use crate::device::module::{File, Part, constants, wgsl};
use crate::device::tensor::DType;

/// Where the gradient to the logits goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// Into a tensor of f32 (also where no gradient is wanted).
    F32,
    /// Into a tensor stored like the logits.
    Same,
    /// Over the logits.
    InPlace,
}

/// How real values are stored in a buffer.
#[derive(Debug)]
pub(crate) struct Storage {
    dtype: DType,
    /// The variant's way with f16 that this is for; any where it does not matter.
    half: Option<Half>,
    /// Logits and gradient of a row loss, in vectors.
    pub(crate) vectors: &'static Access,
    /// The same of rows of whole vectors.
    pub(crate) whole: &'static Access,
    /// The same where they begin anywhere.
    pub(crate) any: &'static Access,
    /// Dense targets of a row loss, in vectors.
    pub(crate) targets: &'static Part,
    /// The same where they begin anywhere.
    pub(crate) targets_any: &'static Part,
    /// Rows of a contrastive loss.
    pub(crate) source: Part,
}

/// One way to reach logits and gradient.
#[derive(Debug)]
pub(crate) struct Access {
    /// Labels of a step: those of a vector.
    pub(crate) step: u32,
    /// Whether two rows may share a word of a gradient that is stored like the logits.
    pub(crate) shares_words: bool,
    /// What logits need beside one of the next three.
    pub(crate) logits: Part,
    /// Logits, and a gradient that goes into a tensor of f32.
    grad_f32: Part,
    /// Logits, and a gradient that is stored like them.
    grad_same: Part,
    /// Logits that the gradient replaces.
    in_place: Part,
    /// What a gradient in f32 is added to.
    prior_f32: &'static Part,
    /// What one that is stored like the logits is added to.
    prior_same: &'static Part,
}

/// What a gradient is added to, and that it is.
static PRIOR_VECTORS: Part = Part::new(
    "add",
    &[
        wgsl!("shared/prior.wgsl"),
        wgsl!("shared/prior_vectors.wgsl"),
    ],
);
static PRIOR_HALF: Part = Part::new(
    "addhalf",
    &[wgsl!("shared/prior.wgsl"), wgsl!("shared/prior_half.wgsl")],
);
static PRIOR_ANY: Part = Part::new(
    "addany",
    &[wgsl!("shared/prior.wgsl"), wgsl!("shared/prior_any.wgsl")],
);
static PRIOR_WORDS_ANY: Part = Part::new(
    "addwords",
    &[
        wgsl!("shared/prior.wgsl"),
        wgsl!("shared/prior_words_any.wgsl"),
    ],
);
static PRIOR_F16_ANY: Part = Part::new(
    "addf16",
    &[
        wgsl!("shared/prior.wgsl"),
        wgsl!("shared/prior_f16_any.wgsl"),
    ],
);

impl Access {
    /// The part that adds a gradient to what is at its destination.
    pub(crate) fn prior(&'static self, destination: Destination) -> &'static Part {
        match destination {
            Destination::F32 | Destination::InPlace => self.prior_f32,
            Destination::Same => self.prior_same,
        }
    }

    /// The part for a destination of the gradient.
    pub(crate) fn to(&'static self, destination: Destination) -> &'static Part {
        match destination {
            Destination::F32 => &self.grad_f32,
            Destination::Same => &self.grad_same,
            Destination::InPlace => &self.in_place,
        }
    }
}

const fn grad(name: &'static str, files: &'static [File]) -> Part {
    Part {
        bindings: &[(7, "grad")],
        ..Part::new(name, files)
    }
}

const F32_TO_F32: &[File] = &[
    wgsl!("shared/step_4.wgsl"),
    wgsl!("shared/vectors.wgsl"),
    wgsl!("shared/logits_vectors.wgsl"),
    wgsl!("shared/inside_ragged.wgsl"),
    wgsl!("shared/put_f32.wgsl"),
];
const F32_TO_F32_ANY: &[File] = &[
    wgsl!("shared/step_4.wgsl"),
    wgsl!("shared/logits_f32_any.wgsl"),
    wgsl!("shared/inside_ragged.wgsl"),
    wgsl!("shared/put_any.wgsl"),
    wgsl!("shared/grad_f32_any.wgsl"),
];
static F32: Access = Access {
    step: 4,
    shares_words: false,
    logits: Part::new("f32", &[]),
    grad_f32: grad("f32", F32_TO_F32),
    grad_same: grad("same", F32_TO_F32),
    in_place: Part::new(
        "inplace",
        &[
            wgsl!("shared/step_4.wgsl"),
            wgsl!("shared/vectors.wgsl"),
            wgsl!("shared/in_place_vectors.wgsl"),
            wgsl!("shared/inside_ragged.wgsl"),
            wgsl!("shared/put_f32.wgsl"),
        ],
    ),
    prior_f32: &PRIOR_VECTORS,
    prior_same: &PRIOR_VECTORS,
};
const F32_WHOLE_FILES: &[File] = &[
    wgsl!("shared/step_4.wgsl"),
    wgsl!("shared/vectors.wgsl"),
    wgsl!("shared/logits_vectors.wgsl"),
    wgsl!("shared/inside_whole.wgsl"),
    wgsl!("shared/put_f32_whole.wgsl"),
];
static F32_WHOLE: Access = Access {
    step: 4,
    shares_words: false,
    logits: Part::new("f32", &[]),
    grad_f32: grad("f32whole", F32_WHOLE_FILES),
    grad_same: grad("samewhole", F32_WHOLE_FILES),
    in_place: Part::new(
        "inplacewhole",
        &[
            wgsl!("shared/step_4.wgsl"),
            wgsl!("shared/vectors.wgsl"),
            wgsl!("shared/in_place_vectors.wgsl"),
            wgsl!("shared/inside_whole.wgsl"),
            wgsl!("shared/put_f32_whole.wgsl"),
        ],
    ),
    prior_f32: &PRIOR_VECTORS,
    prior_same: &PRIOR_VECTORS,
};
static F32_ANY: Access = Access {
    step: 4,
    shares_words: false,
    logits: Part::new("f32", &[]),
    grad_f32: grad("f32any", F32_TO_F32_ANY),
    grad_same: grad("sameany", F32_TO_F32_ANY),
    in_place: Part::new(
        "inplaceany",
        &[
            wgsl!("shared/step_4.wgsl"),
            wgsl!("shared/logits_f32_any.wgsl"),
            wgsl!("shared/inside_ragged.wgsl"),
            wgsl!("shared/put_any.wgsl"),
            wgsl!("shared/in_place_f32_any.wgsl"),
        ],
    ),
    prior_f32: &PRIOR_ANY,
    prior_same: &PRIOR_ANY,
};

/// Values of 16 bits in vectors of eight.
const fn halves(logits: Part) -> Access {
    Access {
        step: 8,
        shares_words: false,
        logits,
        grad_f32: grad(
            "f32",
            &[
                wgsl!("shared/step_8.wgsl"),
                wgsl!("shared/vectors.wgsl"),
                wgsl!("shared/logits_vectors.wgsl"),
                wgsl!("shared/inside_ragged.wgsl"),
                wgsl!("shared/put_f32.wgsl"),
                wgsl!("shared/put_both.wgsl"),
            ],
        ),
        grad_same: grad(
            "same",
            &[
                wgsl!("shared/step_8.wgsl"),
                wgsl!("shared/vectors.wgsl"),
                wgsl!("shared/logits_vectors.wgsl"),
                wgsl!("shared/inside_ragged.wgsl"),
                wgsl!("shared/put_half.wgsl"),
            ],
        ),
        in_place: Part::new(
            "inplace",
            &[
                wgsl!("shared/step_8.wgsl"),
                wgsl!("shared/vectors.wgsl"),
                wgsl!("shared/in_place_vectors.wgsl"),
                wgsl!("shared/inside_ragged.wgsl"),
                wgsl!("shared/put_half.wgsl"),
            ],
        ),
        prior_f32: &PRIOR_VECTORS,
        prior_same: &PRIOR_HALF,
    }
}

/// The same of rows of whole vectors.
const fn halves_whole(logits: Part) -> Access {
    Access {
        step: 8,
        shares_words: false,
        logits,
        grad_f32: grad(
            "f32whole",
            &[
                wgsl!("shared/step_8.wgsl"),
                wgsl!("shared/vectors.wgsl"),
                wgsl!("shared/logits_vectors.wgsl"),
                wgsl!("shared/inside_whole.wgsl"),
                wgsl!("shared/put_f32_whole.wgsl"),
                wgsl!("shared/put_both.wgsl"),
            ],
        ),
        grad_same: grad(
            "samewhole",
            &[
                wgsl!("shared/step_8.wgsl"),
                wgsl!("shared/vectors.wgsl"),
                wgsl!("shared/logits_vectors.wgsl"),
                wgsl!("shared/inside_whole.wgsl"),
                wgsl!("shared/put_half_whole.wgsl"),
            ],
        ),
        in_place: Part::new(
            "inplacewhole",
            &[
                wgsl!("shared/step_8.wgsl"),
                wgsl!("shared/vectors.wgsl"),
                wgsl!("shared/in_place_vectors.wgsl"),
                wgsl!("shared/inside_whole.wgsl"),
                wgsl!("shared/put_half_whole.wgsl"),
            ],
        ),
        prior_f32: &PRIOR_VECTORS,
        prior_same: &PRIOR_HALF,
    }
}

/// Values of 16 bits, two to a word, wherever they begin.
const fn halves_any(logits: Part) -> Access {
    Access {
        step: 4,
        shares_words: true,
        logits,
        grad_f32: grad(
            "f32any",
            &[
                wgsl!("shared/step_4.wgsl"),
                wgsl!("shared/logits_half_any.wgsl"),
                wgsl!("shared/inside_ragged.wgsl"),
                wgsl!("shared/put_any.wgsl"),
                wgsl!("shared/grad_f32_any.wgsl"),
            ],
        ),
        grad_same: grad(
            "sameany",
            &[
                wgsl!("shared/step_4.wgsl"),
                wgsl!("shared/logits_half_any.wgsl"),
                wgsl!("shared/inside_ragged.wgsl"),
                wgsl!("shared/put_words.wgsl"),
                wgsl!("shared/grad_words_any.wgsl"),
            ],
        ),
        in_place: Part::new(
            "inplaceany",
            &[
                wgsl!("shared/step_4.wgsl"),
                wgsl!("shared/in_place_words_any.wgsl"),
                wgsl!("shared/inside_ragged.wgsl"),
                wgsl!("shared/put_words.wgsl"),
            ],
        ),
        prior_f32: &PRIOR_ANY,
        prior_same: &PRIOR_WORDS_ANY,
    }
}

const HALF_F16: Part = Part::new("f16", &[wgsl!("shared/half_f16.wgsl")]);
const HALF_BF16: Part = Part::new("bf16", &[wgsl!("shared/half_bf16.wgsl")]);
static F16: Access = halves(HALF_F16);
static F16_WHOLE: Access = halves_whole(HALF_F16);
static F16_ANY: Access = halves_any(Part {
    name: "f16packed",
    ..HALF_F16
});
static BF16: Access = halves(HALF_BF16);
static BF16_WHOLE: Access = halves_whole(HALF_BF16);
static BF16_ANY: Access = halves_any(HALF_BF16);
static F16_NATIVE_ANY: Access = Access {
    step: 4,
    shares_words: false,
    logits: Part {
        f16: true,
        ..Part::new("f16", &[])
    },
    grad_f32: grad(
        "f32any",
        &[
            wgsl!("shared/step_4.wgsl"),
            wgsl!("shared/logits_f16_any.wgsl"),
            wgsl!("shared/inside_ragged.wgsl"),
            wgsl!("shared/put_any.wgsl"),
            wgsl!("shared/grad_f32_any.wgsl"),
        ],
    ),
    grad_same: grad(
        "sameany",
        &[
            wgsl!("shared/step_4.wgsl"),
            wgsl!("shared/logits_f16_any.wgsl"),
            wgsl!("shared/inside_ragged.wgsl"),
            wgsl!("shared/put_any.wgsl"),
            wgsl!("shared/grad_f16_any.wgsl"),
        ],
    ),
    in_place: Part::new(
        "inplaceany",
        &[
            wgsl!("shared/step_4.wgsl"),
            wgsl!("shared/logits_f16_any.wgsl"),
            wgsl!("shared/inside_ragged.wgsl"),
            wgsl!("shared/put_any.wgsl"),
            wgsl!("shared/in_place_f16_any.wgsl"),
        ],
    ),
    prior_f32: &PRIOR_ANY,
    prior_same: &PRIOR_F16_ANY,
};

static TARGETS_F32: Part = Part::new("f32", &[wgsl!("shared/targets_f32.wgsl")]);
static TARGETS_F32_ANY: Part = Part::new("f32any", &[wgsl!("shared/targets_f32_any.wgsl")]);
static TARGETS_F16: Part = Part::new(
    "f16",
    &[
        wgsl!("shared/targets_f16.wgsl"),
        wgsl!("shared/targets_half.wgsl"),
    ],
);
static TARGETS_F16_ANY: Part = Part::new(
    "f16any",
    &[
        wgsl!("shared/targets_f16.wgsl"),
        wgsl!("shared/targets_half_any.wgsl"),
    ],
);
static TARGETS_BF16: Part = Part::new(
    "bf16",
    &[
        wgsl!("shared/targets_bf16.wgsl"),
        wgsl!("shared/targets_half.wgsl"),
    ],
);
static TARGETS_BF16_ANY: Part = Part::new(
    "bf16any",
    &[
        wgsl!("shared/targets_bf16.wgsl"),
        wgsl!("shared/targets_half_any.wgsl"),
    ],
);

const PACKED_F16_SOURCE: Part = Part::new(
    "packf16",
    &[
        wgsl!("shared/half_f16.wgsl"),
        wgsl!("contrastive/source_packed.wgsl"),
    ],
);

/// Every way in which real values are stored.
pub(crate) static STORAGES: [Storage; 4] = [
    Storage {
        dtype: DType::F32,
        half: None,
        vectors: &F32,
        whole: &F32_WHOLE,
        any: &F32_ANY,
        targets: &TARGETS_F32,
        targets_any: &TARGETS_F32_ANY,
        source: Part::new("packf32", &[wgsl!("contrastive/source_f32.wgsl")]),
    },
    Storage {
        dtype: DType::F16,
        half: Some(Half::Native),
        vectors: &F16,
        whole: &F16_WHOLE,
        any: &F16_NATIVE_ANY,
        targets: &TARGETS_F16,
        targets_any: &TARGETS_F16_ANY,
        source: PACKED_F16_SOURCE,
    },
    Storage {
        dtype: DType::F16,
        half: Some(Half::Packed),
        vectors: &F16,
        whole: &F16_WHOLE,
        any: &F16_ANY,
        targets: &TARGETS_F16,
        targets_any: &TARGETS_F16_ANY,
        source: PACKED_F16_SOURCE,
    },
    Storage {
        dtype: DType::Bf16,
        half: None,
        vectors: &BF16,
        whole: &BF16_WHOLE,
        any: &BF16_ANY,
        targets: &TARGETS_BF16,
        targets_any: &TARGETS_BF16_ANY,
        source: Part::new(
            "packbf16",
            &[
                wgsl!("shared/half_bf16.wgsl"),
                wgsl!("contrastive/source_packed.wgsl"),
            ],
        ),
    },
];

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
pub(crate) static TARGETS_U8: Part = Part::new("u8", &[wgsl!("shared/targets_words.wgsl")]);
/// The same where they begin anywhere.
pub(crate) static TARGETS_U8_ANY: Part = Part::new("u8any", &[wgsl!("shared/targets_bytes.wgsl")]);
/// Dense targets in integers, in vectors.
pub(crate) static TARGETS_U32: Part = Part::new("u32", &[wgsl!("shared/targets_u32.wgsl")]);
/// The same where they begin anywhere.
pub(crate) static TARGETS_U32_ANY: Part =
    Part::new("u32any", &[wgsl!("shared/targets_u32_any.wgsl")]);
/// Targets in packed bits, of rows whose first vector begins with the first label.
pub(crate) static TARGETS_BITS: Part = Part::new("bits", &[wgsl!("shared/targets_bits.wgsl")]);
/// The same of any rows.
pub(crate) static TARGETS_BITS_ANY: Part =
    Part::new("bitsany", &[wgsl!("shared/targets_bits_any.wgsl")]);

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
