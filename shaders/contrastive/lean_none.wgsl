// Losses without a bias.
// provides: keep_lean, lean_of, put_lean
// expects:  nothing

fn keep_lean(anchor: u32) {
}

fn lean_of(anchor: u32) -> f32 {
    return 0.0;
}

fn put_lean(slope: f32, unsound: bool) {
}
