// Room for the wins of a class: how many positive classes it has won, and how many others.
// provides: wins (binding 6), begin_wins
// expects:  nothing

@group(0) @binding(6) var<storage, read_write> wins: array<vec2<u32>>;

// `wins_itself`: it is its own winner.
fn begin_wins(element: u32, col: u32, wins_itself: bool, is_positive: bool) {
    wins[element] = select(vec2<u32>(0u), vec2<u32>(u32(is_positive), u32(!is_positive)), wins_itself);
}
