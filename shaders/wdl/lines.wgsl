// What stands between the stages of WDL: what counts, what lanes add up, and what the rows' results are multiplied by.
// provides: counts_at, Acc, lane_merge, dl_scale
// expects:  params, spread, Sides, mask4, sides4

// Whether neither mask takes a label out.
fn counts_at(row: u32, col: u32) -> bool {
    let q = col / 4u;
    let counts = sides4(sides_base(0u), q).counts & mask4(mask_base(row, 0u), q);
    return counts[col & 3u];
}

struct Acc {
    sums: vec4<f32>,
}

fn lane_merge(a: Acc, b: Acc) -> Acc {
    return Acc(a.sums + b.sums);
}

// What D is multiplied by in the loss of all rows.
fn dl_scale(row: u32, s: Spread) -> f32 {
    return select(row_coefficient(row) * difference_scale(s), bitcast<f32>(params.general.nan), s.bad);
}
