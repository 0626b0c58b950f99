// Powers of two: the factors of rows, which are multiplied without them, and what undoes those of slopes.
// provides: small (binding 4), small2 (binding 5), own_factors, other_factors, own_powers, keep_power
// expects:  params

// Of own rows: for `products` their factors, else the powers of their slopes.
@group(0) @binding(4) var<storage, read_write> small: array<f32>;
// The factors of other rows.
@group(0) @binding(5) var<storage, read_write> small2: array<f32>;

// Those of four own rows. Beyond the last they are the last's.
fn own_powers(row: u32) -> vec4<f32> {
    let at = min(vec4<u32>(row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.own.rows - 1u)) + params.own.small;
    return vec4<f32>(small[at.x], small[at.y], small[at.z], small[at.w]);
}

fn own_factors(row: u32) -> vec4<f32> {
    return own_powers(row);
}

fn other_factors(row: u32) -> vec4<f32> {
    let at = min(vec4<u32>(row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.other.rows - 1u)) + params.other.small;
    return vec4<f32>(small2[at.x], small2[at.y], small2[at.z], small2[at.w]);
}

// Keeps the power of a row, as bits.
fn keep_power(row: u32, bits: u32) {
    small[params.own.small + row] = bitcast<f32>(bits);
}
