// No factor of a row.
// provides: row_factor
// expects:  nothing

fn row_factor(row: u32) -> f32 {
    return 1.0;
}
