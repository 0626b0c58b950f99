// An anchor's labels by their weights, whose sums stand behind those of the labels.
// provides: labels_of
// expects:  params, small

fn labels_of(anchor: u32) -> f32 {
    return bitcast<f32>(small[params.record.counts + 64u * params.row.words + anchor]);
}
