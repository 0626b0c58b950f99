// The rows of both sides in f16: without their factors.
// provides: own_half, other_half
// expects:  params, own_z, other_z, small, small2

// One over a power of two, by its bits.
fn inverse(power: f32) -> f32 {
    return bitcast<f32>(0x7f000000u - bitcast<u32>(power));
}

fn own_half(row: u32, i: u32) -> vec4<f16> {
    return vec4<f16>(own_z(row, i) * inverse(small[params.own.small + row]));
}

fn other_half(row: u32, i: u32) -> vec4<f16> {
    return vec4<f16>(other_z(row, i) * inverse(small2[params.other.small + row]));
}
