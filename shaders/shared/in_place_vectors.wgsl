// Logits that the gradient replaces, in vectors.
// provides: logits (binding 1), out_vector, out_word, out_old, out_start
// expects:  params

@group(0) @binding(1) var<storage, read_write> logits: array<vec4<u32>>;

fn out_start(row: u32) -> u32 {
    return params.views.logits_offset + row * params.views.logits_stride;
}

fn out_vector(i: u32, value: vec4<u32>) {
    logits[i] = value;
}

fn out_word(i: u32, word: u32, value: u32) {
    logits[i][word] = value;
}

fn out_old(i: u32, word: u32) -> u32 {
    return logits[i][word];
}
