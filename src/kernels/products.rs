//! Products of matrices, tile by tile: how the kernels of `shaders/shared/product_shared.wgsl` and `product_near.wgsl` share
//! them among lanes. Families bring the rows, the tile and where sums go.

use crate::device::caps::{Reduce, Teams, Variant, block_lanes};
use crate::device::module::{Constant, File, NO_PART, Part, Piece, constants, wgsl};
use crate::device::plan::{Target, parts_per_dispatch};
use crate::device::tensor::DType;

constants! {
    /// Steps of the inner dimension of a product.
    STEPS {
        /// Components that both factors stage at a time; rows come in multiples of it.
        DEPTH = 16,
    }
}

constants! {
    /// Long sums.
    SUMMED_AT_ONCE {
        /// What one sum takes in, one after the other, before it is put away: what is lost by rounding grows with it.
        SUMMED = 256,
    }
}

/// Own rows of a lane. A tile has room for whole such teams of rows and columns.
pub(crate) const TEAM_ROWS: usize = 8;

/// Blocks of rows and columns: what follows from the lanes of a workgroup.
pub(crate) const BLOCKS: &[(&str, Constant)] = &[
    ("ROW_LANES", Constant::Of(|wg| block_lanes(wg).0)),
    ("COL_LANES", Constant::Of(|wg| block_lanes(wg).1)),
];

/// The two products, `products` and `spread`.
pub(crate) const PRODUCTS: Piece = Piece::Lanes {
    tree: wgsl!("shared/product_shared.wgsl"),
    subgroup: wgsl!("shared/product_near.wgsl"),
};
/// Four by four numbers, which they work with.
pub(crate) const FOUR: Piece = Piece::File(wgsl!("shared/four.wgsl"));
/// Where `spread` puts its sums.
pub(crate) const SUMS: File = wgsl!("shared/product_sums.wgsl");

/// The same products by cooperative matrices: of rows in f16, which families bring with a factor each,
pub(crate) const COOPERATIVE: Piece = Piece::File(wgsl!("shared/product_cooperative.wgsl"));
/// of slopes that have been made ready for that,
pub(crate) const SCALE: Piece = Piece::File(wgsl!("shared/scale.wgsl"));
/// by the largest of each row.
pub(crate) const LARGEST: Piece = Piece::File(wgsl!("shared/largest.wgsl"));

/// Matrices of either side, and how subgroups share those of a workgroup, which has nothing to do with their lanes.
static MATRICES: [Part; 2] = [
    Part {
        constants: &of_teams(Teams::new(8, 8)),
        cooperative: true,
        ..Part::new("8x8", &[wgsl!("shared/matrices_8.wgsl")])
    },
    Part {
        constants: &of_teams(Teams::new(16, 32)),
        cooperative: true,
        ..Part::new("16x16", &[wgsl!("shared/matrices_16.wgsl")])
    },
];

/// Matrices that one sum takes in before it is put away. Each adds the products of a whole matrix at once.
const MULTIPLIED_AT_ONCE: u32 = 128;

const fn of_teams(teams: Teams) -> [(&'static str, Constant); 5] {
    [
        ("SIDE", Constant::Is(teams.side)),
        ("ROW_TEAMS", Constant::Is(teams.rows)),
        ("COL_TEAMS", Constant::Is(teams.cols)),
        ("DEPTH_STAGED", Constant::Is(teams.depth)),
        ("MULTIPLIED", Constant::Is(MULTIPLIED_AT_ONCE * teams.side)),
    ]
}

/// How products of rows of these types are computed by cooperative matrices: where the variant has them, and all are of 16
/// bits. f32 would lose digits.
pub(crate) fn teams(target: Target<'_>, dtypes: impl IntoIterator<Item = DType>) -> Option<Teams> {
    let mut dtypes = dtypes.into_iter();
    let halves = dtypes.all(|dtype| matches!(dtype, DType::F16 | DType::Bf16));
    (target.variant.cooperative && halves).then(|| target.caps.teams())
}

/// The matrices that subgroups multiply.
pub(crate) fn matrices(teams: Teams) -> &'static Part {
    &MATRICES[usize::from(teams.side == 16)]
}

/// Own rows, and other rows or components, of a workgroup's block of cooperative matrices: of products, or of slopes, which
/// take two rows each.
pub(crate) fn matrix_block(teams: Teams, of_slopes: bool) -> (usize, u64) {
    let (rows, cols) = teams.block();
    ((rows >> u32::from(of_slopes)) as usize, u64::from(cols))
}

/// Own rows that lanes load at a time, in subgroups of at least as many.
static HELD: [Part; 2] = [
    Part {
        constants: &[("HELD", Constant::Is(4))],
        ..Part::new("four", &[])
    },
    Part {
        constants: &[("HELD", Constant::Is(8))],
        ..Part::new("eight", &[])
    },
];

/// Blocks of a product below which workgroups are small, so that all of a GPU has some,
const FEW_BLOCKS: usize = 128;
/// and lanes of those.
const SMALL: u32 = 64;
/// Workgroups of `spread` to aim for by sharing the rows that are summed over.
const SPREAD_GROUPS: u64 = 256;
/// Rows of a chunk, at least: a workgroup has a few stages of them. On an H100 `spread` over 256 rows of 128 components takes
/// 46 us in one workgroup a block, and as long over 1,024 in four.
const CHUNK_ROWS: u64 = 64;

/// How lanes share products: by subgroups where workgroups are small, as software drivers have them; through workgroup
/// memory on a GPU.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sharing {
    pub(crate) workgroup: u32,
    /// Fewest lanes of a subgroup; none where lanes share workgroup memory.
    pub(crate) near: Option<u32>,
}

impl Sharing {
    pub(crate) fn of(target: Target<'_>) -> Self {
        let Variant {
            reduce, workgroup, ..
        } = target.variant;
        let near = reduce == Reduce::Subgroup && workgroup < 256;
        Sharing {
            workgroup,
            near: near.then_some(target.caps.subgroup_size.max(4)),
        }
    }

    /// The same for a product of so many rows and columns.
    pub(crate) fn pairing(self, rows: usize, cols: usize) -> Self {
        let (row_lanes, col_lanes) = block_lanes(self.workgroup);
        let blocks = |rows: usize, lanes: u32| rows.div_ceil(TEAM_ROWS * lanes as usize);
        let few = blocks(rows, row_lanes) * blocks(cols, col_lanes) < FEW_BLOCKS;
        let workgroup = match self.near.is_none() && few {
            true => self.workgroup.min(SMALL),
            false => self.workgroup,
        };
        Sharing { workgroup, ..self }
    }

    pub(crate) fn reduce(self) -> Reduce {
        match self.near {
            Some(_) => Reduce::Subgroup,
            None => Reduce::Tree,
        }
    }

    /// What a module of products has for subgroups.
    pub(crate) fn held(self) -> &'static Part {
        match self.near {
            Some(near) => &HELD[usize::from(near >= 8)],
            None => &NO_PART,
        }
    }

    /// Workgroups of blocks of own rows and of columns, where a lane has eight rows and so many fours of columns, and
    /// how many blocks of rows there are.
    pub(crate) fn blocks(self, rows: usize, fours: u64, lane_fours: u64) -> (u64, u32) {
        if let Some(smallest) = self.near {
            return (self.near_groups(rows, fours, smallest), 0);
        }
        let (row_lanes, col_lanes) = block_lanes(self.workgroup);
        let row_blocks = rows.div_ceil(TEAM_ROWS * row_lanes as usize);
        let col_blocks = fours.div_ceil(lane_fours * u64::from(col_lanes));
        (row_blocks as u64 * col_blocks, row_blocks as u32)
    }

    /// The most workgroups of eight rows a subgroup and some fours of columns a lane, over all sizes of subgroups.
    fn near_groups(self, rows: usize, fours: u64, smallest: u32) -> u64 {
        let workgroup = self.workgroup;
        let sizes = (0..).map(|i| smallest.min(workgroup) << i);
        let groups = |size: u32| {
            let lanes = size.min(workgroup);
            let block = TEAM_ROWS as u64 * u64::from(workgroup / lanes);
            (rows as u64).div_ceil(block) * fours.div_ceil(u64::from(lanes))
        };
        let upto = sizes.take_while(|size| *size < 2 * workgroup);
        upto.map(groups).max().unwrap_or(0)
    }
}

/// Workgroups of blocks of own rows and of fours of other rows or components, and how many blocks of rows there are.
pub(crate) fn blocks(
    lanes: Sharing,
    matrices: Option<Teams>,
    (rows, fours): (usize, u64),
    of_slopes: bool,
) -> (u64, u32) {
    let Some(teams) = matrices else {
        return lanes.blocks(rows, fours, 2);
    };
    let (block_rows, block_cols) = matrix_block(teams, of_slopes);
    let row_blocks = rows.div_ceil(block_rows);
    let col_blocks = fours.div_ceil(block_cols / 4);
    (row_blocks as u64 * col_blocks, row_blocks as u32)
}

/// Most own rows whose products with `others`, of so much work each, one dispatch may have.
pub(crate) fn rows_per_dispatch(others: usize, work: u64) -> usize {
    let teams = parts_per_dispatch(TEAM_ROWS as u64 * others.max(1) as u64 * work);
    // Whole blocks of the kernels that have some.
    let whole = teams / 16 * 16;
    TEAM_ROWS.saturating_mul(if whole > 0 { whole } else { teams })
}

/// In how many chunks of rows that are summed over, `others` in all, `spread` has its sums, where there are so many blocks
/// of them and room for `fitting` chunks: few workgroups share what few blocks have.
pub(crate) fn chunks(others: u64, blocks: u64, fitting: u64) -> u64 {
    let most = (SPREAD_GROUPS / blocks.max(1)).min(fitting);
    let most = most.min(others.div_ceil(CHUNK_ROWS)).max(1);
    // As many as are not empty.
    others.div_ceil(others.div_ceil(most).next_multiple_of(4))
}
