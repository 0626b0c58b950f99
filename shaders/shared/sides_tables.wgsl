// Side tensors by label beside those by row, all of them copies that `gather` made. By label they are tables of vectors: of
// weights, MASKED where the class mask takes the label out.
// provides: sides (binding 5), side_word, weights4
// expects:  Sides, params, math, MASKED, table4

@group(0) @binding(5) var<storage, read_write> sides: array<vec4<u32>>;

fn side_word(i: u32) -> u32 {
    return sides[i / 4u][i & 3u];
}

fn weights4(base: u32, q: u32) -> Sides {
    let bits = table4(params.sides.labels, base, q);
    let counts = bits != vec4<u32>(MASKED);
    return Sides(finite4(bits), vec4<f32>(0.0), counts, is_nan4(bits));
}
