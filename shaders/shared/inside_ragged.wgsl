// Rows that begin or end within a vector.
// provides: inside4
// expects:  IOTA

// Which of the four labels from `col` on a row of `cols` has; before its first, `col` is a large number.
fn inside4(col: u32, cols: u32) -> vec4<bool> {
    return vec4<u32>(col) + IOTA < vec4<u32>(cols);
}
