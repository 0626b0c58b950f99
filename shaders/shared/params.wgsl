// Sizes, places and settings of one window of rows; mirrored by `RowParams` in src/kernels/rows/plan.rs.
// provides: ABSENT, RowParams, params (binding 0)
// expects:  nothing

// An offset that says the optional tensor is not there.
const ABSENT = 0xffffffffu;

// Offsets and strides are in elements of their tensor (of bits: in words), relative to the binding.
struct RowParams {
    rows: u32,              // rows of this window
    cols: u32,              // labels
    width: u32,             // lanes that share a row: a power of two, at most WG
    shift: u32,             // width = 1 << shift
    blocks: u32,            // `rows`: how often a workgroup takes WG/width rows
    groups: u32,            // workgroups with work; those beyond (the grid is folded) return
    groups_x: u32,          // workgroups in x
    chunks: u32,            // split rows: workgroups that share a row
    items: u32,             // words of gradient that a lane handles per row (or chunk)
    tile: u32,              // of these, how many between two stagings of sparse targets
    cached: u32,            // logits a lane keeps between the two sweeps
    first_row: u32,         // rows of the tensors before this window
    first_group: u32,       // partial sums before this window's

    logits_offset: u32,
    logits_stride: u32,
    targets_offset: u32,
    targets_stride: u32,
    indices_offset: u32,
    indices_len: u32,
    mask_offset: u32,
    mask_stride: u32,
    grad_offset: u32,
    grad_stride: u32,
    grad2_offset: u32,
    grad2_stride: u32,

    class_mask: u32,        // side tensors, each an offset into `sides` or ABSENT
    class_weight: u32,
    sample_weight: u32,
    threshold: u32,
    threshold_row: u32,     // 1 where the threshold changes from row to row
    threshold_col: u32,     // 1 where it changes from label to label
    grad_loss: u32,
    grad_loss_row: u32,     // 1 where the upstream gradient has a value per row

    loss_at: u32,           // places in `scratch`, each an offset or ABSENT
    threshold_at: u32,
    coef_at: u32,
    partial_at: u32,
    chunk_at: u32,
    column_at: u32,
    want_grad: u32,
    want_grad2: u32,

    scale: f32,             // of the reduction
    smoothing: f32,
    first: f32,             // the loss's own settings
    second: f32,
    third: f32,
    nan: u32,               // bit patterns that WGSL has no constants for
    infinity: u32,
    row_mean: u32,
    column_rows: u32,       // `columns`: rows of one chunk
    columns: u32,           // and how many columns

    prediction: u32,        // wdl: 0 normalised sigmoid, 1 softmax
    phi: u32,               // 0 square, 1 absolute, 2 Huber
    additive: u32,          // 1 where the weights of a pair are added
    sets: u32,              // rows of theta
    weights: u32,           // weights in each
    huber_delta: f32,
    lambda_presence: f32,
    lambda_difference: f32,
    per_pair: f32,          // of the sum of differences, over n (n - 1)
    degree: f32,            // of the sum in the weights
    spread_at: u32,         // places in `scratch`
    e_at: u32,
    h_at: u32,              // or ABSENT
    c_at: u32,
    weights_at: u32,        // or ABSENT: all weights are 1
    order_offset: u32,      // of the permutation
    order_stride: u32,      // 0 where one serves all rows
}

@group(0) @binding(0) var<uniform> params: RowParams;
