// Middle stage of WDL: from e the sums of weighted differences, as h = dD/de for each label and c = dD/dw for each
// weight, neither scaled. Then the sums of c over the rows.
//
// `adjacent`   D = sum_k w_k phi(e_pi(k+1) - e_pi(k)): a lane has a position, gathers the neighbours, scatters along pi.
// `squares`    all pairs, squares, O(L): for weights a_i a_j  D = A sum a (e-mu)^2, for (a_i + a_j)/2
//              D = 1/2 sum a (n e^2 - 2 e T1 + T2); a workgroup has a row.
// `sweep`      all pairs, any phi, O(L^2): a workgroup has WG labels of a row and meets all labels, tile by tile.
// `columns`    sums of k scale c over the rows, one for each weight.
//
// Grid: `adjacent` and `sweep` rows x ceil(cols/WG) groups, `squares` rows groups, folded over x and y; `columns` as
//       shared/columns.wgsl.
// Invariants: a label that does not count is in no difference, and its h and c are 0; a value of pi that is no label
//       counts for none.
// Mirrors: src/kernels/rows/wdl.rs (sizes, grid), src/reference/wdl.rs (what is computed).
//
// provides: order (binding 1), adjacent, squares, sweep, columns, column_terms
// expects:  WG, params, math, sides, lanes, spread, planes, run_columns

@group(0) @binding(1) var<storage, read_write> order: array<u32>;

// phi(d) and its derivative.
fn penalty(d: f32) -> vec2<f32> {
    let size = abs(d);
    if (params.own.phi == SQUARE) {
        return vec2<f32>(d * d, 2.0 * d);
    }
    if (params.own.phi == ABS) {
        return vec2<f32>(size, sign(d));
    }
    let delta = params.own.huber_delta;
    return select(
        vec2<f32>(delta * (size - 0.5 * delta), delta * sign(d)),
        vec2<f32>(0.5 * d * d, d),
        size <= delta,
    );
}

// Whether neither mask takes the label out.
fn label_counts(row: u32, col: u32) -> bool {
    let q = col / 4u;
    let counts = sides4(sides_base(0u), q).counts & mask4(mask_base(row, 0u), q);
    return counts[col & 3u];
}

fn difference(row: u32, col: u32) -> f32 {
    return bitcast<f32>(scratch[e_place(row, col)]);
}

fn h_store(row: u32, col: u32, value: f32) {
    if (params.own.h_at != ABSENT) {
        scratch[h_place(row, col)] = bitcast<u32>(value);
    }
}

// The label at a position; one that is none or does not count is `cols`.
fn label_at(row: u32, position: u32) -> u32 {
    let col = order[params.own.order_offset + row * params.own.order_stride + position];
    if (col >= params.window.cols) {
        return params.window.cols;
    }
    return select(params.window.cols, col, label_counts(row, col));
}

@compute @workgroup_size(WG)
fn adjacent(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    let number = id.x + id.y * params.grid.groups_x;
    if (number >= params.grid.groups) {
        return;
    }
    let row = number / params.grid.chunks;
    let position = (number % params.grid.chunks) * WG + lane;
    if (position >= params.window.cols) {
        return;
    }
    let here = label_at(row, position);
    var h = 0.0;
    if (position > 0u) {
        let before = label_at(row, position - 1u);
        if (before < params.window.cols && here < params.window.cols) {
            h += weight_at(0u, position - 1u) * penalty(difference(row, here) - difference(row, before)).y;
        }
    }
    if (position + 1u < params.window.cols) {
        let behind = label_at(row, position + 1u);
        var c = 0.0;
        if (behind < params.window.cols && here < params.window.cols) {
            let both = penalty(difference(row, behind) - difference(row, here));
            h -= weight_at(0u, position) * both.y;
            c = both.x;
        }
        scratch[c_place(row, 0u, position)] = bitcast<u32>(c);
    }
    // What does not count has no h that anything would read.
    if (here < params.window.cols) {
        h_store(row, here, h);
    }
}

@compute @workgroup_size(WG)
fn squares(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    let row = id.x + id.y * params.grid.groups_x;
    if (row >= params.grid.groups) {
        return;
    }
    let at = Lane(lane);
    let group = Group(id);
    let additive = params.own.additive != 0u;
    for (var k = 0u; k < params.own.sets; k++) {
        // sum a and sum a e, then sum e and sum e^2, or about the mean sum a (e-mu)^2.
        var first = vec2<f32>(0.0);
        for (var col = lane; col < params.window.cols; col += WG) {
            if (label_counts(row, col)) {
                let a = weight_at(k, col);
                first += vec2<f32>(a, a * difference(row, col));
            }
        }
        first = group_sum(at, group, first);
        let mu = select(0.0, first.y / first.x, first.x > 0.0);
        var second = vec2<f32>(0.0);
        var n = vec2<f32>(0.0);
        for (var col = lane; col < params.window.cols; col += WG) {
            if (label_counts(row, col)) {
                let e = difference(row, col);
                let spread = weight_at(k, col) * (e - mu) * (e - mu);
                second += select(vec2<f32>(spread, 0.0), vec2<f32>(e, e * e), additive);
                n.x += 1.0;
            }
        }
        second = group_sum(at, group, second);
        n = group_sum(at, group, n);
        for (var col = lane; col < params.window.cols; col += WG) {
            var h = 0.0;
            var c = 0.0;
            if (label_counts(row, col)) {
                let e = difference(row, col);
                let a = weight_at(k, col);
                if (additive) {
                    c = 0.5 * (n.x * e * e - 2.0 * e * second.x + second.y);
                    h = a * (n.x * e - second.x) + first.x * e - first.y;
                } else {
                    c = first.x * (e - mu) * (e - mu) + second.x;
                    h = 2.0 * first.x * a * (e - mu);
                }
            }
            scratch[c_place(row, k, col)] = bitcast<u32>(c);
            if (params.own.h_at != ABSENT && k > 0u) {
                h += bitcast<f32>(scratch[h_place(row, col)]);
            }
            h_store(row, col, h);
        }
    }
}

// e, weight, and 1 where it counts, of the labels of a tile.
var<workgroup> wg_tile: array<vec3<f32>, WG>;

fn tile_entry(row: u32, k: u32, col: u32) -> vec3<f32> {
    if (col < params.window.cols) {
        if (label_counts(row, col)) {
            return vec3<f32>(difference(row, col), weight_at(k, col), 1.0);
        }
    }
    return vec3<f32>(0.0);
}

@compute @workgroup_size(WG)
fn sweep(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    let number = id.x + id.y * params.grid.groups_x;
    if (number >= params.grid.groups) {
        return;
    }
    let row = number / params.grid.chunks;
    let col = (number % params.grid.chunks) * WG + lane;
    let additive = params.own.additive != 0u;
    var h = 0.0;
    for (var k = 0u; k < params.own.sets; k++) {
        let own = tile_entry(row, k, col);
        // sum phi and sum phi' over the other labels, with weights and without.
        var weighted = vec2<f32>(0.0);
        var plain = vec2<f32>(0.0);
        for (var tile = 0u; tile < params.window.cols; tile += WG) {
            // Other lanes may still be reading the tile before.
            workgroupBarrier();
            wg_tile[lane] = tile_entry(row, k, tile + lane);
            // The whole tile is there before the first is read.
            workgroupBarrier();
            let end = min(WG, params.window.cols - tile);
            for (var i = 0u; i < end; i++) {
                let other = wg_tile[i];
                let both = penalty(own.x - other.x);
                weighted += other.y * both;
                plain += other.z * both;
            }
        }
        let c = own.z * select(weighted.x, 0.5 * plain.x, additive);
        h += own.z * select(own.y * weighted.y, 0.5 * (own.y * plain.y + weighted.y), additive);
        if (col < params.window.cols) {
            scratch[c_place(row, k, col)] = bitcast<u32>(c);
        }
    }
    if (col < params.window.cols) {
        h_store(row, col, h);
    }
}

fn column_terms(row: u32, q: u32) -> vec4<f32> {
    let s = spread_load(params.own.spread_at + row * SPREAD_WORDS);
    let c = c_four(row, 0u, 4u * q);
    let scale = row_coefficient(row) * difference_scale(s);
    return select(scale * c, vec4<f32>(bitcast<f32>(params.general.nan)), vec4<bool>(s.bad));
}

@compute @workgroup_size(WG)
fn columns(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) id: vec3<u32>,
) {
    run_columns(Lane(lane), Group(id));
}
