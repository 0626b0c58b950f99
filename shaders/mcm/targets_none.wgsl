// No targets: no class is positive.
// provides: positive
// expects:  nothing

fn positive(row: u32, col: u32) -> bool {
    return false;
}
