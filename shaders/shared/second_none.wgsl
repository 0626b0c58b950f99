// No gradient to the targets.
// provides: second_base, put_second
// expects:  nothing

fn second_base(row: u32, phase: u32) -> u32 {
    return 0u;
}

fn put_second(base: u32, q: u32, inside: vec4<bool>, bits: vec4<u32>) {
}
