// For losses that know nothing of a row before its first sweep.
// provides: row_begin
// expects:  nothing

fn row_begin(row: u32) {
}
