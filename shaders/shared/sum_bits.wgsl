// A gradient and what it is added to, as bits: a NaN in either is one in the sum, and a gradient of 0, as of what does not
// count, leaves what was there as it was.
// provides: sum_bits4, sum_bits
// expects:  is_nan4 of math.wgsl

fn sum_bits4(before: vec4<u32>, made: vec4<u32>) -> vec4<u32> {
    let sum = bitcast<vec4<f32>>(before) + bitcast<vec4<f32>>(made);
    let nan = is_nan4(before) | is_nan4(made);
    let known = select(bitcast<vec4<u32>>(sum), vec4<u32>(0x7fc00000u), nan);
    return select(known, before, (made & vec4<u32>(0x7fffffffu)) == vec4<u32>(0u));
}

fn sum_bits(before: u32, made: u32) -> u32 {
    return sum_bits4(vec4<u32>(before), vec4<u32>(made)).x;
}
