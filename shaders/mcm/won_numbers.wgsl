// How many positive classes an element has won, and how many others.
// provides: wins (binding 6), won
// expects:  nothing

@group(0) @binding(6) var<storage, read_write> wins: array<vec2<u32>>;

fn won(element: u32) -> vec2<f32> {
    return vec2<f32>(wins[element]);
}
