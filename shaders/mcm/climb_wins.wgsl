// Counts the wins of a class, those over positive classes and the others.
// provides: wins (binding 6), add_win
// expects:  nothing

@group(0) @binding(6) var<storage, read_write> wins: array<atomic<u32>>;

// The winner is an element of the window, what it has won a class.
fn add_win(winner: u32, col: u32, is_positive: bool) {
    atomicAdd(&wins[2u * winner + u32(!is_positive)], 1u);
}
