// All pairs' phi, O(L^2): a lane has four labels and meets all labels of the row, which all lanes read together. Then the
// sums of each row.
// Grid: `sweep` rows x ceil(vectors/WG) groups from number `unit` on, folded over x and y; `find` rows units of `width`
//       lanes, WG / width a group, folded over x and y; `columns` as wdl/weight_sums.wgsl.
// Invariants: a label that does not count is in no difference, and its h and c are 0.
// Mirrors: src/kernels/rows/wdl.rs (sizes, grid), src/reference/wdl.rs (what is computed).
// provides: sweep, run_find, column_terms
// expects:  math, lines, plane_vectors, spread, found, planes, weight_four, penalty, Met, met_start, met_merge, met_add,
//           met_slope, met_term, row_merge

// Vectors of labels whose sums are taken by themselves.
const BLOCK = 64u;

fn put_label(four: Four, row: u32, k: u32, i: u32, h: f32, c: f32) {
    let col = four.col + i;
    if (col < params.window.cols) {
        scratch[c_place(row, k, col)] = bitcast<u32>(c);
        if (params.own.h_at != ABSENT) {
            let at = h_place(row, col);
            scratch[at] = bitcast<u32>(h + select(0.0, bitcast<f32>(scratch[at]), k > 0u));
        }
    }
}

@compute @workgroup_size(WG)
fn sweep(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    let group = id.x + id.y * params.grid.groups_x;
    if (group >= params.grid.groups) {
        return;
    }
    let number = params.own.unit + group;
    let row = number / params.grid.chunks;
    let line = line_of(row);
    let end = line_end(line);
    let q = (number % params.grid.chunks) * WG + lane;
    if (q >= end) {
        return;
    }
    let own = four_at(line, q);
    let none = vec4<f32>(0.0);
    let one = vec4<f32>(1.0);
    for (var k = 0u; k < params.own.sets; k++) {
        var all = met_start();
        for (var start = 0u; start < end; start += BLOCK) {
            let to = min(start + BLOCK, end);
            var met = met_start();
            for (var i = start; i < to; i++) {
                let other = four_at(line, i);
                let z = select(none, one, other.counts);
                let a = z * select(none, weight_four(k, other.col), other.counts);
                met_add(&met, penalty(own.e - other.e.x), a.x, z.x);
                met_add(&met, penalty(own.e - other.e.y), a.y, z.y);
                met_add(&met, penalty(own.e - other.e.z), a.z, z.z);
                met_add(&met, penalty(own.e - other.e.w), a.w, z.w);
            }
            all = met_merge(all, met);
        }
        let h = select(none, met_slope(all, weight_four(k, own.col)), own.counts);
        let c = select(none, met_term(all), own.counts);
        put_label(own, row, k, 0u, h.x, c.x);
        put_label(own, row, k, 1u, h.y, c.y);
        put_label(own, row, k, 2u, h.z, c.z);
        put_label(own, row, k, 3u, h.w, c.w);
    }
}

// D is sum w c / degree, since it is homogeneous in the weights.
fn run_find(at: Lane, group: Group) {
    let unit = unit_of(lane_index(at, group), group, params.window.rows);
    let end = (params.window.cols + 3u) / 4u;
    var all = 0.0;
    for (var k = 0u; k < params.own.sets; k++) {
        for (var start = 0u; start < end; start += params.grid.block) {
            let to = min(start + params.grid.block, end);
            var sum = 0.0;
            for (var q = start + unit.own; q < to; q += params.grid.width) {
                let inside = vec4<u32>(4u * q) + IOTA < vec4<u32>(params.window.cols);
                let terms = weight_four(k, 4u * q) * c_four(unit.number, k, 4u * q);
                sum += sum_of(select(vec4<f32>(0.0), terms, inside));
            }
            all += sum;
        }
    }
    let total = row_merge(at, group, Acc(vec4<f32>(all, 0.0, 0.0, 0.0))).sums.x / params.own.degree;
    if (unit.live && unit.own == 0u) {
        let s = spread_load(params.own.spread_at + unit.number * SPREAD_WORDS);
        found_store(unit.number, 0u, Found(total, 0.0, 0.0, dl_scale(unit.number, s), 0.0, 0.0));
    }
}

fn column_terms(row: u32, q: u32) -> vec4<f32> {
    return found_load(row, 0u).scale * c_four(row, 0u, 4u * q);
}
