// Logits and their gradient apart, in vectors.
// provides: logits (binding 1), grad (binding 7), out_vector, out_word, out_old, out_start
// expects:  params

@group(0) @binding(1) var<storage, read_write> logits: array<vec4<u32>>;
@group(0) @binding(7) var<storage, read_write> grad: array<vec4<u32>>;

fn out_start(row: u32) -> u32 {
    return params.views.grad_offset + row * params.views.grad_stride;
}

fn out_vector(i: u32, value: vec4<u32>) {
    grad[i] = value;
}

fn out_word(i: u32, word: u32, value: u32) {
    grad[i][word] = value;
}

fn out_old(i: u32, word: u32) -> u32 {
    return grad[i][word];
}
