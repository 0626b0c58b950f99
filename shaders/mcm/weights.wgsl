// Weights of the classes, which lie behind the terms.
//
// A win counts for the weight of its class. The sum of a class's wins must not depend on their order, so it is one of
// integers: a weight is its share in the sum of all weights, in units of 2^-63 of the power of two above that sum. What
// is 2^-39 of the sum still has all its digits.
// provides: weighed, share_of
// expects:  math, params of mcm/logits.wgsl, terms of mcm/class.wgsl

fn weight_bits(col: u32) -> u32 {
    return terms[params.weights_at + col];
}

// The bits of a term, not below 0, with its class's weight. A term of weight 0 is 0, were it infinite.
fn weighed(col: u32, bits: u32) -> u32 {
    let weight = weight_bits(col);
    let infinite = bits == params.infinity;
    let product = bitcast<u32>(finite(weight) * bitcast<f32>(select(bits, 0u, infinite)));
    let value = select(product, params.infinity, infinite && (weight & 0x7fffffffu) != 0u);
    return select(value, params.nan, is_nan(weight));
}

// Low and high word of a weight.
fn share_of(col: u32) -> vec2<u32> {
    let weight = weight_bits(col) & 0x7fffffffu;
    let total = (terms[params.total_at] & 0x7fffffffu) >> 23u;
    // Without a leading bit the exponent is that of the smallest number with one.
    let digits = (weight & 0x007fffffu) | select(0u, 0x00800000u, weight >= 0x00800000u);
    let up = 39 + i32(max(weight >> 23u, 1u)) - i32(max(total, 1u));
    if (up >= 32) {
        // At most 39, but for weights that are no numbers.
        return vec2<u32>(0u, digits << u32(min(up - 32, 7)));
    }
    if (up > 0) {
        return vec2<u32>(digits << u32(up), digits >> u32(32 - up));
    }
    return vec2<u32>(digits >> u32(min(-up, 31)), 0u);
}
