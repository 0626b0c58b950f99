//! The kernels of the constraint module, as data.

use crate::device::caps::Reduce;
use crate::device::module::{
    Module, NO_PART, PARTS, Part, Piece, Program, constants, uniform, wgsl,
};
use crate::device::plan::bindings;
use crate::device::tensor::{DType, Tensor};
use crate::kernels::gradient::store_part;
use crate::kernels::storage::REAL_KINDS;
use crate::kernels::targets::label_form;
use crate::kernels::view::View;
use crate::losses::climb;
use crate::losses::labels::Targets;

bindings! {
    /// What `own` and `climb` reach.
    pub(super) struct ClassBindings {
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
    pub(super) struct GradientBindings {
        1: logits,
        2: factors,
        3: total,
        4: losses,
        5: sides,
        6: wins,
        7: grad,
    }
}

uniform! {
    /// Parameters of the kernels.
    pub(super) struct McmParams {
        /// The logits of this window of rows.
        logits: View,
        /// Their targets, or the marks that stand for them.
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
        /// Where, seen from the terms, the weights of the classes are.
        weights_at: u32,
        /// The same of their sum.
        total_at: u32,
    }
}

const TARGETS: &[(usize, &str)] = &[(2, "targets")];

/// Forms of the targets, the first part of `own` and `climb`. Where all classes count, that is a file too.
macro_rules! targets {
    ($name:literal, $file:literal) => {
        Part {
            bindings: TARGETS,
            ..Part::new($name, &[wgsl!($file), wgsl!("mcm/all_count.wgsl")])
        }
    };
}
static NO_TARGETS: Part = Part::new(
    "none",
    &[wgsl!("mcm/targets_none.wgsl"), wgsl!("mcm/all_count.wgsl")],
);
static BYTES: Part = targets!("u8", "shared/label_bytes.wgsl");
static BITS: Part = targets!("bits", "shared/label_bits.wgsl");
static REALS: Part = targets!("reals", "shared/label_reals.wgsl");
static INTEGERS: Part = targets!("u32", "shared/label_u32.wgsl");
/// What `mark` has made of masks and targets.
static MARKS: Part = Part {
    bindings: &[(2, "marks")],
    ..Part::new("marks", &[wgsl!("mcm/targets_marked.wgsl")])
};

/// Whether probabilities are written, the second.
static PROBABILITIES: Part = Part {
    bindings: &[(4, "probabilities")],
    ..Part::new("probabilities", &[wgsl!("mcm/probabilities.wgsl")])
};
static NO_PROBABILITIES: Part = Part::new("", &[wgsl!("mcm/no_probabilities.wgsl")]);

/// What a win counts for: the third of `own` and `climb`, and one of `gradient`.
pub(super) struct Wins {
    own: Part,
    climb: Part,
    gradient: Part,
    /// Words of each element.
    pub(super) words: u64,
}

const WINS: &[(usize, &str)] = &[(6, "wins")];

/// One.
static NUMBERS: Wins = Wins {
    own: Part {
        bindings: WINS,
        ..Part::new(
            "",
            &[wgsl!("mcm/weights_none.wgsl"), wgsl!("mcm/own_wins.wgsl")],
        )
    },
    climb: Part {
        bindings: WINS,
        ..Part::new(
            "",
            &[wgsl!("mcm/weights_none.wgsl"), wgsl!("mcm/climb_wins.wgsl")],
        )
    },
    gradient: Part {
        bindings: WINS,
        ..Part::new("", &[wgsl!("mcm/won_numbers.wgsl")])
    },
    words: 2,
};
/// The weight of the class.
static WEIGHTS: Wins = Wins {
    own: Part {
        bindings: WINS,
        ..Part::new(
            "weights",
            &[wgsl!("mcm/weights.wgsl"), wgsl!("mcm/own_shares.wgsl")],
        )
    },
    climb: Part {
        bindings: WINS,
        ..Part::new(
            "weights",
            &[wgsl!("mcm/weights.wgsl"), wgsl!("mcm/climb_shares.wgsl")],
        )
    },
    gradient: Part {
        bindings: &[(3, "total"), (6, "wins")],
        ..Part::new("weights", &[wgsl!("mcm/won_shares.wgsl")])
    },
    words: 4,
};

/// What a win counts for, with weights of the classes or without.
pub(super) fn wins(weighted: bool) -> &'static Wins {
    if weighted { &WEIGHTS } else { &NUMBERS }
}

/// A program whose parts are the targets, whether probabilities are written, and what wins count for: bindings beside the
/// shared ones.
macro_rules! of_classes {
    ($name:literal, $entry:literal, $file:literal, $constants:expr, $($binding:expr)?) => {
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
                Piece::Part(2),
                Piece::File(wgsl!("mcm/class.wgsl")),
                Piece::File(wgsl!($file)),
            ],
            entries: &[$entry],
            constants: $constants,
            bindings: &[
                (1, "logits"),
                (3, "hierarchy"),
                (5, "terms"),
                $($binding)?
            ],
            mirrors: &[&[View::MIRROR, McmParams::MIRROR]],
        }
    };
}
static MCM_OWN: Program = of_classes!("mcm_own", "own", "mcm/own.wgsl", &[REAL_KINDS],);
static MCM_CLIMB: Program = of_classes!(
    "mcm_climb",
    "climb",
    "mcm/climb.wgsl",
    &[REAL_KINDS, BOUNDS],
    (7, "found")
);

constants! {
    /// What `climb` trusts no buffer with.
    BOUNDS {
        /// Most classes, and most steps, that a step looks at.
        LOOKS = climb::MOST as u32,
    }
}

/// Its parts are how the gradient is stored, the factor of a row, and what wins count for.
static MCM_GRADIENT: Program = Program {
    name: "mcm_gradient",
    pieces: &[
        Piece::File(wgsl!("shared/math.wgsl")),
        Piece::File(wgsl!("shared/reals.wgsl")),
        Piece::File(wgsl!("shared/view.wgsl")),
        Piece::File(wgsl!("shared/group_index.wgsl")),
        Piece::File(wgsl!("mcm/logits.wgsl")),
        Piece::Part(1),
        Piece::Part(2),
        Piece::File(wgsl!("mcm/slope.wgsl")),
        Piece::Part(0),
    ],
    entries: &["gradient"],
    constants: &[REAL_KINDS],
    bindings: &[(1, "logits"), (4, "losses"), (5, "sides"), (7, "grad")],
    mirrors: &[&[View::MIRROR, McmParams::MIRROR]],
};

static FACTORS: Part = Part {
    bindings: &[(2, "factors")],
    ..Part::new("factors", &[wgsl!("mcm/factor_of_row.wgsl")])
};
static NO_FACTORS: Part = Part::new("", &[wgsl!("mcm/factor_one.wgsl")]);

/// A module with its parts.
pub(super) fn module(program: &'static Program, first: &[&'static Part], workgroup: u32) -> Module {
    let mut parts = [&NO_PART; PARTS];
    parts
        .iter_mut()
        .zip(first)
        .for_each(|(to, part)| *to = part);
    program.with(parts, Reduce::Tree, workgroup)
}

/// The form in which targets are given.
pub(super) fn form(targets: &Targets<Tensor<'_>>) -> &'static Part {
    FORMS[label_form(targets)]
}

/// `own` and `climb` of a call.
pub(super) fn of_classes(
    (targets, marked): (&Option<Targets<Tensor<'_>>>, bool),
    probabilities: bool,
    wins: &'static Wins,
    workgroup: u32,
) -> (Module, Module) {
    let form = match targets {
        _ if marked => &MARKS,
        Some(targets) => form(targets),
        None => &NO_TARGETS,
    };
    let probabilities = match probabilities {
        true => &PROBABILITIES,
        false => &NO_PROBABILITIES,
    };
    (
        module(&MCM_OWN, &[form, probabilities, &wins.own], workgroup),
        module(&MCM_CLIMB, &[form, probabilities, &wins.climb], workgroup),
    )
}

/// `gradient` of a call, in a type, and perhaps added to what is there.
pub(super) fn of_gradient(
    (dtype, adds): (DType, bool),
    factors: bool,
    wins: &'static Wins,
    workgroup: u32,
) -> Module {
    let storage = store_part(dtype, adds);
    let factor = if factors { &FACTORS } else { &NO_FACTORS };
    module(&MCM_GRADIENT, &[storage, factor, &wins.gradient], workgroup)
}

/// The forms in which targets are given, as [`label_form`] numbers them.
pub(super) static FORMS: [&Part; 4] = [&BYTES, &BITS, &REALS, &INTEGERS];

/// `own`, `climb` and `gradient` in every form.
pub(super) fn modules(workgroup: u32) -> Vec<Module> {
    let mut all = Vec::new();
    for wins in [&NUMBERS, &WEIGHTS] {
        for probabilities in [&PROBABILITIES, &NO_PROBABILITIES] {
            for form in FORMS.into_iter().chain([&MARKS]) {
                let parts = [form, probabilities, &wins.own];
                all.push(module(&MCM_OWN, &parts, workgroup));
                let parts = [form, probabilities, &wins.climb];
                all.push(module(&MCM_CLIMB, &parts, workgroup));
            }
        }
        for dtype in [DType::F32, DType::F16] {
            for (adds, factors) in [(false, false), (false, true), (true, false)] {
                all.push(of_gradient((dtype, adds), factors, wins, workgroup));
            }
        }
    }
    let (own, climb) = of_classes((&None, false), true, &NUMBERS, workgroup);
    all.extend([own, climb]);
    all
}
