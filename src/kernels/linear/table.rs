//! The programs of products of hidden states and weights, and their parameters.

use crate::device::caps::{Reduce, Teams};
use crate::device::module::{
    Constant, Mirror, Module, NO_PART, PARTS, Part, Piece, Program, uniform, wgsl,
};
use crate::device::plan::{Grid, bindings};
use crate::device::tensor::DType;
use crate::kernels::gradient::store_part;
use crate::kernels::products::{self, BLOCKS, FOUR, STEPS, SUMMED_AT_ONCE, Sharing};
use crate::kernels::storage::REAL_KINDS;
use crate::kernels::view::View;
use crate::losses::linear::{MOST_CHOSEN, ROUNDING};

uniform! {
    /// Which part of the work each workgroup does.
    pub(super) struct LinearGrid {
        /// Workgroups with work; those beyond (the grid is folded) return.
        groups: u32,
        /// Workgroups in x.
        groups_x: u32,
        /// Blocks of own rows, where a workgroup has a block of a known size.
        row_blocks: u32,
        /// 1: sums are added to what is there.
        add: u32,
    }
}

uniform! {
    /// The chunks of other rows that workgroups share the gradient to a row by.
    pub(super) struct LinearChunks {
        /// How many.
        count: u32,
        /// Other rows in each, a multiple of 4.
        rows: u32,
        /// In `sums`, vectors from one chunk's to the next.
        stride: u32,
        /// In `sums`, the first own row's of the first chunk.
        at: u32,
    }
}

uniform! {
    /// Samples, or labels.
    pub(super) struct LinearSide {
        /// How many.
        rows: u32,
        /// The first one's vectors in their binding,
        z: u32,
        /// and from one to the next.
        stride: u32,
        /// The first one's number in its binding of those.
        small: u32,
    }
}

uniform! {
    /// What both sides have in common.
    pub(super) struct LinearRow {
        /// Vectors of a row. `turn`: vectors of a label's samples.
        depth: u32,
        /// DEPTH. Where a compiler sees the number, it unrolls for seconds.
        stage: u32,
        /// The first of `bias`.
        bias_at: u32,
        pad: u32,
    }
}

uniform! {
    /// The tile in `work`, in vectors.
    pub(super) struct LinearWork {
        /// From one row of it to the next.
        stride: u32,
        /// Its row that the first own row is.
        row: u32,
        pad0: u32,
        pad1: u32,
    }
}

uniform! {
    /// What products are told.
    pub(super) struct LinearParams {
        grid: LinearGrid,
        chunks: LinearChunks,
        /// The rows that the dispatch has results for.
        own: LinearSide,
        /// The rows that it sums over, or has columns for.
        other: LinearSide,
        row: LinearRow,
        work: LinearWork,
    }
}

impl LinearParams {
    /// On a grid of workgroups.
    pub(super) fn on(mut self, grid: Grid) -> Self {
        self.grid.groups = grid.groups;
        self.grid.groups_x = grid.groups_x;
        self
    }
}

const MIRRORS: &[Mirror] = &[
    LinearGrid::MIRROR,
    LinearChunks::MIRROR,
    LinearSide::MIRROR,
    LinearRow::MIRROR,
    LinearWork::MIRROR,
    LinearParams::MIRROR,
];

bindings! {
    /// Rows of both sides, what is added to logits, numbers of the rows (for cooperative matrices), a tile, sums.
    pub(super) struct ProductBinds {
        1: z,
        2: z2,
        3: bias,
        4: small,
        5: small2,
        6: work,
        7: sums,
    }
}

const PARAMS: Piece = Piece::File(wgsl!("linear/params.wgsl"));
const OWN: Piece = Piece::File(wgsl!("linear/own.wgsl"));
const TILE: Piece = Piece::File(wgsl!("linear/tile.wgsl"));
const FACTORS: Piece = Piece::File(wgsl!("linear/factors.wgsl"));

/// The tile of logits, and the products of a tile of gradients with rows; its parts are how the other rows are stored, whether
/// something is added to logits, and what products have for subgroups.
static PRODUCTS: Program = Program {
    name: "linear_products",
    pieces: &[
        PARAMS,
        FOUR,
        OWN,
        Piece::Part(0),
        Piece::Part(1),
        TILE,
        Piece::File(products::SUMS),
        products::PRODUCTS,
        Piece::Part(2),
    ],
    entries: &["products", "spread"],
    constants: &[BLOCKS, STEPS, SUMMED_AT_ONCE],
    bindings: &[(1, "z"), (2, "z2"), (6, "work"), (7, "sums")],
    mirrors: &[MIRRORS],
};

/// The same by cooperative matrices; its parts are how the other rows are stored, whether something is added to logits, what
/// makes f16 of the rows, and the matrices.
static COOPERATIVE: Program = Program {
    name: "linear_cooperative",
    pieces: &[
        PARAMS,
        FOUR,
        OWN,
        Piece::Part(0),
        Piece::Part(1),
        TILE,
        FACTORS,
        Piece::Part(2),
        Piece::Part(3),
        Piece::File(products::SUMS),
        products::COOPERATIVE,
    ],
    entries: &["products", "spread"],
    constants: &[],
    bindings: &[
        (1, "z"),
        (2, "z2"),
        (4, "small"),
        (5, "small2"),
        (6, "work"),
        (7, "sums"),
    ],
    mirrors: &[MIRRORS],
};

static HALVES: Part = Part {
    f16: true,
    ..Part::new("", &[wgsl!("linear/halves.wgsl")])
};

bindings! {
    /// Powers of own rows, factors of other rows, a tile of gradients.
    pub(super) struct ScaleBinds {
        4: small,
        5: small2,
        6: work,
    }
}

/// Gradients as cooperative matrices take them.
static SCALE: Program = Program {
    name: "linear_scale",
    pieces: &[PARAMS, FACTORS, products::LARGEST, products::SCALE],
    entries: &["scale"],
    constants: &[],
    bindings: ScaleBinds::NAMES,
    mirrors: &[MIRRORS],
};

uniform! {
    /// Parameters of the kernel that finds factors.
    pub(super) struct FactorParams {
        /// The rows as they are given.
        source: View,
        /// The first row of this dispatch.
        begin: u32,
        /// Where they end.
        end: u32,
        /// Workgroups in x.
        groups_x: u32,
        /// Components of a row.
        cols: u32,
        /// The first row's place in `factors`.
        at: u32,
    }
}

bindings! {
    /// Rows as they are given, and a number for each.
    pub(super) struct FactorBinds {
        1: source,
        7: factors,
    }
}

/// What cooperative matrices multiply rows without.
static FACTOR: Program = Program {
    name: "linear_factor",
    pieces: &[
        Piece::File(wgsl!("shared/math.wgsl")),
        Piece::File(wgsl!("shared/reals.wgsl")),
        Piece::File(wgsl!("shared/view.wgsl")),
        Piece::File(wgsl!("shared/group_index.wgsl")),
        products::LARGEST,
        Piece::File(wgsl!("linear/factor.wgsl")),
    ],
    entries: &["factor"],
    constants: &[REAL_KINDS],
    bindings: FactorBinds::NAMES,
    mirrors: &[&[View::MIRROR, FactorParams::MIRROR]],
};

/// The other rows, in f32, f16 and bf16.
static OTHER: [(DType, Part); 3] = [
    (
        DType::F32,
        Part::new("f32", &[wgsl!("linear/other_f32.wgsl")]),
    ),
    (
        DType::F16,
        Part::new("f16", &[wgsl!("linear/other_f16.wgsl")]),
    ),
    (
        DType::Bf16,
        Part::new("bf16", &[wgsl!("linear/other_bf16.wgsl")]),
    ),
];

static BIAS: [Part; 2] = [
    Part::new("", &[wgsl!("linear/bias_none.wgsl")]),
    Part {
        bindings: &[(3, "bias")],
        ..Part::new("bias", &[wgsl!("linear/bias.wgsl")])
    },
];

bindings! {
    /// A tile of gradients, and that turned.
    pub(super) struct TurnBinds {
        6: work,
        7: sums,
    }
}

/// The tile turned.
static TURN: Program = Program {
    name: "linear_turn",
    pieces: &[PARAMS, FOUR, Piece::File(wgsl!("linear/turn.wgsl"))],
    entries: &["turn"],
    constants: &[],
    bindings: TurnBinds::NAMES,
    mirrors: &[MIRRORS],
};

uniform! {
    /// Parameters of `pack`.
    pub(super) struct PackParams {
        /// The rows as they are given.
        source: View,
        /// The first vector of this dispatch.
        begin: u32,
        /// Where they end.
        end: u32,
        /// Workgroups in x.
        groups_x: u32,
        /// Components of a row.
        cols: u32,
        /// Vectors of a packed row.
        depth: u32,
    }
}

bindings! {
    /// Rows as they are given, and packed.
    pub(super) struct PackBinds {
        1: source,
        7: packed,
    }
}

static PACK: Program = Program {
    name: "linear_pack",
    pieces: &[
        Piece::File(wgsl!("shared/math.wgsl")),
        Piece::File(wgsl!("shared/reals.wgsl")),
        Piece::File(wgsl!("shared/view.wgsl")),
        Piece::File(wgsl!("shared/group_index.wgsl")),
        Piece::File(wgsl!("linear/pack.wgsl")),
    ],
    entries: &["pack"],
    constants: &[REAL_KINDS],
    bindings: PackBinds::NAMES,
    mirrors: &[&[View::MIRROR, PackParams::MIRROR]],
};

uniform! {
    /// Parameters of the kernel that stores gradients.
    pub(super) struct StoreParams {
        /// Where they go.
        grad: View,
        /// The first element of this dispatch, row by row.
        begin: u32,
        /// Where they end.
        end: u32,
        /// Workgroups in x.
        groups_x: u32,
        /// Elements of a row.
        cols: u32,
        /// The first of them in `sums`,
        at: u32,
        /// and from one row to the next,
        row_stride: u32,
        /// from one column to the next.
        col_stride: u32,
        /// Chunks that are added up; 0 where nothing has been summed.
        chunks: u32,
        /// From one to the next.
        chunk_stride: u32,
    }
}

bindings! {
    /// Sums, and where gradients go.
    pub(super) struct StoreBinds {
        1: sums,
        7: grad,
    }
}

/// Its part is how a gradient is stored.
static STORE: Program = Program {
    name: "linear_store",
    pieces: &[
        Piece::File(wgsl!("shared/math.wgsl")),
        Piece::File(wgsl!("shared/reals.wgsl")),
        Piece::File(wgsl!("shared/view.wgsl")),
        Piece::File(wgsl!("shared/group_index.wgsl")),
        Piece::File(wgsl!("linear/store.wgsl")),
        Piece::Part(0),
    ],
    entries: &["gradient"],
    constants: &[REAL_KINDS],
    bindings: &[(1, "sums"), (7, "grad")],
    mirrors: &[&[View::MIRROR, StoreParams::MIRROR]],
};

uniform! {
    /// Parameters of the kernel that updates weights.
    pub(super) struct UpdateParams {
        /// The weights of a strip.
        weights: View,
        /// How many labels.
        rows: u32,
        /// Components of each.
        cols: u32,
        /// Workgroups in x.
        groups_x: u32,
        /// In `sums`, from one label to the next.
        row_stride: u32,
        /// The number of the first label.
        first: u32,
        /// How far a step goes.
        rate: f32,
        epsilon: f32,
        /// The first of `state`.
        state_at: u32,
        /// The halves of the seed.
        seed_low: u32,
        seed_high: u32,
    }
}

bindings! {
    /// Sums, a number for each label, the weights.
    pub(super) struct UpdateBinds {
        1: sums,
        3: state,
        7: weights,
    }
}

/// Its parts are how far a step goes, and how weights are stored.
static UPDATE: Program = Program {
    name: "linear_update",
    pieces: &[
        Piece::File(wgsl!("shared/math.wgsl")),
        Piece::File(wgsl!("shared/view.wgsl")),
        Piece::File(wgsl!("shared/group_index.wgsl")),
        Piece::File(wgsl!("linear/update.wgsl")),
        Piece::Part(0),
        Piece::Part(1),
    ],
    entries: &["update"],
    constants: &[REAL_KINDS, STREAMS],
    bindings: &[(1, "sums"), (7, "weights")],
    mirrors: &[&[View::MIRROR, UpdateParams::MIRROR]],
};

const STREAMS: &[(&str, Constant)] = &[("ROUNDING", Constant::Is(ROUNDING))];

static STEPS_OF: [Part; 2] = [
    Part::new("sgd", &[wgsl!("linear/step_sgd.wgsl")]),
    Part {
        bindings: &[(3, "state")],
        ..Part::new(
            "adagrad",
            &[
                wgsl!("shared/lanes_tree.wgsl"),
                wgsl!("linear/step_adagrad.wgsl"),
            ],
        )
    },
];

static WEIGHTS_F32: Part = Part::new("f32", &[wgsl!("linear/weights_f32.wgsl")]);
static WEIGHTS_HALF: Part = Part::new(
    "half",
    &[
        wgsl!("shared/reals.wgsl"),
        wgsl!("shared/noise.wgsl"),
        wgsl!("linear/weights_half.wgsl"),
    ],
);

uniform! {
    /// Parameters of the kernels that choose labels.
    pub(super) struct TopParams {
        /// Samples.
        rows: u32,
        /// Labels of the tile.
        cols: u32,
        /// Workgroups in x.
        groups_x: u32,
        /// In `work`, from one sample to the next.
        stride: u32,
        /// How many labels are chosen.
        count: u32,
        /// In `best`, samples before the first.
        first_row: u32,
        /// The number of the tile's first label; above 0, some have been chosen.
        first_label: u32,
        /// The first of `class_mask`, `ABSENT` where there is none.
        mask_at: u32,
        labels_at: u32,
        labels_stride: u32,
        scores_at: u32,
        scores_stride: u32,
        /// The bits of NaN.
        nan: u32,
    }
}

bindings! {
    /// A tile of logits, what has been chosen, and where it goes.
    pub(super) struct TopBinds {
        1: class_mask,
        2: labels,
        3: scores,
        6: work,
        7: best,
    }
}

/// The labels of the greatest logits.
static TOP: Program = Program {
    name: "linear_top",
    pieces: &[
        Piece::File(wgsl!("shared/math.wgsl")),
        Piece::File(wgsl!("shared/group_index.wgsl")),
        Piece::File(wgsl!("linear/top.wgsl")),
    ],
    entries: &["top", "top_out"],
    constants: &[CHOSEN],
    bindings: TopBinds::NAMES,
    mirrors: &[&[TopParams::MIRROR]],
};

/// Labels that are chosen at most, and that a workgroup has a list of.
const CHOSEN: &[(&str, Constant)] = &[
    ("MOST", Constant::Is(MOST_CHOSEN as u32)),
    ("LISTED", Constant::Is(768)),
];

/// Weights of a type that take a step, which may depend on a number for each label.
pub(super) fn update(dtype: DType, has_state: bool, workgroup: u32) -> Module {
    let mut parts = [&NO_PART; PARTS];
    parts[0] = &STEPS_OF[usize::from(has_state)];
    parts[1] = match dtype {
        DType::F32 => &WEIGHTS_F32,
        _ => &WEIGHTS_HALF,
    };
    UPDATE.with(parts, Reduce::Tree, workgroup)
}

/// The choice of labels.
pub(super) fn top(workgroup: u32) -> Module {
    TOP.module(workgroup)
}

/// Products with rows of a type, perhaps with a bias, by cooperative matrices where there are some.
pub(super) fn products_of(
    sharing: Sharing,
    matrices: Option<Teams>,
    dtype: DType,
    bias: bool,
) -> Module {
    let mut rows = OTHER.iter();
    let other = rows.find(|(of, _)| *of == dtype).unwrap_or(&OTHER[0]);
    let mut parts = [&NO_PART; PARTS];
    parts[0] = &other.1;
    parts[1] = &BIAS[usize::from(bias)];
    if let Some(teams) = matrices {
        parts[2] = &HALVES;
        parts[3] = products::matrices(teams);
        return COOPERATIVE.with(parts, Reduce::Tree, teams.workgroup());
    }
    parts[2] = sharing.held();
    PRODUCTS.with(parts, sharing.reduce(), sharing.workgroup)
}

/// Gradients as cooperative matrices take them.
pub(super) fn scale(workgroup: u32) -> Module {
    SCALE.module(workgroup)
}

/// What cooperative matrices multiply rows without.
pub(super) fn factor(workgroup: u32) -> Module {
    FACTOR.module(workgroup)
}

/// The tile turned.
pub(super) fn turn(workgroup: u32) -> Module {
    TURN.module(workgroup)
}

/// Rows packed.
pub(super) fn pack(workgroup: u32) -> Module {
    PACK.module(workgroup)
}

/// Gradients in a type, perhaps added to what is there.
pub(super) fn store(dtype: DType, adds: bool, workgroup: u32) -> Module {
    let mut parts = [&NO_PART; PARTS];
    parts[0] = store_part(dtype, adds);
    STORE.with(parts, Reduce::Tree, workgroup)
}

/// Every module of the family.
pub(crate) fn modules(workgroup: u32) -> Vec<Module> {
    let mut all = [turn, pack, top, scale, factor]
        .map(|module| module(workgroup))
        .to_vec();
    for dtype in [DType::F32, DType::F16] {
        all.extend([false, true].map(|adds| store(dtype, adds, workgroup)));
        all.extend([false, true].map(|state| update(dtype, state, workgroup)));
    }
    let sizes = [None, Some(4), Some(8)];
    let sizes = if workgroup < 256 {
        &sizes[..]
    } else {
        &sizes[..1]
    };
    for near in sizes {
        let sharing = Sharing {
            workgroup,
            near: *near,
        };
        for (dtype, _) in &OTHER {
            all.extend([false, true].map(|bias| products_of(sharing, None, *dtype, bias)));
        }
    }
    // As lanes of subgroups are on the devices that are known to offer them.
    for teams in [Teams::new(8, 8), Teams::new(16, 32)] {
        let sharing = Sharing {
            workgroup,
            near: None,
        };
        for (dtype, _) in &OTHER {
            let of = |bias| products_of(sharing, Some(teams), *dtype, bias);
            all.extend([false, true].map(of));
        }
    }
    all
}
