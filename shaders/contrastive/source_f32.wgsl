// Embeddings stored as f32.
// provides: source (binding 1), source_bits
// expects:  params

@group(0) @binding(1) var<storage, read_write> source: array<u32>;

// The f32 bit pattern of component `d` of a row.
fn source_bits(row: u32, d: u32) -> u32 {
    return source[params.source.offset + row * params.source.stride + d];
}
