// No probabilities are wanted.
// provides: put_probability
// expects:  nothing

fn put_probability(row: u32, col: u32, winner: u32) {
}
