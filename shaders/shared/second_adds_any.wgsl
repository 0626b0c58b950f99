// A gradient to the targets that is added to what is there, wherever it begins. What lies beside the row is not stored
// again.
// provides: onto_second
// expects:  second, sum_bits4

// The bits that are stored from place `i` on.
fn onto_second(i: u32, bits: vec4<u32>) -> vec4<u32> {
    return sum_bits4(vec4<u32>(second[i], second[i + 1u], second[i + 2u], second[i + 3u]), bits);
}
