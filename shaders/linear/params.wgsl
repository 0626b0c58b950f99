// The parameters of the products of hidden states and weights.
// Mirrors: src/kernels/linear/table.rs, which says what each field is.
// provides: LinearParams, params (binding 0)
// expects:  nothing

struct LinearGrid {
    groups: u32,
    groups_x: u32,
    row_blocks: u32,
    add: u32,
}

struct LinearChunks {
    count: u32,
    rows: u32,
    stride: u32,
    at: u32,
}

struct LinearSide {
    rows: u32,
    z: u32,
    stride: u32,
    small: u32,
}

struct LinearRow {
    depth: u32,
    stage: u32,
    bias_at: u32,
    _pad: u32,
}

struct LinearWork {
    stride: u32,
    row: u32,
    _pad0: u32,
    _pad1: u32,
}

struct LinearParams {
    grid: LinearGrid,
    chunks: LinearChunks,
    own: LinearSide,
    other: LinearSide,
    row: LinearRow,
    work: LinearWork,
}

@group(0) @binding(0) var<uniform> params: LinearParams;
