// Embeddings of 16 bits, two to a word.
// provides: source (binding 1), source_bits
// expects:  params, widen

@group(0) @binding(1) var<storage, read_write> source: array<u32>;

// The f32 bit pattern of component `d` of a row.
fn source_bits(row: u32, d: u32) -> u32 {
    let i = params.source.offset + row * params.source.stride + d;
    return widen(vec2<u32>((source[i / 2u] >> ((i & 1u) * 16u)) & 0xffffu, 0u)).x;
}
