//! The programs of the contrastive losses.

use crate::device::caps::{Half, Reduce};
use crate::device::module::{Module, NO_PART, PARTS, Piece, Program, wgsl};
use crate::device::plan::bindings;
use crate::device::tensor::{DType, FLOATS};
use crate::kernels::contrastive::params::{
    BLOCKS, DIRECTIONS, DIVISORS, FORMS, ITSELF, LANES, MIRRORS, NORMS, RECORD, RELATION, SUMS,
    WANTS, WEIGHTINGS,
};
use crate::kernels::storage::{STORAGES, Storage};

const PARAMS: Piece = Piece::File(wgsl!("contrastive/params.wgsl"));
const LANES_TREE: Piece = Piece::File(wgsl!("shared/lanes_tree.wgsl"));
const BLOCK: Piece = Piece::File(wgsl!("contrastive/block.wgsl"));
const SETS: Piece = Piece::File(wgsl!("contrastive/sets.wgsl"));
const SIMILARITY: Piece = Piece::File(wgsl!("contrastive/similarity.wgsl"));
const WEIGHTS: Piece = Piece::File(wgsl!("contrastive/weights.wgsl"));

bindings! {
    /// Rows as they were given, and as they are looked at.
    pub(super) struct PackBinds {
        1: source,
        2: labels,
        3: indices,
        4: z,
        5: sets,
        6: small,
    }
}

/// Rows and label sets in the form in which pairs are looked at; its part is how the embeddings are stored.
static PACK: Program = Program {
    name: "contrastive",
    pieces: &[
        PARAMS,
        Piece::File(wgsl!("shared/math.wgsl")),
        LANES_TREE,
        Piece::File(wgsl!("contrastive/pack.wgsl")),
        Piece::Part(0),
    ],
    entries: &["pack"],
    constants: &[FORMS, NORMS],
    bindings: PackBinds::NAMES,
    mirrors: &[MIRRORS],
};

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
    constants: &[],
    bindings: CountBinds::NAMES,
    mirrors: &[MIRRORS],
};

bindings! {
    /// Both sides of pairs; the other side only where it is not in the memory of the own one.
    pub(super) struct PairBinds {
        1: z,
        2: z2,
        3: sets,
        4: sets2,
        5: small,
        6: work,
        7: itself_index,
    }
}

/// Sums over the keys of each anchor.
pub(super) static PAIRS: Program = Program {
    name: "contrastive_pairs",
    pieces: &[
        PARAMS,
        BLOCK,
        SETS,
        SIMILARITY,
        WEIGHTS,
        Piece::File(wgsl!("contrastive/pairs.wgsl")),
    ],
    entries: &["pairs"],
    constants: &[BLOCKS, LANES, ITSELF, WEIGHTINGS, SUMS],
    bindings: PairBinds::NAMES,
    mirrors: &[MIRRORS],
};

/// The gradient to the products, and its product with the rows.
pub(super) static SLOPES: Program = Program {
    name: "contrastive_slopes",
    pieces: &[
        PARAMS,
        BLOCK,
        SETS,
        SIMILARITY,
        WEIGHTS,
        Piece::File(wgsl!("contrastive/slopes.wgsl")),
    ],
    entries: &["slopes", "project_slopes"],
    constants: &[BLOCKS, LANES, ITSELF, WEIGHTINGS, DIRECTIONS, RECORD],
    bindings: PairBinds::NAMES,
    mirrors: &[MIRRORS],
};

bindings! {
    /// What the call reads and writes once the pairs are summed over.
    pub(super) struct EndBinds {
        1: z,
        2: each,
        3: loss,
        4: upstream,
        5: small,
        6: work,
        7: grad,
    }
}

/// From the sums to the loss, and the gradient to the rows as they were given.
pub(super) static ENDS: Program = Program {
    name: "contrastive_ends",
    pieces: &[
        PARAMS,
        LANES_TREE,
        Piece::File(wgsl!("contrastive/project.wgsl")),
        Piece::File(wgsl!("contrastive/merge.wgsl")),
    ],
    entries: &["project", "merge", "total"],
    constants: &[DIVISORS, SUMS, RECORD, WANTS],
    bindings: EndBinds::NAMES,
    mirrors: &[MIRRORS],
};

bindings! {
    /// Label sets, and how often each relation occurs.
    pub(super) struct RelationBinds {
        3: sets,
        4: sets2,
        5: small,
        6: relation_counts,
        7: itself_index,
    }
}

/// Counts of the relations of label sets.
pub(super) static RELATIONS: Program = Program {
    name: "contrastive_relations",
    pieces: &[PARAMS, Piece::File(wgsl!("contrastive/relations.wgsl"))],
    entries: &["relations"],
    constants: &[ITSELF, RELATION],
    bindings: RelationBinds::NAMES,
    mirrors: &[MIRRORS],
};

/// The module that packs rows with embeddings of an element type.
pub(super) fn pack(dtype: DType, workgroup: u32) -> Module {
    // f16 is read two to a word whatever the variant.
    let storage = Storage::of(dtype, Half::Packed).unwrap_or(&STORAGES[0]);
    let mut parts = [&NO_PART; PARTS];
    parts[0] = &storage.source;
    PACK.with(parts, Reduce::Tree, workgroup)
}

/// Every module of the family.
pub(crate) fn modules(workgroup: u32) -> Vec<Module> {
    let packs = FLOATS.iter().map(|dtype| pack(*dtype, workgroup));
    let others = [&COUNTS, &PAIRS, &SLOPES, &ENDS, &RELATIONS];
    packs
        .chain(others.map(|program| program.module(workgroup)))
        .collect()
}
