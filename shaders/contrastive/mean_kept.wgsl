// A mean over the anchors that no mask leaves out, active or not.
// provides: in_mean
// expects:  kept

// Whether a mean is over an anchor, by its state and its size with what stands beside it.
fn in_mean(state: f32, size: u32) -> bool {
    return kept(size);
}
