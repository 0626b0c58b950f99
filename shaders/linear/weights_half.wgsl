// Weights of 16 bits, two to a word, rounded up or down by chance: as often as it takes for the mean to be right, so that
// steps smaller than half of the last digit are not lost. Chance is a hash of seed, label and component, which the reference
// computes alike.
// provides: weights (binding 7), words_of_row, store_word
// expects:  params, slope_of, real_bits, real_half, REAL_BF16, is_nan, counter_key, counter_mix, ROUNDING

@group(0) @binding(7) var<storage, read_write> weights: array<atomic<u32>>;

// A row may begin in the middle of a word.
fn words_of_row() -> u32 {
    return (params.cols + 2u) / 2u;
}

// A number of f32 with these bits as 16 bits, by chance.
fn rounded(bits: u32, chance: u32) -> u32 {
    let kind = params.weights.kind;
    let magnitude = bits & 0x7fffffffu;
    if (magnitude >= 0x7f800000u) {
        return real_half(kind, bits);
    }
    if (kind == REAL_BF16) {
        return (bits + (chance >> 16u)) >> 16u;
    }
    // Of f16 below 2^-14, steps of 2^-24.
    if (magnitude < 0x38800000u) {
        let steps = bitcast<f32>(magnitude) * 16777216.0;
        let whole = floor(steps);
        let up = f32(chance >> 8u) < (steps - whole) * 16777216.0;
        return ((bits >> 16u) & 0x8000u) | (u32(whole) + select(0u, 1u, up));
    }
    return real_half(kind, (bits + (chance >> 19u)) & 0xffffe000u);
}

fn half_after(row: u32, col: u32, word: u32, i: u32, size: f32) -> u32 {
    let before = bitcast<f32>(real_bits(params.weights.kind, word, i));
    let after = before - size * slope_of(row, col);
    let key = counter_key(params.seed_low, params.seed_high, ROUNDING) + (params.first + row) * 0x9e3779b9u;
    return rounded(bitcast<u32>(after), counter_mix(counter_mix(key) ^ (col * 0x85ebca6bu)));
}

fn store_word(row: u32, word: u32, size: f32) {
    let cols = params.cols;
    let begin = params.weights.offset + row * params.weights.stride;
    let place = begin / 2u + word;
    // Before the row this wraps to a large number.
    let first = 2u * place - begin;
    let second = 2u * place + 1u - begin;
    let before = atomicLoad(&weights[place]);
    let low = half_after(row, min(first, cols - 1u), before, 0u, size);
    let high = half_after(row, min(second, cols - 1u), before, 1u, size);
    // A word with the end of one row and the beginning of another is written by two workgroups, each its half.
    if (first < cols && second < cols) {
        atomicStore(&weights[place], low | (high << 16u));
    } else if (first < cols) {
        atomicAnd(&weights[place], 0xffff0000u);
        atomicOr(&weights[place], low);
    } else if (second < cols) {
        atomicAnd(&weights[place], 0x0000ffffu);
        atomicOr(&weights[place], high << 16u);
    }
}
