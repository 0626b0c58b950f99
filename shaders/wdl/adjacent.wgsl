// D = sum_k w_k phi(e_pi(k+1) - e_pi(k)): lanes of a row take four positions at a time, gather their labels' e and their
// neighbours', scatter h along pi.
// Grid: `find` rows units of `width` lanes, WG / width a group, folded over x and y; `columns` as wdl/weight_sums.wgsl.
// Invariants: a label that does not count is in no difference; a value of pi that is no label counts for none.
// Mirrors: src/kernels/rows/wdl.rs (sizes, grid), src/reference/wdl.rs (what is computed).
// provides: order (binding 1), run_find, column_terms
// expects:  math, scratch, lines, spread, found, planes, weight_at, penalty, row_merge

@group(0) @binding(1) var<storage, read_write> order: array<u32>;

// The label at a position; one that is none or does not count is `cols`.
fn label_at(row: u32, position: u32) -> u32 {
    let none = params.window.cols;
    // Positions before the first wrap.
    if (position >= none) {
        return none;
    }
    let col = order[params.own.order_offset + row * params.own.order_stride + position];
    if (col >= none) {
        return none;
    }
    return select(none, col, counts_at(row, col));
}

fn e_of(row: u32, label: u32) -> f32 {
    let col = min(label, params.window.cols - 1u);
    return bitcast<f32>(scratch[params.own.e_at + row * params.window.cols + col]);
}

fn h_store(row: u32, label: u32, value: f32) {
    // What does not count has no h that anything would read.
    if (label < params.window.cols) {
        scratch[h_place(row, label)] = bitcast<u32>(value);
    }
}

fn c_store(row: u32, position: u32, value: f32) {
    if (position < params.own.weights) {
        scratch[c_place(row, 0u, position)] = bitcast<u32>(value);
    }
}

// The four positions from `first` on; gives what they add to D.
fn adjacent(unit: Unit, first: u32) -> f32 {
    let row = unit.number;
    let none = params.window.cols;
    let before = label_at(row, first - 1u);
    let l = vec4<u32>(label_at(row, first), label_at(row, first + 1u), label_at(row, first + 2u), label_at(row, first + 3u));
    let behind = label_at(row, first + 4u);
    let e = vec4<f32>(e_of(row, l.x), e_of(row, l.y), e_of(row, l.z), e_of(row, l.w));
    let next = vec4<f32>(e.yzw, e_of(row, behind));
    let there = l < vec4<u32>(none);
    let both = there & vec4<bool>(there.yzw, behind < none);
    let up = penalty(next - e);
    let value = select(vec4<f32>(0.0), up.value, both);
    let w = weight_four(0u, first);
    let pull = select(vec4<f32>(0.0), w * up.slope, both);
    if (params.own.h_at != ABSENT && unit.live) {
        let down = penalty(vec4<f32>(e.x - e_of(row, before))).slope.x;
        let push = select(0.0, weight_at(0u, first - 1u) * down, before < none && there.x);
        let h = vec4<f32>(push, pull.xyz) - pull;
        h_store(row, l.x, h.x);
        h_store(row, l.y, h.y);
        h_store(row, l.z, h.z);
        h_store(row, l.w, h.w);
    }
    if (params.own.c_at != ABSENT && unit.live) {
        c_store(row, first, value.x);
        c_store(row, first + 1u, value.y);
        c_store(row, first + 2u, value.z);
        c_store(row, first + 3u, value.w);
    }
    return sum_of(select(vec4<f32>(0.0), w * value, both));
}

fn run_find(at: Lane, group: Group) {
    let unit = unit_of(lane_index(at, group), group, params.window.rows);
    let end = (params.window.cols + 3u) / 4u;
    var all = 0.0;
    for (var start = 0u; start < end; start += params.grid.block) {
        let to = min(start + params.grid.block, end);
        var sum = 0.0;
        for (var q = start + unit.own; q < to; q += params.grid.width) {
            sum += adjacent(unit, 4u * q);
        }
        all += sum;
    }
    let total = row_merge(at, group, Acc(vec4<f32>(all, 0.0, 0.0, 0.0))).sums.x;
    if (unit.live && unit.own == 0u) {
        let s = spread_load(params.own.spread_at + unit.number * SPREAD_WORDS);
        found_store(unit.number, 0u, Found(total, 0.0, 0.0, dl_scale(unit.number, s), 0.0, 0.0));
    }
}

fn column_terms(row: u32, q: u32) -> vec4<f32> {
    return found_load(row, 0u).scale * c_four(row, 0u, 4u * q);
}
