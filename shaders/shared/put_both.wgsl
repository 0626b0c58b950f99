// A gradient in f32 of logits of 16 bits: two vectors for eight labels.
// provides: put8
// expects:  put4

fn put8(base: u32, k: u32, first: vec4<bool>, second: vec4<bool>, first_bits: vec4<u32>, second_bits: vec4<u32>) {
    put4(base, 2u * k, first, first_bits);
    put4(base, 2u * k + 1u, second, second_bits);
}
