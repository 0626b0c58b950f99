// Labels with weights.
// provides: weight_of_label
// expects:  params, small

// The weights stand behind the numbers of keys with each label.
fn weight_of_label(label: u32) -> f32 {
    return bitcast<f32>(small[params.record.counts + 32u * params.row.words + label]);
}
