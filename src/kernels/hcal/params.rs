//! The programs of HCAL, and what the host tells them.

use crate::device::caps::Reduce;
use crate::device::module::{
    Mirror, Module, NO_PART, PARTS, Part, Piece, Program, constants, uniform, wgsl,
};
use crate::device::plan::bindings;
use crate::kernels::storage::REAL_KINDS;
use crate::kernels::view::View;
use crate::losses::hierarchy::Levels;

bindings! {
    /// What the kernels of `hcal_index` reach.
    pub(super) struct IndexBindings {
        3: labels,
        4: levels,
        6: state,
        7: counters,
    }
}

bindings! {
    /// What the kernels of `hcal_vectors` reach.
    pub(super) struct VectorBindings {
        1: features_in,
        2: prototypes_in,
        3: noise,
        4: vectors,
        5: table,
        6: state,
        7: result,
    }
}

bindings! {
    /// What the kernels of `hcal_products` reach.
    pub(super) struct ProductBindings {
        1: vectors,
        2: prototypes,
        3: table,
        4: given,
        6: state,
        7: result,
    }
}

bindings! {
    /// What `level_losses` reaches.
    pub(super) struct LossBindings {
        6: state,
        7: result,
    }
}

bindings! {
    /// What it reaches where a batch lies over several devices.
    pub(super) struct MergedBindings {
        1: sums,
        2: all_losses,
        6: state,
        7: result,
    }
}

bindings! {
    /// What the kernels of `hcal_sums` reach.
    pub(super) struct SumBindings {
        1: vectors,
        4: given,
        6: state,
        7: sums,
    }
}

uniform! {
    /// Parameters of `hcal_index`.
    pub(super) struct IndexParams {
        /// Samples.
        samples: u32,
        /// The first lane with work.
        begin: u32,
        /// Where they end.
        end: u32,
        /// Workgroups in x.
        groups_x: u32,
        /// Levels.
        levels: u32,
        /// Where the words of the levels begin.
        levels_offset: u32,
        /// Where the labels of the first level begin; for violations, the level's predictions.
        labels_offset: u32,
        /// From the labels of a level to those of the next.
        labels_stride: u32,
        /// Where `state` has the records of the first level.
        at: u32,
        /// For violations: where the parents of this level's classes begin.
        parents_offset: u32,
        /// For violations: where the predictions of the level above begin.
        above_offset: u32,
        /// For violations: the number of the level, or `NONE` where there is but one.
        link: u32,
        /// For violations: whether the level is the first.
        first: u32,
        /// For violations: whether no other follows.
        last: u32,
        /// Where the counters begin, or the seed.
        counters_offset: u32,
        /// Records of a level.
        slots: u32,
    }
}

uniform! {
    /// The level that a dispatch works on.
    pub(super) struct LevelParams {
        /// Its number, from 0.
        number: u32,
        /// Its classes.
        classes: u32,
        /// Where `state` has its records.
        at: u32,
        /// Quads of scores from one vector to the next.
        row_quads: u32,
    }
}

uniform! {
    /// What of the level a dispatch works on.
    pub(super) struct WindowParams {
        /// The first of the vectors whose scores are kept.
        first_row: u32,
        /// How many there are.
        row_count: u32,
        /// The first of the classes that the bindings reach.
        first_class: u32,
        /// How many there are.
        class_count: u32,
    }
}

uniform! {
    /// Where `state` has what belongs to all levels.
    pub(super) struct Places {
        /// The inverse length of each feature.
        feature_lengths: u32,
        /// Of each prototype of the level two words: the inverse length, and that of the perturbed one.
        prototype_lengths: u32,
        /// The loss of each level, then of each the number of vectors.
        losses: u32,
        /// The gradient to the loss of each level.
        weights: u32,
    }
}

uniform! {
    /// What a dispatch does.
    pub(super) struct Mode {
        /// How many lanes share a sum over the classes.
        chunks: u32,
        /// Whether the gradient to vectors is added to what is there.
        add: u32,
        /// Whether prototypes are not perturbed.
        plain: u32,
        /// Whether the means of a level are those of the means below.
        tree: u32,
    }
}

uniform! {
    /// Parameters of vectors, products and losses.
    pub(super) struct HcalParams {
        /// The features.
        features: View,
        /// The prototypes of this window of classes.
        prototypes: View,
        /// Their perturbation, or the seed of it; the kind is one of `NOISE_KINDS`.
        noise: View,
        /// What is written.
        result: View,
        /// The level.
        level: LevelParams,
        /// The window.
        window: WindowParams,
        /// Places in `state`.
        places: Places,
        /// What to do.
        mode: Mode,
        /// The first vector or block of this dispatch.
        begin: u32,
        /// Where they end.
        end: u32,
        /// Workgroups in x.
        groups_x: u32,
        /// Where `state` has the records of all levels.
        records: u32,
        /// Whether scores become their gradient.
        want_gradient: u32,
        /// The row at which the level's vectors begin in their binding.
        vectors_row: u32,
        /// Blocks of the gradient to vectors, before those of the gradient to prototypes.
        vector_blocks: u32,
        /// Whether the gradient to prototypes is added to what is there.
        add_rows: u32,
        /// Samples.
        samples: u32,
        /// Records of a level: as many as samples, or as a level has vectors.
        slots: u32,
        /// Components of a vector.
        dim: u32,
        /// Quads of a vector.
        quads: u32,
        /// Levels.
        levels: u32,
        /// One over the temperature.
        scale: f32,
        /// The largest component of the perturbation.
        epsilon: f32,
        /// The bits of NaN, which WGSL lets no constant have.
        nan: u32,
    }
}

constants! {
    /// What `state` keeps of each sample at each level: [`RECORD_WORDS`] fields, each of all samples before the next.
    RECORD {
        /// The first sample of the same class, at whose number the class has its vector; `NONE` without a label.
        RECORD_FIRST = 0,
        /// The next sample of the same class, or `NONE`.
        RECORD_NEXT = 1,
        /// Samples of the class.
        RECORD_COUNT = 2,
        /// Of a class, at its first sample: the first vector of the level below whose parent it is.
        RECORD_HEAD = 3,
        /// Of a class of the level below, at its first sample: the next with the same parent, or `NONE`.
        RECORD_LINK = 4,
        /// Of a class, at its first sample: classes of the level below whose parent it is.
        RECORD_CHILDREN = 5,
        /// Of a class of the level below, at its first sample: the first sample of its parent.
        RECORD_UP = 6,
        /// The class.
        RECORD_CLASS = 7,
        /// The loss of the vector.
        RECORD_LOSS = 8,
        /// Of a class, at its first sample: its parent; else `NONE`.
        RECORD_PARENT = 9,
        /// The number of the vector that the sample's feature is a part of, or `NONE`.
        RECORD_ROW = 10,
        /// Its share in it.
        RECORD_SHARE = 11,
        /// Fields.
        RECORD_WORDS = 12,
        /// What stands for no sample and no class.
        NONE = Levels::NONE,
    }
}

constants! {
    /// Where the perturbation comes from.
    NOISE_KINDS {
        NOISE_NONE = 0,
        NOISE_GIVEN = 1,
        NOISE_SEEDED = 2,
    }
}

/// Which samples share a class, and what breaks the hierarchy.
pub(super) static HCAL_INDEX: Program = Program {
    name: "hcal_index",
    pieces: &[
        Piece::File(wgsl!("shared/group_index.wgsl")),
        Piece::File(wgsl!("hcal/record.wgsl")),
        Piece::File(wgsl!("hcal/index.wgsl")),
    ],
    entries: &[
        "members",
        "children",
        "assign",
        "shares",
        "violations",
        "advance",
    ],
    constants: &[RECORD],
    bindings: IndexBindings::NAMES,
    mirrors: &[&[IndexParams::MIRROR]],
};

const MIRRORS: &[Mirror] = &[
    View::MIRROR,
    LevelParams::MIRROR,
    WindowParams::MIRROR,
    Places::MIRROR,
    Mode::MIRROR,
    HcalParams::MIRROR,
];

/// Vectors one at a time; the part is how many lanes each has.
static HCAL_VECTORS: Program = Program {
    name: "hcal_vectors",
    pieces: &[
        Piece::File(wgsl!("shared/math.wgsl")),
        Piece::File(wgsl!("shared/best.wgsl")),
        Piece::File(wgsl!("shared/reals.wgsl")),
        Piece::File(wgsl!("shared/nested.wgsl")),
        Piece::File(wgsl!("shared/view.wgsl")),
        Piece::File(wgsl!("shared/group_index.wgsl")),
        Piece::File(wgsl!("hcal/params.wgsl")),
        Piece::File(wgsl!("hcal/record.wgsl")),
        Piece::File(wgsl!("shared/noise.wgsl")),
        Piece::Part(0),
        Piece::File(wgsl!("hcal/vectors.wgsl")),
    ],
    entries: &[
        "features",
        "prototypes",
        "softmax",
        "argmax",
        "collect",
        "finish",
    ],
    constants: &[REAL_KINDS, RECORD, NOISE_KINDS],
    bindings: VectorBindings::NAMES,
    mirrors: &[MIRRORS],
};

static ALONE: Part = Part::new("alone", &[wgsl!("hcal/alone.wgsl")]);
static TOGETHER: Part = Part::new(
    "together",
    &[
        wgsl!("shared/lanes_tree.wgsl"),
        wgsl!("shared/best_group.wgsl"),
        wgsl!("hcal/together.wgsl"),
    ],
);

/// The module for vectors that have a lane each, or a workgroup.
pub(super) fn vectors(alone: bool, workgroup: u32) -> Module {
    let mut parts = [&NO_PART; PARTS];
    parts[0] = if alone { &ALONE } else { &TOGETHER };
    HCAL_VECTORS.with(parts, Reduce::Tree, workgroup)
}

/// Vectors against prototypes.
pub(super) static HCAL_PRODUCTS: Program = Program {
    name: "hcal_products",
    pieces: &[
        Piece::File(wgsl!("shared/nested.wgsl")),
        Piece::File(wgsl!("shared/view.wgsl")),
        Piece::File(wgsl!("shared/group_index.wgsl")),
        Piece::File(wgsl!("hcal/params.wgsl")),
        Piece::File(wgsl!("hcal/record.wgsl")),
        Piece::File(wgsl!("hcal/products.wgsl")),
    ],
    entries: &["means", "scores", "slopes", "sum_chunks"],
    constants: &[RECORD],
    bindings: ProductBindings::NAMES,
    mirrors: &[MIRRORS],
};

/// Sums over the samples of classes, and their means.
pub(super) static HCAL_SUMS: Program = Program {
    name: "hcal_sums",
    pieces: &[
        Piece::File(wgsl!("shared/math.wgsl")),
        Piece::File(wgsl!("shared/nested.wgsl")),
        Piece::File(wgsl!("shared/view.wgsl")),
        Piece::File(wgsl!("shared/group_index.wgsl")),
        Piece::File(wgsl!("hcal/params.wgsl")),
        Piece::File(wgsl!("hcal/record.wgsl")),
        Piece::File(wgsl!("hcal/sums.wgsl")),
    ],
    entries: &["clear", "add_up", "count", "divide"],
    constants: &[RECORD],
    bindings: SumBindings::NAMES,
    mirrors: &[MIRRORS],
};

/// The losses of the levels; the part is where the samples are.
static HCAL_LOSSES: Program = Program {
    name: "hcal_losses",
    pieces: &[
        Piece::File(wgsl!("shared/math.wgsl")),
        Piece::File(wgsl!("shared/lanes_tree.wgsl")),
        Piece::File(wgsl!("shared/nested.wgsl")),
        Piece::File(wgsl!("shared/view.wgsl")),
        Piece::File(wgsl!("shared/group_index.wgsl")),
        Piece::File(wgsl!("hcal/params.wgsl")),
        Piece::File(wgsl!("hcal/record.wgsl")),
        Piece::Part(0),
        Piece::File(wgsl!("hcal/losses.wgsl")),
    ],
    entries: &["level_losses"],
    constants: &[RECORD],
    bindings: LossBindings::NAMES,
    mirrors: &[MIRRORS],
};

static HERE: Part = Part::new("", &[wgsl!("hcal/losses_here.wgsl")]);
static MERGED: Part = Part {
    bindings: &[(1, "sums"), (2, "all_losses")],
    ..Part::new("merged", &[wgsl!("hcal/losses_merged.wgsl")])
};

/// The module of the losses, of a batch that is here or over several devices.
pub(super) fn losses(merged: bool, workgroup: u32) -> Module {
    let mut parts = [&NO_PART; PARTS];
    parts[0] = if merged { &MERGED } else { &HERE };
    HCAL_LOSSES.with(parts, Reduce::Tree, workgroup)
}

/// Every module of HCAL.
pub(crate) fn modules(workgroup: u32) -> Vec<Module> {
    vec![
        HCAL_INDEX.module(workgroup),
        vectors(true, workgroup),
        vectors(false, workgroup),
        HCAL_PRODUCTS.module(workgroup),
        HCAL_SUMS.module(workgroup),
        losses(false, workgroup),
        losses(true, workgroup),
    ]
}
