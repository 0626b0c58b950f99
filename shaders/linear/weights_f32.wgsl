// Weights of f32, each a word.
// provides: weights (binding 7), words_of_row, store_word
// expects:  params, slope_of

@group(0) @binding(7) var<storage, read_write> weights: array<f32>;

fn words_of_row() -> u32 {
    return params.cols;
}

fn store_word(row: u32, word: u32, size: f32) {
    let place = params.weights.offset + row * params.weights.stride + word;
    weights[place] -= size * slope_of(row, word);
}
