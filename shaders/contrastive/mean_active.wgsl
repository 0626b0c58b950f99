// A mean over the anchors that are active.
// provides: in_mean
// expects:  nothing

// Whether a mean is over an anchor, by its state and its size with what stands beside it.
fn in_mean(state: f32, size: u32) -> bool {
    return state > 0.0;
}
