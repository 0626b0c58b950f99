// The words of a probe.
// provides: words (binding 7), put
// expects:  params, LANES

@group(0) @binding(7) var<storage, read_write> words: array<u32>;

fn put(k: u32, w: u32, value: u32) {
    words[params.views.grad_offset + k * LANES + w] = value;
}
