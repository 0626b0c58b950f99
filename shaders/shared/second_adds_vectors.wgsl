// A gradient to the targets that is added to what is there, a vector for four labels. What lies beside the row is not
// stored again.
// provides: onto_second
// expects:  second, sum_bits4

// The bits that are stored at place `i`.
fn onto_second(i: u32, bits: vec4<u32>) -> vec4<u32> {
    return sum_bits4(second[i], bits);
}
