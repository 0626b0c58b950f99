// Room for the wins of a class: the weights of the positive classes it has won, and of the others, in two words each.
// provides: wins (binding 6), begin_wins
// expects:  share_of

@group(0) @binding(6) var<storage, read_write> wins: array<vec4<u32>>;

// `wins_itself`: it is its own winner.
fn begin_wins(element: u32, col: u32, wins_itself: bool, is_positive: bool) {
    let share = select(vec2<u32>(0u), share_of(col), wins_itself);
    wins[element] = select(vec4<u32>(0u, 0u, share), vec4<u32>(share, 0u, 0u), is_positive);
}
