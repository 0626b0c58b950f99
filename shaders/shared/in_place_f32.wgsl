// Logits stored as f32, the gradient written over them: one binding, since browsers refuse two that alias.
// provides: PACK, logits (binding 1), logit_bits, grad_store
// expects:  nothing

// Gradient elements in one storage word: the lane that computes a word's elements writes the word.
const PACK = 1u;

@group(0) @binding(1) var<storage, read_write> logits: array<u32>;

// The f32 bit pattern of logit `i`.
fn logit_bits(i: u32) -> u32 {
    return logits[i];
}

// Stores the elements of word `word` that are `inside` the row; NaN where `nan`.
fn grad_store(word: u32, value: vec2<f32>, inside: vec2<bool>, nan: vec2<bool>) {
    if (inside.x) {
        logits[word] = select(bitcast<u32>(value.x), 0x7fc00000u, nan.x);
    }
}
