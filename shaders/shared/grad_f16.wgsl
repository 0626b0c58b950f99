// Gradient stored as f16, written natively (device feature SHADER_F16).
// provides: PACK, grad (binding 7), grad_store
// expects:  `enable f16;` in the prelude

// Gradient elements in one storage word: the lane that computes a word's elements writes the word.
const PACK = 1u;

@group(0) @binding(7) var<storage, read_write> grad: array<f16>;

// Stores the elements of word `word` that are `inside` the row; NaN where `nan`.
fn grad_store(word: u32, value: vec2<f32>, inside: vec2<bool>, nan: vec2<bool>) {
    if (inside.x) {
        grad[word] = f16(bitcast<f32>(select(bitcast<u32>(value.x), 0x7fc00000u, nan.x)));
    }
}
