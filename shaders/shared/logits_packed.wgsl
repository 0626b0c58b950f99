// Logits stored as 16-bit values two to a word, so that no device feature is needed.
// provides: logits (binding 1), logit_bits
// expects:  half_value

@group(0) @binding(1) var<storage, read_write> logits: array<u32>;

// The f32 bit pattern of logit `i`.
fn logit_bits(i: u32) -> u32 {
    return half_value((logits[i / 2u] >> ((i & 1u) * 16u)) & 0xffffu);
}
