// Bytes of which four neighbours belong to a vector.
// provides: bytes_base, bytes_of, window_at, window_of
// expects:  nothing

// The word of an element that begins one; before the first word it wraps, and comes back with the first vector added.
fn bytes_base(element: u32) -> u32 {
    return (element + 4u) / 4u - 1u;
}

fn bytes_of(word: u32) -> vec4<bool> {
    return ((vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u)) != vec4<u32>(0u);
}

// The second of the two words in which vector `q` lies, of a row whose first vector begins at element `base`, which may be
// before the first word.
fn window_at(base: u32, q: u32) -> u32 {
    return (base + 4u) / 4u + q;
}

// The word that begins at element `base` of two neighbouring ones.
fn window_of(low: u32, high: u32, base: u32) -> u32 {
    let shift = (base & 3u) * 8u;
    return select(low, (low >> shift) | (high << (32u - shift)), shift != 0u);
}
