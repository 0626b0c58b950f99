//! The programs of the contrastive losses.

use crate::device::caps::{Half, Reduce, Teams};
use crate::device::module::{Constant, File, Module, NO_PART, PARTS, Part, Piece, Program, wgsl};
use crate::device::plan::{Target, bindings};
use crate::device::tensor::{DType, FLOATS};
use crate::kernels::contrastive::params::{
    DIVISORS, FORMS, ITSELF, MIRRORED, MIRRORS, NORMS, RECORD, RELATION, SUMS, WANTS,
};
use crate::kernels::products::{self, BLOCKS, FOUR, STEPS, SUMMED_AT_ONCE, Sharing};
use crate::kernels::storage::{STORAGES, Storage};
use crate::losses::contrastive::{Denominator, PairRule};

const PARAMS: Piece = Piece::File(wgsl!("contrastive/params.wgsl"));
const LANES_TREE: Piece = Piece::File(wgsl!("shared/lanes_tree.wgsl"));
const SET_PLACE: Piece = Piece::File(wgsl!("contrastive/set_place.wgsl"));
const TILE: Piece = Piece::File(wgsl!("contrastive/tile.wgsl"));

bindings! {
    /// Rows as they were given, and as they are looked at.
    pub(super) struct PackBinds {
        1: source,
        2: labels,
        3: indices,
        4: z,
        5: sets,
        6: small,
        7: itself_index,
    }
}

/// Rows and label sets in the form in which pairs are looked at; its part is how the embeddings are stored.
static PACK: Program = Program {
    name: "contrastive",
    pieces: &[
        PARAMS,
        Piece::File(wgsl!("shared/math.wgsl")),
        Piece::Part(1),
        SET_PLACE,
        Piece::File(wgsl!("contrastive/pack.wgsl")),
        Piece::Part(0),
        Piece::Lanes {
            tree: wgsl!("contrastive/pack_shared.wgsl"),
            subgroup: wgsl!("contrastive/pack_near.wgsl"),
        },
    ],
    entries: &["pack"],
    constants: &[FORMS, NORMS, ITSELF, SUMMED_AT_ONCE],
    bindings: PackBinds::NAMES,
    mirrors: &[MIRRORS],
};

bindings! {
    /// A mask, and the rows as they are looked at.
    pub(super) struct LeaveBinds {
        1: mask,
        4: z,
        5: sets,
        6: small,
    }
}

/// Takes rows out that a mask leaves out.
pub(super) static LEAVE: Program = Program {
    name: "contrastive_leave",
    pieces: &[
        PARAMS,
        SET_PLACE,
        Piece::File(wgsl!("shared/flag.wgsl")),
        Piece::File(wgsl!("contrastive/leave.wgsl")),
    ],
    entries: &["leave"],
    constants: &[],
    bindings: LeaveBinds::NAMES,
    mirrors: &[MIRRORS],
};

bindings! {
    /// Bits of pairs, and the codes that kernels of pairs read.
    pub(super) struct CodeBinds {
        1: pair_bits,
        2: codes,
    }
}

/// Codes of what the caller says of pairs.
pub(super) static NOTES: Program = Program {
    name: "contrastive_codes",
    pieces: &[PARAMS, Piece::File(wgsl!("contrastive/codes.wgsl"))],
    entries: &["note_rows", "note_others"],
    constants: &[],
    bindings: CodeBinds::NAMES,
    mirrors: &[MIRRORS],
};

/// Which rows count: all, or those that a mask does not leave out.
static KEPT: [Part; 2] = [
    Part::new("", &[wgsl!("contrastive/kept_all.wgsl")]),
    Part::new("masked", &[wgsl!("contrastive/kept_masked.wgsl")]),
];

/// What kernels make of which keys a denominator has: sums, what comes of them, slopes.
struct Placing {
    of: Denominator,
    sums: &'static Part,
    outcome: Part,
    slope: Part,
}

static SUMS_OF_ALL: Part = Part::new(
    "",
    &[
        wgsl!("contrastive/denominator_all.wgsl"),
        TOGETHER,
        wgsl!("contrastive/pairs_sums.wgsl"),
        FOLD,
    ],
);
static SUMS_OF_NEGATIVES: Part = Part::new(
    "negatives",
    &[
        wgsl!("contrastive/denominator_negatives.wgsl"),
        TOGETHER,
        wgsl!("contrastive/pairs_sums.wgsl"),
        FOLD,
    ],
);
const TOGETHER: File = wgsl!("contrastive/together_sums.wgsl");
const TOGETHER_ALONE: File = wgsl!("contrastive/together_alone.wgsl");
const FOLD: File = wgsl!("contrastive/fold.wgsl");
/// The second sums, where each positive has a denominator of its own.
static PULLS: Part = Part::new(
    "pull",
    &[
        wgsl!("shared/math.wgsl"),
        wgsl!("contrastive/pairs_pull.wgsl"),
    ],
);

/// Sums where there is no denominator.
static SUMS_OF_ALONE: Part = Part::new(
    "alone",
    &[
        wgsl!("shared/math.wgsl"),
        TOGETHER_ALONE,
        wgsl!("contrastive/pairs_alone.wgsl"),
        FOLD,
    ],
);

/// How sums come together: relative to the greatest in a denominator, with distances from that or from 0, and as they are.
static MEETING: [Part; 3] = [
    Part::new("", &[wgsl!("contrastive/denominator_all.wgsl"), TOGETHER]),
    Part::new(
        "negatives",
        &[wgsl!("contrastive/denominator_negatives.wgsl"), TOGETHER],
    ),
    Part::new("alone", &[TOGETHER_ALONE]),
];

bindings! {
    /// What is known of the anchors, and accumulators.
    pub(super) struct AccumulatorBinds {
        5: records,
        7: accumulators,
    }
}

/// Accumulators of anchors; its part is how sums come together.
static ACCUMULATORS: Program = Program {
    name: "contrastive_accumulators",
    pieces: &[
        PARAMS,
        ACC,
        Piece::Part(0),
        Piece::File(wgsl!("contrastive/accumulators.wgsl")),
    ],
    entries: &["leave", "meet"],
    constants: &[SUMS],
    bindings: AccumulatorBinds::NAMES,
    mirrors: &[MIRRORS],
};

/// The module that carries accumulators; of one-positive they are the first sums, those of its negatives.
pub(super) fn accumulators(denominator: Denominator, workgroup: u32) -> Module {
    let mut parts = [&NO_PART; PARTS];
    parts[0] = match denominator {
        Denominator::All => &MEETING[0],
        Denominator::Negatives | Denominator::OnePositive => &MEETING[1],
        Denominator::Sigmoid => &MEETING[2],
    };
    ACCUMULATORS.with(parts, Reduce::Tree, workgroup)
}

bindings! {
    /// Numbers of the call's own, and a tensor of the caller's.
    pub(super) struct NumberBinds {
        5: small,
        7: numbers,
    }
}

/// Numbers that the caller gives or gets.
pub(super) static NUMBERS: Program = Program {
    name: "contrastive_numbers",
    pieces: &[PARAMS, Piece::File(wgsl!("contrastive/numbers.wgsl"))],
    entries: &["take", "give"],
    constants: &[],
    bindings: NumberBinds::NAMES,
    mirrors: &[MIRRORS],
};

const NO_LEAN: File = wgsl!("contrastive/lean_none.wgsl");

static PLACINGS: [Placing; 4] = [
    Placing {
        of: Denominator::All,
        sums: &SUMS_OF_ALL,
        outcome: Part::new("", &[wgsl!("contrastive/outcome_all.wgsl"), NO_LEAN]),
        slope: Part::new("", &[wgsl!("contrastive/slope_all.wgsl")]),
    },
    Placing {
        of: Denominator::Negatives,
        sums: &SUMS_OF_NEGATIVES,
        outcome: Part::new(
            "negatives",
            &[wgsl!("contrastive/outcome_negatives.wgsl"), NO_LEAN],
        ),
        slope: Part::new("negatives", &[wgsl!("contrastive/slope_negatives.wgsl")]),
    },
    Placing {
        of: Denominator::OnePositive,
        sums: &SUMS_OF_NEGATIVES,
        outcome: Part::new(
            "onepositive",
            &[wgsl!("contrastive/outcome_one.wgsl"), NO_LEAN],
        ),
        slope: Part::new(
            "onepositive",
            &[
                wgsl!("shared/math.wgsl"),
                wgsl!("contrastive/slope_one.wgsl"),
            ],
        ),
    },
    Placing {
        of: Denominator::Sigmoid,
        sums: &SUMS_OF_ALONE,
        outcome: Part {
            bindings: &[(6, "grad_bias")],
            ..Part::new("alone", &[wgsl!("contrastive/outcome_alone.wgsl")])
        },
        slope: Part::new(
            "alone",
            &[
                wgsl!("shared/math.wgsl"),
                wgsl!("contrastive/slope_alone.wgsl"),
            ],
        ),
    },
];

fn placing(denominator: Denominator) -> &'static Placing {
    let mut all = PLACINGS.iter();
    let found = all.find(|placing| placing.of == denominator);
    found.unwrap_or(&PLACINGS[0])
}

/// Sums over the lanes that share a row: of a workgroup, and of a subgroup.
static TEAMS: [Part; 2] = [
    Part::new(
        "",
        &[
            wgsl!("shared/lanes_tree.wgsl"),
            wgsl!("contrastive/team_shared.wgsl"),
        ],
    ),
    Part::new("", &[wgsl!("contrastive/team_near.wgsl")]),
];

bindings! {
    /// Label sets, for what MulSupCon counts of them.
    pub(super) struct CountBinds {
        3: sets,
        4: sets2,
        5: small,
        7: itself_index,
    }
}

/// Keys with each label.
pub(super) static COUNTS: Program = Program {
    name: "contrastive_counts",
    pieces: &[PARAMS, Piece::File(wgsl!("contrastive/counts.wgsl"))],
    entries: &["count_labels", "leave_out"],
    constants: &[ITSELF],
    bindings: CountBinds::NAMES,
    mirrors: &[MIRRORS],
};

bindings! {
    /// Weights of labels, and the sets that have them.
    pub(super) struct WeighBinds {
        1: label_weight,
        3: sets,
        5: small,
    }
}

/// Weights of labels, and of anchors' sets.
pub(super) static WEIGH: Program = Program {
    name: "contrastive_weigh",
    pieces: &[PARAMS, Piece::File(wgsl!("contrastive/weigh.wgsl"))],
    entries: &["weigh_labels", "weigh_sets"],
    constants: &[],
    bindings: WeighBinds::NAMES,
    mirrors: &[MIRRORS],
};

/// What a label weighs in a term, and a set in a divisor: alike, or by weights.
static LABELS: [Part; 2] = [
    Part::new("", &[wgsl!("contrastive/label_even.wgsl")]),
    Part::new("weighted", &[wgsl!("contrastive/label_weighted.wgsl")]),
];
static SIZES: [Part; 2] = [
    Part::new("", &[wgsl!("contrastive/size_labels.wgsl")]),
    Part::new("weighted", &[wgsl!("contrastive/size_weights.wgsl")]),
];

bindings! {
    /// Label sets, and the lists of their words.
    pub(super) struct ListBinds {
        3: sets,
        7: lists,
    }
}

/// Words in which anchors have a label.
pub(super) static LISTS: Program = Program {
    name: "contrastive_lists",
    pieces: &[PARAMS, Piece::File(wgsl!("contrastive/lists.wgsl"))],
    entries: &["list_words"],
    constants: &[],
    bindings: ListBinds::NAMES,
    mirrors: &[MIRRORS],
};

bindings! {
    /// Rows of both sides (for cooperative matrices in f16, with their factors), a tile of pairs, the gradient to unit rows.
    pub(super) struct ProductBinds {
        1: z,
        2: z2,
        5: small,
        6: work,
        7: sums,
    }
}

/// The tile of products, and its product with the rows; its parts are where the rows lie, and how many of them the lanes
/// of a subgroup load at a time.
static PRODUCTS: Program = Program {
    name: "contrastive_products",
    pieces: &[
        PARAMS,
        FOUR,
        TILE,
        Piece::Part(0),
        Piece::File(products::SUMS),
        products::PRODUCTS,
        Piece::Part(1),
    ],
    entries: &["products", "spread"],
    constants: &[BLOCKS, STEPS, SUMMED_AT_ONCE, MIRRORED],
    bindings: &[(6, "work"), (7, "sums")],
    mirrors: &[MIRRORS],
};

/// The same by cooperative matrices; its parts are where the rows in f16 lie, and the matrices.
static COOPERATIVE: Program = Program {
    name: "contrastive_cooperative",
    pieces: &[
        PARAMS,
        FOUR,
        TILE,
        Piece::Part(0),
        Piece::Part(1),
        FACTORS,
        Piece::File(products::SUMS),
        products::COOPERATIVE,
    ],
    entries: &["products", "spread"],
    constants: &[MIRRORED],
    bindings: &[(5, "small"), (6, "work"), (7, "sums")],
    mirrors: &[MIRRORS],
};

bindings! {
    /// Rows as they were given and as they are looked at, and in f16.
    pub(super) struct HalveBinds {
        1: source,
        4: z,
        5: halves,
        6: small,
    }
}

/// Rows in f16 for cooperative matrices; its parts are how the embeddings are stored, and what uses f16.
static HALVE: Program = Program {
    name: "contrastive_halve",
    pieces: &[
        PARAMS,
        Piece::File(wgsl!("shared/math.wgsl")),
        products::LARGEST,
        Piece::Part(1),
        Piece::Part(0),
    ],
    entries: &["halve"],
    constants: &[],
    bindings: HalveBinds::NAMES,
    mirrors: &[MIRRORS],
};

bindings! {
    /// A tile of slopes, and the factors of rows.
    pub(super) struct ScaleBinds {
        5: small,
        6: work,
    }
}

/// Slopes as cooperative matrices take them.
static SCALE: Program = Program {
    name: "contrastive_scale",
    pieces: &[PARAMS, FACTORS, products::LARGEST, products::SCALE],
    entries: &["scale"],
    constants: &[],
    bindings: ScaleBinds::NAMES,
    mirrors: &[MIRRORS],
};

static HALVED: Part = Part {
    f16: true,
    ..Part::new("", &[wgsl!("contrastive/halve.wgsl")])
};

const FACTORS: Piece = Piece::File(wgsl!("contrastive/factors.wgsl"));

bindings! {
    /// Label sets of both sides, a tile of pairs, what is known of the anchors.
    pub(super) struct PairBinds {
        1: small,
        2: codes,
        3: sets,
        4: sets2,
        5: records,
        6: work,
        7: lists,
    }
}

/// Sums over the keys of each anchor; its parts are where label sets lie, how what rows share is found, the rule by which
/// pairs weigh, which rows count, what is in a denominator, what labels weigh, and what the caller says of pairs.
static PAIRS: Program = Program {
    name: "contrastive_pairs",
    pieces: &[
        PARAMS,
        FOUR,
        TILE,
        Piece::Part(0),
        EIGHT,
        Piece::Part(5),
        Piece::Part(1),
        Piece::Part(6),
        Piece::Part(3),
        PAIR,
        WEIGHTS,
        Piece::Part(2),
        ACC,
        Piece::File(wgsl!("contrastive/pairs.wgsl")),
        Piece::Part(4),
        Piece::Lanes {
            tree: wgsl!("contrastive/pairs_shared.wgsl"),
            subgroup: wgsl!("contrastive/pairs_near.wgsl"),
        },
    ],
    entries: &["pairs"],
    constants: &[ITSELF, SUMS, MIRRORED],
    bindings: PAIR_NAMES,
    mirrors: &[MIRRORS],
};

/// The gradient to the products; its parts are those of the sums.
static SLOPES: Program = Program {
    name: "contrastive_slopes",
    pieces: &[
        PARAMS,
        FOUR,
        TILE,
        Piece::Part(0),
        EIGHT,
        Piece::Part(5),
        Piece::Part(1),
        Piece::Part(6),
        Piece::Part(3),
        PAIR,
        WEIGHTS,
        Piece::Part(2),
        Piece::Part(4),
        Piece::File(wgsl!("contrastive/slopes.wgsl")),
        Piece::Lanes {
            tree: wgsl!("contrastive/slopes_shared.wgsl"),
            subgroup: wgsl!("contrastive/slopes_near.wgsl"),
        },
    ],
    entries: &["slopes"],
    constants: &[BLOCKS, ITSELF, RECORD, MIRRORED],
    bindings: PAIR_NAMES,
    mirrors: &[MIRRORS],
};

/// What the caller says of pairs beyond labels: nothing; the positives; which count; both.
static SAID: [Part; 4] = [
    Part::new("", &[wgsl!("contrastive/met_labels.wgsl")]),
    said(
        "given",
        &[("GIVEN", Constant::Is(1)), ("MASKED", Constant::Is(0))],
    ),
    said(
        "only",
        &[("GIVEN", Constant::Is(0)), ("MASKED", Constant::Is(1))],
    ),
    said(
        "givenonly",
        &[("GIVEN", Constant::Is(1)), ("MASKED", Constant::Is(1))],
    ),
];

const fn said(name: &'static str, constants: &'static [(&'static str, Constant)]) -> Part {
    Part {
        constants,
        bindings: &[(2, "codes")],
        ..Part::new(name, &[wgsl!("contrastive/met_coded.wgsl")])
    }
}

const PAIR_NAMES: &[(usize, &str)] = &[(5, "records"), (6, "work")];
const ACC: Piece = Piece::File(wgsl!("contrastive/acc.wgsl"));
const PAIR: Piece = Piece::File(wgsl!("contrastive/pair.wgsl"));
const WEIGHTS: Piece = Piece::File(wgsl!("contrastive/weights.wgsl"));
const EIGHT: Piece = Piece::Lanes {
    tree: wgsl!("contrastive/eight_loaded.wgsl"),
    subgroup: wgsl!("contrastive/eight_near.wgsl"),
};

/// Rows of both sides in one binding, and in two.
static ROWS: [Part; 2] = [
    Part {
        bindings: &[(1, "z")],
        ..Part::new("one", &[wgsl!("contrastive/z_one.wgsl")])
    },
    Part {
        bindings: &[(1, "z"), (2, "z2")],
        ..Part::new("two", &[wgsl!("contrastive/z_two.wgsl")])
    },
];

/// Rows of both sides in f16 in one binding, and in two.
static HALVES: [Part; 2] = [
    Part {
        bindings: &[(1, "halves")],
        f16: true,
        ..Part::new("one", &[wgsl!("contrastive/halves_one.wgsl")])
    },
    Part {
        bindings: &[(1, "halves"), (2, "halves2")],
        f16: true,
        ..Part::new("two", &[wgsl!("contrastive/halves_two.wgsl")])
    },
];

/// Label sets of both sides in one binding, and in two.
static SETS: [Part; 2] = [
    Part {
        bindings: &[(3, "sets")],
        ..Part::new("one", &[wgsl!("contrastive/sets_one.wgsl")])
    },
    Part {
        bindings: &[(3, "sets"), (4, "sets2")],
        ..Part::new("two", &[wgsl!("contrastive/sets_two.wgsl")])
    },
];

/// What rows share, by all words of their sets, and by those of a list.
const COUNT_ALL: Part = Part::new(
    "all",
    &[
        wgsl!("contrastive/shared_count.wgsl"),
        wgsl!("contrastive/words_all.wgsl"),
    ],
);
const COUNT_LISTED: Part = Part {
    bindings: &[(7, "lists")],
    ..Part::new(
        "listed",
        &[
            wgsl!("contrastive/shared_count.wgsl"),
            wgsl!("contrastive/words_listed.wgsl"),
        ],
    )
};
static COUNTED: [Part; 2] = [COUNT_ALL, COUNT_LISTED];
static TERMS: [Part; 2] = [
    Part {
        bindings: &[(1, "small")],
        ..Part::new(
            "all",
            &[
                wgsl!("contrastive/shared_terms.wgsl"),
                wgsl!("contrastive/words_all.wgsl"),
            ],
        )
    },
    Part {
        bindings: &[(1, "small"), (7, "lists")],
        ..Part::new(
            "listed",
            &[
                wgsl!("contrastive/shared_terms.wgsl"),
                wgsl!("contrastive/words_listed.wgsl"),
            ],
        )
    },
];
static WORDLESS: [Part; 1] = [Part::new("none", &[wgsl!("contrastive/words_none.wgsl")])];

const LEAVES_ITSELF: &[(&str, Constant)] = &[("KEEPS_ITSELF", Constant::Is(0))];
/// Of Similarity-Dissimilarity: whose set begins.
const OF_ANCHOR: &[(&str, Constant)] = &[
    ("KEEPS_ITSELF", Constant::Is(0)),
    ("OF_KEY", Constant::Is(0)),
];
const OF_KEY: &[(&str, Constant)] = &[
    ("KEEPS_ITSELF", Constant::Is(0)),
    ("OF_KEY", Constant::Is(1)),
];

/// A rule by which pairs weigh: its files, and how what rows share is found.
struct Rule {
    of: PairRule,
    weights: Part,
    shared: &'static [Part],
}

const fn rule(of: PairRule, weights: Part) -> Rule {
    by_constants(of, LEAVES_ITSELF, weights)
}

const fn by_constants(
    of: PairRule,
    constants: &'static [(&'static str, Constant)],
    weights: Part,
) -> Rule {
    Rule {
        of,
        weights: Part {
            constants,
            ..weights
        },
        shared: &COUNTED,
    }
}

const OUTSIDE: &[File] = &[wgsl!("contrastive/rule_sim_dis.wgsl")];
const NUMERATOR: &[File] = &[
    wgsl!("contrastive/log_factor.wgsl"),
    wgsl!("contrastive/rule_numerator.wgsl"),
];
const BOTH: &[File] = &[
    wgsl!("contrastive/log_factor.wgsl"),
    wgsl!("contrastive/rule_both.wgsl"),
];

static RULES: [Rule; 12] = [
    by_constants(PairRule::SimDis, OF_ANCHOR, Part::new("simdis", OUTSIDE)),
    by_constants(
        PairRule::Numerator,
        OF_ANCHOR,
        Part::new("numerator", NUMERATOR),
    ),
    by_constants(PairRule::Both, OF_ANCHOR, Part::new("both", BOTH)),
    by_constants(
        PairRule::SimDisOfKey,
        OF_KEY,
        Part::new("simdisofkey", OUTSIDE),
    ),
    by_constants(
        PairRule::NumeratorOfKey,
        OF_KEY,
        Part::new("numeratorofkey", NUMERATOR),
    ),
    by_constants(PairRule::BothOfKey, OF_KEY, Part::new("bothofkey", BOTH)),
    rule(
        PairRule::Any,
        Part::new("any", &[wgsl!("contrastive/rule_any.wgsl")]),
    ),
    rule(
        PairRule::All,
        Part::new("equal", &[wgsl!("contrastive/rule_all.wgsl")]),
    ),
    Rule {
        shared: &TERMS,
        ..rule(
            PairRule::MulSupCon,
            Part::new("mulsupcon", &[wgsl!("contrastive/rule_mul_sup_con.wgsl")]),
        )
    },
    rule(
        PairRule::Jaccard,
        Part::new("jaccard", &[wgsl!("contrastive/rule_jaccard.wgsl")]),
    ),
    Rule {
        of: PairRule::Paired,
        weights: Part {
            constants: &[("KEEPS_ITSELF", Constant::Is(1))],
            ..Part::new("paired", &[wgsl!("contrastive/rule_paired.wgsl")])
        },
        shared: &WORDLESS,
    },
    Rule {
        shared: &WORDLESS,
        // What is given stands for labels that are shared.
        ..rule(
            PairRule::Given,
            Part::new("given", &[wgsl!("contrastive/rule_any.wgsl")]),
        )
    },
];

bindings! {
    /// What the call reads and writes once the pairs are summed over.
    pub(super) struct EndBinds {
        1: records,
        2: each,
        3: loss,
        4: upstream,
        5: small,
        6: grad_bias,
        7: grad,
    }
}

const END_NAMES: &[(usize, &str)] = &[
    (1, "records"),
    (2, "each"),
    (3, "loss"),
    (4, "upstream"),
    (5, "small"),
    (7, "grad"),
];

/// What a mean over anchors is over.
static MEANS: [Part; 2] = [
    Part::new("", &[wgsl!("contrastive/mean_active.wgsl")]),
    Part::new("kept", &[wgsl!("contrastive/mean_kept.wgsl")]),
];

/// From the sums to the loss; its parts are which rows count, what a mean is over, what is in a denominator, and what
/// labels weigh.
static ENDS: Program = Program {
    name: "contrastive_ends",
    pieces: &[
        PARAMS,
        LANES_TREE,
        Piece::Part(0),
        Piece::Part(1),
        Piece::File(wgsl!("contrastive/merge.wgsl")),
        Piece::Part(2),
        Piece::Part(3),
    ],
    entries: &["merge", "total"],
    constants: &[DIVISORS, SUMS, RECORD, WANTS, SUMMED_AT_ONCE],
    bindings: END_NAMES,
    mirrors: &[MIRRORS],
};

bindings! {
    /// The gradient to unit rows, and to rows as they were given.
    pub(super) struct ProjectBinds {
        1: z,
        5: small,
        6: sums,
        7: grad,
    }
}

/// How a gradient is stored: in place of what is there, or added to it.
static ONTO: [Part; 2] = [
    Part::new("", &[wgsl!("shared/replaces.wgsl")]),
    Part::new(
        "added",
        &[
            wgsl!("shared/math.wgsl"),
            wgsl!("shared/sum_bits.wgsl"),
            wgsl!("shared/adds.wgsl"),
        ],
    ),
];

/// Through the normalisation; its parts are which rows count, how lanes share one, and how it is stored.
static PROJECT: Program = Program {
    name: "contrastive_project",
    pieces: &[
        PARAMS,
        Piece::Part(0),
        Piece::Part(1),
        Piece::Part(2),
        Piece::File(wgsl!("contrastive/project.wgsl")),
        Piece::Lanes {
            tree: wgsl!("contrastive/project_shared.wgsl"),
            subgroup: wgsl!("contrastive/project_near.wgsl"),
        },
    ],
    entries: &["project"],
    constants: &[SUMMED_AT_ONCE],
    bindings: ProjectBinds::NAMES,
    mirrors: &[MIRRORS],
};

bindings! {
    /// Label sets, and how often each relation occurs.
    pub(super) struct RelationBinds {
        3: sets,
        4: sets2,
        6: relation_counts,
    }
}

/// Counts of the relations of label sets; its part is where they lie.
static RELATIONS: Program = Program {
    name: "contrastive_relations",
    pieces: &[
        PARAMS,
        Piece::Part(0),
        Piece::File(wgsl!("contrastive/relations.wgsl")),
    ],
    entries: &["relations"],
    constants: &[RELATION],
    bindings: &[(6, "relation_counts")],
    mirrors: &[MIRRORS],
};

/// What the kernels of pairs are chosen by.
#[derive(Clone, Copy, Debug)]
pub(super) struct PairForm {
    /// The rule by which pairs weigh.
    pub(super) rule: PairRule,
    /// Whether label sets lie in two bindings.
    pub(super) two: bool,
    /// Whether what rows share is found by lists of words.
    pub(super) listed: bool,
    /// Whether a mask leaves rows out.
    pub(super) masked: bool,
    /// What is in a denominator.
    pub(super) denominator: Denominator,
    /// Whether labels have weights.
    pub(super) weighted: bool,
    /// Whether the caller masks pairs. Their positives are given where the rule says so.
    pub(super) pairs_masked: bool,
}

/// What the kernels at the end are chosen by.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndForm {
    /// Whether a mask leaves rows out.
    pub(super) masked: bool,
    /// Whether a mean is over those that are left.
    pub(super) mean_kept: bool,
    /// What is in a denominator.
    pub(super) denominator: Denominator,
    /// Whether labels have weights.
    pub(super) weighted: bool,
}

/// How the kernels of pairs share rows among lanes, and how products are computed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiling {
    pub(super) lanes: Sharing,
    /// How products are computed by cooperative matrices, if they are.
    pub(super) matrices: Option<Teams>,
}

impl Tiling {
    pub(super) fn of(target: Target<'_>) -> Self {
        Tiling {
            lanes: Sharing::of(target),
            matrices: None,
        }
    }

    /// The same for pairs of so many anchors and keys.
    pub(super) fn pairing(self, anchors: usize, keys: usize) -> Self {
        Tiling {
            lanes: self.lanes.pairing(anchors, keys),
            ..self
        }
    }

    /// The same with cooperative matrices, where embeddings of these types have them.
    pub(super) fn multiplying(
        self,
        target: Target<'_>,
        dtypes: impl IntoIterator<Item = DType>,
    ) -> Self {
        Tiling {
            matrices: products::teams(target, dtypes),
            ..self
        }
    }

    /// Workgroups for so many rows, or eights of rows, that lanes share each. Where subgroups are larger than the
    /// smallest, the kernels go on to more rows.
    pub(super) fn teams(self, count: usize) -> u64 {
        let each = match self.lanes.near {
            None => 1,
            Some(near) => self.lanes.workgroup / near.min(self.lanes.workgroup),
        };
        count.div_ceil(each as usize) as u64
    }

    fn team(self) -> &'static Part {
        &TEAMS[usize::from(self.lanes.near.is_some())]
    }

    /// The module that packs rows with embeddings of an element type.
    pub(super) fn pack(self, dtype: DType) -> Module {
        // f16 is read two to a word whatever the variant.
        let storage = Storage::of(dtype, Half::Packed).unwrap_or(&STORAGES[0]);
        let mut parts = [&NO_PART; PARTS];
        parts[0] = &storage.source;
        parts[1] = self.team();
        PACK.with(parts, self.lanes.reduce(), self.lanes.workgroup)
    }

    /// The module of the gradient to rows as they were given, some of which may be left out by a mask, perhaps added to what is
    /// there.
    pub(super) fn project(self, masked: bool, adds: bool) -> Module {
        let mut parts = [&NO_PART; PARTS];
        parts[0] = &KEPT[usize::from(masked)];
        parts[1] = self.team();
        parts[2] = &ONTO[usize::from(adds)];
        PROJECT.with(parts, self.lanes.reduce(), self.lanes.workgroup)
    }

    /// The module that brings rows with embeddings of an element type of 16 bits into f16.
    pub(super) fn halve(self, dtype: DType) -> Module {
        let storage = Storage::of(dtype, Half::Packed).unwrap_or(&STORAGES[0]);
        let mut parts = [&NO_PART; PARTS];
        parts[0] = &storage.source;
        parts[1] = &HALVED;
        HALVE.with(parts, Reduce::Tree, self.lanes.workgroup)
    }

    /// The module that makes slopes ready for cooperative matrices.
    pub(super) fn scale(self) -> Module {
        SCALE.module(self.lanes.workgroup)
    }

    /// The products of rows that lie in one binding or in two.
    pub(super) fn products(self, two: bool) -> Module {
        if let Some(teams) = self.matrices {
            let mut parts = [&NO_PART; PARTS];
            parts[0] = &HALVES[usize::from(two)];
            parts[1] = products::matrices(teams);
            return COOPERATIVE.with(parts, Reduce::Tree, teams.workgroup());
        }
        let mut parts = [&NO_PART; PARTS];
        parts[0] = &ROWS[usize::from(two)];
        parts[1] = self.lanes.held();
        PRODUCTS.with(parts, self.lanes.reduce(), self.lanes.workgroup)
    }

    /// The sums over keys.
    pub(super) fn pairs(self, form: PairForm) -> Module {
        self.of_form(&PAIRS, form, placing(form.denominator).sums)
    }

    /// The second sums over keys, where each positive has a denominator of its own.
    pub(super) fn pulls(self, form: PairForm) -> Module {
        self.of_form(&PAIRS, form, &PULLS)
    }

    /// The slopes.
    pub(super) fn slopes(self, form: PairForm) -> Module {
        self.of_form(&SLOPES, form, &placing(form.denominator).slope)
    }

    fn of_form(
        self,
        program: &'static Program,
        form: PairForm,
        of_denominator: &'static Part,
    ) -> Module {
        let mut rules = RULES.iter();
        let rule = rules.find(|r| r.of == form.rule).unwrap_or(&RULES[0]);
        let shared = rule.shared.get(usize::from(form.listed));
        let mut parts = [&NO_PART; PARTS];
        parts[0] = &SETS[usize::from(form.two)];
        parts[1] = shared.unwrap_or(&rule.shared[0]);
        parts[2] = &rule.weights;
        parts[3] = &KEPT[usize::from(form.masked)];
        parts[4] = of_denominator;
        if form.rule == PairRule::MulSupCon {
            parts[5] = &LABELS[usize::from(form.weighted)];
        }
        let given = form.rule == PairRule::Given;
        parts[6] = &SAID[usize::from(given) + 2 * usize::from(form.pairs_masked)];
        program.with(parts, self.lanes.reduce(), self.lanes.workgroup)
    }
}

/// The relations of label sets that lie in one binding or in two.
pub(super) fn relations(two: bool, workgroup: u32) -> Module {
    let mut parts = [&NO_PART; PARTS];
    parts[0] = &SETS[usize::from(two)];
    RELATIONS.with(parts, Reduce::Tree, workgroup)
}

/// The module from the sums to the loss.
pub(super) fn ends(form: EndForm, workgroup: u32) -> Module {
    let mut parts = [&NO_PART; PARTS];
    parts[0] = &KEPT[usize::from(form.masked)];
    parts[1] = &MEANS[usize::from(form.mean_kept)];
    parts[2] = &placing(form.denominator).outcome;
    parts[3] = &SIZES[usize::from(form.weighted)];
    ENDS.with(parts, Reduce::Tree, workgroup)
}

/// Rules that masks and denominators are combined with here, one for each way to find what rows share: the others know no
/// more of either.
const COMBINED: [PairRule; 3] = [PairRule::SimDis, PairRule::MulSupCon, PairRule::Paired];

/// Rules that what the caller says of pairs is combined with here: by labels, without, and all by what is said.
const SAYS: [PairRule; 3] = [PairRule::SimDis, PairRule::Paired, PairRule::Given];

/// Every module of the family, but for masks and denominators with every rule.
pub(crate) fn modules(workgroup: u32) -> Vec<Module> {
    let near = |near| Tiling {
        lanes: Sharing { workgroup, near },
        matrices: None,
    };
    let mut all = vec![];
    all.extend(
        [&COUNTS, &NUMBERS, &WEIGH, &LISTS, &LEAVE, &NOTES, &SCALE]
            .map(|program| program.module(workgroup)),
    );
    for Placing { of, .. } in &PLACINGS {
        let plain = EndForm {
            masked: false,
            mean_kept: false,
            denominator: *of,
            weighted: false,
        };
        let masked = EndForm {
            masked: true,
            ..plain
        };
        let mean_kept = EndForm {
            mean_kept: true,
            ..masked
        };
        let weighted = EndForm {
            weighted: true,
            ..plain
        };
        let forms = [plain, masked, mean_kept, weighted];
        all.extend(forms.map(|form| ends(form, workgroup)));
        if *of != Denominator::OnePositive {
            all.push(accumulators(*of, workgroup));
        }
    }
    all.extend([DType::F16, DType::Bf16].map(|dtype| near(None).halve(dtype)));
    // As lanes of subgroups are on the devices that are known to offer them.
    for teams in [Teams::new(8, 8), Teams::new(16, 32)] {
        let tiling = Tiling {
            matrices: Some(teams),
            ..near(None)
        };
        all.extend([false, true].map(|two| tiling.products(two)));
    }
    let sizes = [None, Some(4), Some(8)];
    let sizes = if workgroup < 256 {
        &sizes[..]
    } else {
        &sizes[..1]
    };
    for two in [false, true] {
        all.push(relations(two, workgroup));
        all.extend(sizes.iter().map(|size| near(*size).products(two)));
        // These are the same for all subgroups.
        for tiling in sizes.iter().take(2).map(|size| near(*size)) {
            if !two {
                all.extend(FLOATS.iter().map(|dtype| tiling.pack(*dtype)));
                let forms = [(false, false), (true, false), (false, true)];
                all.extend(forms.map(|(masked, adds)| tiling.project(masked, adds)));
            }
            for rule in &RULES {
                for listed in [false, true].into_iter().take(rule.shared.len()) {
                    let plain = PairForm {
                        rule: rule.of,
                        two,
                        listed,
                        masked: false,
                        denominator: Denominator::All,
                        weighted: false,
                        pairs_masked: false,
                    };
                    all.extend([tiling.pairs(plain), tiling.slopes(plain)]);
                    if SAYS.contains(&rule.of) {
                        let only = PairForm {
                            pairs_masked: true,
                            ..plain
                        };
                        all.extend([tiling.pairs(only), tiling.slopes(only)]);
                    }
                    if !COMBINED.contains(&rule.of) {
                        continue;
                    }
                    let masked = PairForm {
                        masked: true,
                        ..plain
                    };
                    let of = |denominator| PairForm {
                        denominator,
                        ..plain
                    };
                    let (negatives, one) =
                        (of(Denominator::Negatives), of(Denominator::OnePositive));
                    if rule.of == PairRule::Paired {
                        let alone = of(Denominator::Sigmoid);
                        all.extend([tiling.pairs(alone), tiling.slopes(alone)]);
                    }
                    all.extend([masked, negatives].map(|form| tiling.pairs(form)));
                    all.extend([masked, negatives, one].map(|form| tiling.slopes(form)));
                    all.push(tiling.pulls(one));
                    if rule.of == PairRule::MulSupCon {
                        let weighted = PairForm {
                            weighted: true,
                            ..plain
                        };
                        all.extend([tiling.pairs(weighted), tiling.slopes(weighted)]);
                    }
                }
            }
        }
    }
    all
}
