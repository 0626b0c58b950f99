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
    first_group: u32,       // partial sums before this window's
}

// How rows are laid over lanes and workgroups.
struct RowGrid {
    width: u32,             // lanes that share a row: a power of two, at most WG
    shift: u32,             // width = 1 << shift
    blocks: u32,            // `rows`: how often a workgroup takes WG/width rows
    groups: u32,            // workgroups with work; those beyond (the grid is folded) return
    groups_x: u32,          // workgroups in x
    chunks: u32,            // split rows: workgroups that share a row
    items: u32,             // words of gradient that a lane handles per row (or chunk)
    tile: u32,              // of these, how many between two stagings of sparse targets
    cached: u32,            // logits a lane keeps between the two sweeps
    column_rows: u32,       // `columns`: rows of one chunk
    columns: u32,           // and how many columns
    _pad: u32,
}

// Where the tensors with rows begin. Offsets and strides are in elements (of bits: in words), relative to the binding.
struct RowViews {
    logits_offset: u32,
    logits_stride: u32,
    targets_offset: u32,
    targets_stride: u32,
    indices_offset: u32,
    indices_len: u32,
    mask_offset: u32,       // or ABSENT
    mask_stride: u32,
    grad_offset: u32,
    grad_stride: u32,
    grad2_offset: u32,
    grad2_stride: u32,
}

// The side tensors, each an offset into `sides` or ABSENT.
struct RowSides {
    class_mask: u32,
    class_weight: u32,
    sample_weight: u32,
    threshold: u32,
    threshold_row: u32,     // 1 where the threshold changes from row to row
    threshold_col: u32,     // 1 where it changes from label to label
    grad_loss: u32,
    grad_loss_row: u32,     // 1 where the upstream gradient has a value per row
}

// Places in `scratch`, each an offset or ABSENT, and what is wanted.
struct RowPlaces {
    loss_at: u32,
    threshold_at: u32,
    coef_at: u32,
    partial_at: u32,
    chunk_at: u32,
    column_at: u32,
    want_grad: u32,
    want_grad2: u32,
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
