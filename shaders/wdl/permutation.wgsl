// The seeded permutation of the labels, bit for bit that of src/reference/permutation.rs: 24 rounds of swap-or-not, each
// element by itself.
//
// `permutation`   the image of every index, for one row or for each.
// `advance`       adds 1 to the seed.
//
// Grid: `permutation` rows x ceil(cols/WG) groups, folded over x and y; `advance` one group.
// Mirrors: `PermutationParams` in src/kernels/rows/permutation.rs.
// provides: params (binding 0), seed (binding 1), images (binding 7), permutation, advance
// expects:  WG

struct PermutationParams {
    rows: u32,
    cols: u32,
    groups: u32,
    groups_x: u32,
    chunks: u32,            // groups that share a row
    seed_offset: u32,       // low word, then high word
    offset: u32,
    stride: u32,
    first_row: u32,         // number of the first row
    _pad0: u32,
    _pad1: u32,
    _pad2: u32,
}

@group(0) @binding(0) var<uniform> params: PermutationParams;
@group(0) @binding(1) var<storage, read_write> seed: array<u32>;
@group(0) @binding(7) var<storage, read_write> images: array<u32>;

// The hash lowbias32 of Chris Wellons (public domain).
fn mix(value: u32) -> u32 {
    var x = value;
    x ^= x >> 16u;
    x *= 0x7feb352du;
    x ^= x >> 15u;
    x *= 0x846ca68bu;
    return x ^ (x >> 16u);
}

// The sum of a pair that may swap in each round, and the key of the bit that decides.
var<workgroup> wg_rounds: array<vec2<u32>, 24>;

@compute @workgroup_size(WG)
fn permutation(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    let number = id.x + id.y * params.groups_x;
    if (number >= params.groups) {
        return;
    }
    let row = number / params.chunks;
    let low = seed[params.seed_offset];
    let high = seed[params.seed_offset + 1u];
    let label = params.first_row + row;
    let a = mix(low ^ mix(high ^ mix(label ^ 0x9e3779b9u)));
    let b = mix(high ^ mix(low ^ mix(label ^ 0x85ebca6bu)));
    for (var i = lane; i < 24u; i += WG) {
        let round = i + 1u;
        wg_rounds[i] = vec2<u32>(mix(a + round * 0x9e3779b9u) % params.cols, mix(b + round * 0x85ebca6bu));
    }
    // All rounds are there before the first is read.
    workgroupBarrier();
    let index = (number % params.chunks) * WG + lane;
    if (index >= params.cols) {
        return;
    }
    var x = index;
    for (var i = 0u; i < 24u; i++) {
        let round = wg_rounds[i];
        let mirror = select(params.cols - (x - round.x), round.x - x, x <= round.x);
        if ((mix(max(x, mirror) ^ round.y) & 1u) != 0u) {
            x = mirror;
        }
    }
    images[params.offset + row * params.stride + index] = x;
}

@compute @workgroup_size(WG)
fn advance(
    @builtin(local_invocation_index) lane: u32,
) {
    if (lane == 0u) {
        let low = seed[params.seed_offset] + 1u;
        seed[params.seed_offset] = low;
        seed[params.seed_offset + 1u] += u32(low == 0u);
    }
}
