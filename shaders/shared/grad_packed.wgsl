// Gradient stored as 16-bit values two to a word. Where a word holds the end of one row and the beginning of
// the next (or a neighbour that is not ours), the two halves are written by different workgroups: each clears and
// sets its own half with integer atomics, so that no write is lost and the result does not depend on the order.
// provides: PACK, grad (binding 7), grad_store
// expects:  half_bits

// Gradient elements in one storage word: the lane that computes a word's elements writes the word.
const PACK = 2u;

@group(0) @binding(7) var<storage, read_write> grad: array<atomic<u32>>;

// Stores the elements of word `word` that are `inside` the row; NaN where `nan`.
fn grad_store(word: u32, value: vec2<f32>, inside: vec2<bool>, nan: vec2<bool>) {
    let low = half_bits(value.x, nan.x);
    let high = half_bits(value.y, nan.y) << 16u;
    if (inside.x && inside.y) {
        atomicStore(&grad[word], low | high);
    } else if (inside.x) {
        atomicAnd(&grad[word], 0xffff0000u);
        atomicOr(&grad[word], low);
    } else if (inside.y) {
        atomicAnd(&grad[word], 0x0000ffffu);
        atomicOr(&grad[word], high);
    }
}
