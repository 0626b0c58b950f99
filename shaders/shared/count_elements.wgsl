// Every element that counts.
// provides: label_counts, row_count
// expects:  Labels

fn label_counts(e: Labels) -> vec4<bool> {
    return e.counts;
}

fn row_count(count: u32) -> u32 {
    return count;
}
