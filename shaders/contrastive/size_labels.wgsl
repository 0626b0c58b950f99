// An anchor's labels by their number.
// provides: labels_of
// expects:  params, SIZE, small

fn labels_of(anchor: u32) -> f32 {
    return f32(small[params.own.sizes + anchor] & SIZE);
}
