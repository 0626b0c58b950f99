// Rows of whole vectors: all four labels of one are in it, or none.
// provides: inside4
// expects:  nothing

fn inside4(col: u32, cols: u32) -> vec4<bool> {
    return vec4<bool>(col < cols);
}
