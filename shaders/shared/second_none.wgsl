// No second gradient: hard labels have none.
// provides: second_store
// expects:  nothing

fn second_store(row: u32, col: u32, value: f32, nan: bool) {
}
