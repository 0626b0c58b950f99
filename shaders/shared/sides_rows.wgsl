// Side tensors by row alone: every label has weight 1.
// provides: sides (binding 5), side_word, sides_base, sides4
// expects:  Sides

@group(0) @binding(5) var<storage, read_write> sides: array<u32>;

fn side_word(i: u32) -> u32 {
    return sides[i];
}

fn sides_base(phase: u32) -> u32 {
    return 0u;
}

fn sides4(base: u32, q: u32) -> Sides {
    return Sides(vec4<f32>(1.0), vec4<f32>(0.0), vec4<bool>(true), vec4<bool>(false));
}
