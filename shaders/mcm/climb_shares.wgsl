// Adds to the wins of a class the weight of what it has won.
// provides: wins (binding 6), add_win
// expects:  share_of

@group(0) @binding(6) var<storage, read_write> wins: array<atomic<u32>>;

// The winner is an element of the window, what it has won a class.
fn add_win(winner: u32, col: u32, is_positive: bool) {
    let share = share_of(col);
    let at = 4u * winner + 2u * u32(!is_positive);
    let before = atomicAdd(&wins[at], share.x);
    // Whoever makes the low word overflow carries: so often as it does, in whatever order.
    atomicAdd(&wins[at + 1u], share.y + u32(before > 0xffffffffu - share.x));
}
