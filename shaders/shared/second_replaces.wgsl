// A gradient to the targets that replaces what is there.
// provides: onto_second
// expects:  nothing

// The bits that are stored from place `i` on.
fn onto_second(i: u32, bits: vec4<u32>) -> vec4<u32> {
    return bits;
}
