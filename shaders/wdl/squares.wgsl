// All pairs' squares, from e, for weights: sums over each row, from which the last stage makes the slopes.
// Grid: `find` rows units of `width` lanes, WG / width a group, folded over x and y; `columns` as wdl/weight_sums.wgsl.
// Mirrors: src/kernels/rows/wdl.rs (sizes, grid), src/reference/wdl.rs (what is computed).
// provides: run_find, column_terms
// expects:  lines, plane_vectors, spread, found, weight_four, square_terms, square_about, square_found, row_merge

fn sweep_sums(line: Line, k: u32, own: u32, mu: f32) -> Acc {
    let end = line_end(line);
    var all = vec4<f32>(0.0);
    for (var start = 0u; start < end; start += params.grid.block) {
        let to = min(start + params.grid.block, end);
        var sums = vec4<f32>(0.0);
        for (var q = start + own; q < to; q += params.grid.width) {
            let four = four_at(line, q);
            let a = select(vec4<f32>(0.0), weight_four(k, four.col), four.counts);
            sums += square_terms(a, four.e, mu);
        }
        all += sums;
    }
    return Acc(all);
}

fn run_find(at: Lane, group: Group) {
    let unit = unit_of(lane_index(at, group), group, params.window.rows);
    let line = line_of(unit.number);
    let s = spread_load(params.own.spread_at + unit.number * SPREAD_WORDS);
    let scale = dl_scale(unit.number, s);
    for (var k = 0u; k < params.own.sets; k++) {
        var mu = 0.0;
        var sums = row_merge(at, group, sweep_sums(line, k, unit.own, mu)).sums;
        if (ABOUT_MEAN) {
            mu = square_about(sums);
            sums = row_merge(at, group, sweep_sums(line, k, unit.own, mu)).sums;
        }
        if (unit.live && unit.own == 0u) {
            found_store(unit.number, k, square_found(sums, mu, f32(s.count), scale));
        }
    }
}

fn term(row: u32, k: u32, col: u32) -> f32 {
    let f = found_load(row, k);
    let apart = e_at(row, col) - f.about;
    return select(0.0, f.scale * apart * apart + f.rest, counts_at(row, col));
}

fn column_terms(row: u32, q: u32) -> vec4<f32> {
    let col = 4u * q;
    let last = params.window.cols - 1u;
    if (params.own.sets == 1u) {
        let f = found_load(row, 0u);
        // Not beyond the row: what is there may be anything.
        let at = min(vec4<u32>(col) + IOTA, vec4<u32>(last));
        let e = vec4<f32>(e_at(row, at.x), e_at(row, at.y), e_at(row, at.z), e_at(row, at.w));
        let apart = e - f.about;
        let counts = mask4(mask_base(row, 0u), q) & sides4(sides_base(0u), q).counts;
        return select(vec4<f32>(0.0), f.scale * apart * apart + f.rest, counts);
    }
    // A vector may have weights of two sets.
    let at = min(vec4<u32>(col) + IOTA, vec4<u32>(params.grid.columns - 1u));
    let k = at / params.own.weights;
    let i = at - k * params.own.weights;
    return vec4<f32>(term(row, k.x, i.x), term(row, k.y, i.y), term(row, k.z, i.z), term(row, k.w, i.w));
}
