// Rows in which a positive counts.
// provides: label_counts, row_count
// expects:  Labels

fn label_counts(e: Labels) -> vec4<bool> {
    return e.counts & (e.label > vec4<f32>(0.5));
}

fn row_count(count: u32) -> u32 {
    return min(count, 1u);
}
