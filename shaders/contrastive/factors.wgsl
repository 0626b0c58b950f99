// What rows in f16 have to be multiplied by, and powers of two that slopes have been multiplied by: behind the norms.
// Mirrors: src/kernels/contrastive/params.rs.
// provides: small (binding 5), own_factors, other_factors, own_powers, keep_power
// expects:  params

@group(0) @binding(5) var<storage, read_write> small: array<u32>;

// Four rows' of a side, by the place of the first row's in `small`. Beyond the last they are the last's.
fn four_of(at: u32, row: u32, rows: u32) -> vec4<f32> {
    let held = min(vec4<u32>(row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(rows - 1u));
    return vec4<f32>(
        bitcast<f32>(small[at + held.x]),
        bitcast<f32>(small[at + held.y]),
        bitcast<f32>(small[at + held.z]),
        bitcast<f32>(small[at + held.w]),
    );
}

// The factors of four own rows.
fn own_factors(row: u32) -> vec4<f32> {
    return four_of(params.own.norms + params.factors + params.own.first, row, params.own.rows);
}

// The same of other rows.
fn other_factors(row: u32) -> vec4<f32> {
    return four_of(params.other.norms + params.factors + params.other.first, row, params.other.rows);
}

// What undoes the powers of two of four own rows of slopes.
fn own_powers(row: u32) -> vec4<f32> {
    return four_of(params.own.norms + 2u * params.factors + params.own.first, row, params.own.rows);
}

// Keeps that of a row, as bits.
fn keep_power(row: u32, bits: u32) {
    small[params.own.norms + 2u * params.factors + params.own.first + row] = bits;
}
