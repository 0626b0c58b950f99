// The constrained probabilities.
// provides: probabilities (binding 4), put_probability
// expects:  math, best, params of mcm/logits.wgsl

@group(0) @binding(4) var<storage, read_write> probabilities: array<u32>;

// From the key of the best of all.
fn put_probability(row: u32, col: u32, winner: u32) {
    let bits = select(key_bits(winner), params.nan, winner == NAN_KEY);
    let value = bitcast<u32>(sigmoid(finite(bits)));
    let at = params.probabilities.offset + row * params.probabilities.stride + col;
    probabilities[at] = select(value, params.nan, winner == NAN_KEY);
}
