// Embeddings of 16 bits in f16 as cooperative matrices take them: each row times a power of two of its own, with which its
// largest component is between 1 and 2. bf16 has fewer digits than f16, so nothing is lost but digits far below those
// that an f32 of the largest component has. What a row was multiplied by and divided by, for its norm too, is its factor:
// row of `z` = factor times row of `halves`.
//
// Grid: one workgroup a row, folded.
// Mirrors: src/kernels/contrastive/params.rs.
// provides: the entry points, z (binding 4), halves (binding 5), small (binding 6)
// expects:  params, WG, source_bits, finite, largest_of

@group(0) @binding(4) var<storage, read_write> z: array<u32>;
@group(0) @binding(5) var<storage, read_write> halves: array<vec4<f16>>;
@group(0) @binding(6) var<storage, read_write> small: array<u32>;

// Component `d` of a row as it was given, times the row's power of two.
fn component(row: u32, d: u32, scale: f32) -> f32 {
    if (d < params.row.dims) {
        return finite(source_bits(row, d)) * scale;
    }
    return 0.0;
}

@compute @workgroup_size(WG)
fn halve(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let row = group.y * params.grid.groups_x + group.x;
    if (row >= params.own.rows) {
        return;
    }
    let unit = params.own.z + row * params.row.depth;
    // Sizes compare like their bits.
    var given = 0u;
    var packed = 0u;
    for (var d = lane; d < params.row.dims; d += WG) {
        given = max(given, source_bits(row, d) & 0x7fffffffu);
        packed = max(packed, z[4u * unit + d] & 0x7fffffffu);
    }
    given = largest_of(given, lane);
    packed = largest_of(packed, lane);
    // Of a row that is not sound `z` has zeros.
    let vanishes = packed == 0u;
    // 2^(127 - e) for an exponent of e, as far as that is a normal number.
    let scale = bitcast<f32>(max(254u - clamp(given >> 23u, 1u, 254u), 1u) << 23u);
    for (var i = lane; i < params.row.depth; i += WG) {
        let x = vec4<f32>(
            component(row, 4u * i, scale),
            component(row, 4u * i + 1u, scale),
            component(row, 4u * i + 2u, scale),
            component(row, 4u * i + 3u, scale),
        );
        halves[unit + i] = vec4<f16>(select(x, vec4<f32>(0.0), vanishes));
    }
    if (lane == 0u) {
        let largest = finite(given) * scale;
        let factor = select(bitcast<f32>(packed) / max(largest, 1e-30), 0.0, vanishes);
        small[params.own.norms + params.factors + params.own.first + row] = bitcast<u32>(factor);
    }
}
