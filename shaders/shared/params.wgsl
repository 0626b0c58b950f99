// Sizes, places and settings of one window of rows.
// Mirrors: src/kernels/rows/params.rs.
// provides: ABSENT, RowParams, params (binding 0)
// expects:  from the loss: Settings

// An offset that says the optional tensor is not there.
const ABSENT = 0xffffffffu;

// Which rows.
struct RowWindow {
    rows: u32,              // of this window
    cols: u32,              // labels
    first_row: u32,         // rows of the tensors before this window
    _pad: u32,
}

// How rows are laid over lanes and workgroups.
struct RowGrid {
    width: u32,             // lanes that share a row (or chunk): a power of two, at most WG
    shift: u32,             // width = 1 << shift
    groups: u32,            // workgroups with work; those beyond (the grid is folded) return
    groups_x: u32,          // workgroups in x
    chunks: u32,            // parts of a row, each with its own lanes
    steps: u32,             // steps of a chunk: a multiple of `width`
    block: u32,             // steps of a block, which is summed by itself: a multiple of `width`
    column_rows: u32,       // `columns`: rows of one chunk
    columns: u32,           // and how many columns
    apart: u32,             // accumulators from a row's first to the next row's: `chunks`, unless labels come in tiles
    _pad0: u32,
    _pad1: u32,
}

// Where the tensors with rows begin. Offsets and strides are in elements (of bits: in words), relative to the binding.
struct RowViews {
    logits_offset: u32,
    logits_stride: u32,
    targets_offset: u32,
    targets_stride: u32,
    mask_offset: u32,
    mask_stride: u32,
    grad_offset: u32,
    grad_stride: u32,
    grad2_offset: u32,
    grad2_stride: u32,
    _pad0: u32,
    _pad1: u32,
}

// The side tensors, each an offset into `sides` or ABSENT.
struct RowSides {
    sample_weight: u32,
    grad_loss: u32,
    grad_loss_row: u32,     // 1 where the upstream gradient has a value per row
    threshold: u32,         // one for the batch or for each row
    threshold_row: u32,     // 1 where it changes from row to row
    labels: u32,            // tables by label, in vectors of four: weights
    thresholds: u32,        // and thresholds
    labels_stride: u32,     // from the table of one phase to that of the next
}

// Places in `scratch`, each an offset or ABSENT, and what is wanted.
struct RowPlaces {
    loss_at: u32,
    threshold_at: u32,
    coef_at: u32,
    chunk_at: u32,
    column_at: u32,
    want_grad: u32,
    _pad0: u32,
    _pad1: u32,
}

// What settings the losses share, and bit patterns.
struct RowGeneral {
    scale: f32,             // of the reduction
    smoothing: f32,
    row_mean: u32,          // 1 where a row's sum is divided by the number of its labels that count
    nan: u32,               // bit patterns that WGSL has no constants for
    infinity: u32,
    _pad0: u32,
    _pad1: u32,
    _pad2: u32,
}

struct RowParams {
    window: RowWindow,
    grid: RowGrid,
    views: RowViews,
    sides: RowSides,
    places: RowPlaces,
    general: RowGeneral,
    own: Settings,
}

@group(0) @binding(0) var<uniform> params: RowParams;
