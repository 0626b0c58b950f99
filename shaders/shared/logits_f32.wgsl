// Logits stored as f32.
// provides: logits (binding 1), logit_bits
// expects:  nothing

@group(0) @binding(1) var<storage, read_write> logits: array<u32>;

// The f32 bit pattern of logit `i`.
fn logit_bits(i: u32) -> u32 {
    return logits[i];
}
