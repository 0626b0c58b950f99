// Logits stored as 16-bit values two to a word, the gradient written over them: one binding, since browsers refuse
// two that alias. Another row's half of a shared word may be replaced while ours is still to be read, hence atomics;
// each half is only ever read and written by the lane that owns it.
// provides: PACK, logits (binding 1), logit_bits, grad_store
// expects:  half_bits, half_value

// Gradient elements in one storage word: the lane that computes a word's elements writes the word.
const PACK = 2u;

@group(0) @binding(1) var<storage, read_write> logits: array<atomic<u32>>;

// The f32 bit pattern of logit `i`.
fn logit_bits(i: u32) -> u32 {
    return half_value((atomicLoad(&logits[i / 2u]) >> ((i & 1u) * 16u)) & 0xffffu);
}

// Stores the elements of word `word` that are `inside` the row; NaN where `nan`.
fn grad_store(word: u32, value: vec2<f32>, inside: vec2<bool>, nan: vec2<bool>) {
    let low = half_bits(value.x, nan.x);
    let high = half_bits(value.y, nan.y) << 16u;
    if (inside.x && inside.y) {
        atomicStore(&logits[word], low | high);
    } else if (inside.x) {
        atomicAnd(&logits[word], 0xffff0000u);
        atomicOr(&logits[word], low);
    } else if (inside.y) {
        atomicAnd(&logits[word], 0x0000ffffu);
        atomicOr(&logits[word], high);
    }
}
