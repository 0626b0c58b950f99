// What stands between the stages of WDL: rows of e, their lanes, and what the rows' results are multiplied by.
// provides: e_at, counts_at, Unit, unit_of, Acc, lane_merge, dl_scale
// expects:  WG, params, spread, scratch, Lane, Group, lane_index, Sides, mask4, sides4

// e of a label.
fn e_at(row: u32, col: u32) -> f32 {
    return bitcast<f32>(scratch[params.own.e_at + row * params.window.cols + col]);
}

// Whether neither mask takes a label out.
fn counts_at(row: u32, col: u32) -> bool {
    let q = col / 4u;
    let counts = sides4(sides_base(0u), q).counts & mask4(mask_base(row, 0u), q);
    return counts[col & 3u];
}

// What a lane works on.
struct Unit {
    row: u32,
    own: u32,         // which of its lanes
    live: bool,       // there is such a row
}

fn unit_of(lane: u32, group: Group) -> Unit {
    let groups = group.id.x + group.id.y * params.grid.groups_x;
    let row = groups * (WG >> params.grid.shift) + (lane >> params.grid.shift);
    return Unit(min(row, params.window.rows - 1u), lane & (params.grid.width - 1u), row < params.window.rows);
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
