// Copies of weights by element as f32, UNCOUNTED where a mask takes the element out: for weights of 16 bits, and for those
// that stand beside a mask, whose binding they have in the kernels of rows.
//
// Grid: a lane for each element of a window of rows, folded over x and y.
// Mirrors: `WeighParams` in src/kernels/rows/weights.rs.
// provides: params (binding 0), weight (binding 1), mask (binding 4), weights (binding 6), weigh
// expects:  WG, UNCOUNTED, flag, is_nan of math.wgsl, real_place, real_bits of reals.wgsl

struct WeighParams {
    elements: u32,
    cols: u32,
    groups_x: u32,
    kind: u32,              // one of the REAL_ kinds
    weight_offset: u32,
    weight_stride: u32,
    mask_offset: u32,
    mask_stride: u32,
    masked: u32,            // 1 where there is a mask
}

@group(0) @binding(0) var<uniform> params: WeighParams;
@group(0) @binding(1) var<storage, read_write> weight: array<u32>;
@group(0) @binding(4) var<storage, read_write> mask: array<u32>;
@group(0) @binding(6) var<storage, read_write> weights: array<u32>;

@compute @workgroup_size(WG)
fn weigh(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    let i = (id.x + id.y * params.groups_x) * WG + lane;
    if (i >= params.elements) {
        return;
    }
    let row = i / params.cols;
    let col = i % params.cols;
    let at = params.weight_offset + row * params.weight_stride + col;
    var bits = real_bits(params.kind, weight[real_place(params.kind, at)], at);
    // UNCOUNTED is a NaN's pattern too; all others become one.
    if (is_nan(bits)) {
        bits = 0x7fc00000u;
    }
    if (params.masked != 0u) {
        let byte = params.mask_offset + row * params.mask_stride + col;
        if (!flag(mask[byte / 4u], byte)) {
            bits = UNCOUNTED;
        }
    }
    weights[i] = bits;
}
