// Logits stored as f16, read natively (device feature SHADER_F16).
// provides: logits (binding 1), logit_bits
// expects:  `enable f16;` in the prelude

@group(0) @binding(1) var<storage, read_write> logits: array<f16>;

// The f32 bit pattern of logit `i`.
fn logit_bits(i: u32) -> u32 {
    return bitcast<u32>(f32(logits[i]));
}
