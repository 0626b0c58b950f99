// Labels that weigh alike.
// provides: weight_of_label
// expects:  nothing

fn weight_of_label(label: u32) -> f32 {
    return 1.0;
}
