// The weights of the positive classes that an element has won, and of the others, from the units of mcm/weights.wgsl.
// provides: total (binding 3), wins (binding 6), won
// expects:  nothing

@group(0) @binding(3) var<storage, read_write> total: array<u32>;
@group(0) @binding(6) var<storage, read_write> wins: array<vec4<u32>>;

// In two halves, neither of which leaves the range of f32.
fn times_power(value: vec2<f32>, power: i32) -> vec2<f32> {
    let half = power / 2;
    let first = bitcast<f32>(u32(half + 127) << 23u);
    return value * first * bitcast<f32>(u32(power - half + 127) << 23u);
}

fn won(element: u32) -> vec2<f32> {
    let here = wins[element];
    let exponent = i32(max((total[0] & 0x7fffffffu) >> 23u, 1u));
    return times_power(vec2<f32>(here.yw), exponent - 157) + times_power(vec2<f32>(here.xz), exponent - 189);
}
