//! The programs of HCAL, and what the host tells them.

use crate::device::module::{Constant, Module, Piece, Program, constants, uniform, wgsl};
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
    /// What the kernels of `hcal` reach.
    pub(super) struct HcalBindings {
        1: features,
        2: prototypes,
        3: noise,
        4: scores,
        5: rows,
        6: state,
        7: result,
    }
}

uniform! {
    /// Parameters of `hcal_index`.
    pub(super) struct IndexParams {
        /// Samples.
        samples: u32,
        /// Workgroups in x.
        groups_x: u32,
        /// Classes of the level.
        classes: u32,
        /// Where the level's labels begin; for violations, its predictions.
        labels_offset: u32,
        /// Where `state` has the level's records.
        at: u32,
        /// The same of the level below.
        below_at: u32,
        /// Where the parents of the classes of the level below begin; for violations, of this level.
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
        /// The same of the next level.
        above_at: u32,
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
        /// Of each prototype of the level three words: the inverse length, that of the perturbed one, a hash.
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
        /// Which product, one of `PRODUCTS`.
        product: u32,
        /// Workgroups that share a tile's sum over the classes.
        chunks: u32,
        /// Whether a product is added to what is there; in `collect`, whether a level's means follow the features' own.
        add: u32,
        /// Whether prototypes are not perturbed.
        plain: u32,
        /// Whether the vectors stand in `rows`.
        from_rows: u32,
        /// Whether the means of a level are those of the means below.
        tree: u32,
        /// Whether a lane has a prototype to itself.
        alone: u32,
        /// Whether scores become their gradient.
        want_gradient: u32,
    }
}

uniform! {
    /// Parameters of `hcal`.
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
        /// Workgroups.
        groups: u32,
        /// Workgroups in x.
        groups_x: u32,
        /// Samples.
        samples: u32,
        /// Components of a vector.
        dim: u32,
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
        /// Fields.
        RECORD_WORDS = 9,
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

constants! {
    /// The products of vectors, prototypes and scores.
    PRODUCTS {
        /// Vectors with prototypes: the scores.
        PRODUCT_SCORES = 0,
        /// The gradient to scores with prototypes: the gradient to vectors.
        PRODUCT_TO_VECTORS = 1,
        /// The gradient to scores with vectors: the gradient to prototypes.
        PRODUCT_TO_PROTOTYPES = 2,
    }
}

/// The tile of a product that a workgroup computes. The lanes lie 4 x 8, 8 x 8, 8 x 16, 16 x 16, 16 x 32 or 32 x 32,
/// and each has 4 x 4 results.
const TILES: &[(&str, Constant)] = &[
    ("TILE_ROWS", Constant::Of(tile_rows)),
    ("TILE_COLS", Constant::Of(tile_cols)),
];

/// Rows of a tile.
pub(super) fn tile_rows(workgroup: u32) -> u32 {
    16 * workgroup / tile_cols(workgroup)
}

/// Columns of a tile.
pub(super) fn tile_cols(workgroup: u32) -> u32 {
    32 << (u32::from(workgroup >= 128) + u32::from(workgroup >= 512))
}

/// Which samples share a class, and what breaks the hierarchy.
pub(super) static HCAL_INDEX: Program = Program {
    name: "hcal_index",
    pieces: &[
        Piece::File(wgsl!("shared/group_index.wgsl")),
        Piece::File(wgsl!("hcal/record.wgsl")),
        Piece::File(wgsl!("hcal/index.wgsl")),
    ],
    entries: &["members", "children", "violations", "advance"],
    constants: &[RECORD],
    bindings: IndexBindings::NAMES,
    mirrors: &[&[IndexParams::MIRROR]],
};

/// Vectors against prototypes.
pub(super) static HCAL: Program = Program {
    name: "hcal",
    pieces: &[
        Piece::File(wgsl!("shared/math.wgsl")),
        Piece::File(wgsl!("shared/lanes_tree.wgsl")),
        Piece::File(wgsl!("shared/best.wgsl")),
        Piece::File(wgsl!("shared/best_group.wgsl")),
        Piece::File(wgsl!("shared/reals.wgsl")),
        Piece::File(wgsl!("shared/view.wgsl")),
        Piece::File(wgsl!("shared/group_index.wgsl")),
        Piece::File(wgsl!("hcal/record.wgsl")),
        Piece::File(wgsl!("hcal/noise.wgsl")),
        Piece::File(wgsl!("hcal/contrast.wgsl")),
    ],
    entries: &[
        "feature_lengths",
        "prototype_lengths",
        "means",
        "product",
        "sum_chunks",
        "softmax",
        "argmax",
        "level_losses",
        "scale_gradients",
        "collect",
        "finish_features",
        "finish_prototypes",
    ],
    constants: &[REAL_KINDS, RECORD, NOISE_KINDS, PRODUCTS, TILES],
    bindings: HcalBindings::NAMES,
    mirrors: &[&[
        View::MIRROR,
        LevelParams::MIRROR,
        WindowParams::MIRROR,
        Places::MIRROR,
        Mode::MIRROR,
        HcalParams::MIRROR,
    ]],
};

/// Every module of HCAL.
pub(crate) fn modules(workgroup: u32) -> Vec<Module> {
    vec![HCAL_INDEX.module(workgroup), HCAL.module(workgroup)]
}
