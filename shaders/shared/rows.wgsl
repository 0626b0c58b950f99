// The driver of every row loss: two sweeps over a row, first the statistics, then the gradient.
//
// `rows`     a workgroup takes WG/width rows at a time, `blocks` times, `width` lanes a row. Loss and gradient in one
//            dispatch; the logits that fit `cached` are read once.
// `partial`, `combine`, `gradient`   few long rows: `chunks` workgroups share a row, a second dispatch merges what they
//            found in a fixed order, a third writes the gradient.
// `columns`  sums of the gradient over the rows, one per label (for a threshold per label).
//
// Grid: `rows` groups; `partial` and `gradient` rows * chunks groups, `combine` rows groups, all folded over x and y;
//       `columns` as shared/columns.wgsl.
// Invariants: all lanes of a workgroup reach every barrier (what decides is in `params` or the workgroup's number); no
//       workgroup reads what another of the same dispatch writes; nothing outside the rows is written.
// Mirrors: src/kernels/rows/plan.rs (sizes, grid), src/reference/rows.rs (what is computed).
//
// provides: run_rows, run_partial, run_combine, run_gradient, column_term
// expects:  WG, CACHE, params, logits, grad, second, targets, sides, scratch, element, lanes, reduce, and from the loss:
//           row_begin (called before anything else is asked of a row), Acc, acc_start, acc_add, acc_store,
//           acc_load, Coef, coef_store, coef_load, RowResult, row_result, element_grad

// The logits a lane has seen in the first sweep; each lane reads only what it wrote.
var<workgroup> wg_cache: array<u32, CACHE>;

// The item's label in the row; wraps to a large number before the row's first.
fn column(row: u32, own: u32, item: u32, part: u32) -> u32 {
    return (item * params.grid.width + own) * PACK + part - row_phase(row);
}

fn logit_at(row: u32, col: u32) -> u32 {
    return logit_bits(params.views.logits_offset + row * params.views.logits_stride + col);
}

// First sweep, over the items from `start` to `to`.
fn sweep_statistics(lane: u32, row: u32, live: bool, start: u32, to: u32) -> Acc {
    let own = lane & (params.grid.width - 1u);
    var acc = acc_start();
    for (var tile = start; tile < to; tile += params.grid.tile) {
        targets_stage(row, live, lane, tile);
        let end = min(tile + params.grid.tile, to);
        for (var item = tile; item < end; item++) {
            for (var part = 0u; part < PACK; part++) {
                let col = column(row, own, item, part);
                if (live && col < params.window.cols) {
                    let logit = logit_at(row, col);
                    let kept = item * PACK + part;
                    if (kept < params.grid.cached) {
                        wg_cache[kept * WG + lane] = logit;
                    }
                    acc_add(&acc, element(row, col, logit, target_bits(row, lane, col)));
                }
            }
        }
    }
    return acc;
}

// Second sweep, over the same items.
fn sweep_gradient(lane: u32, row: u32, live: bool, start: u32, to: u32, coef: Coef) {
    let own = lane & (params.grid.width - 1u);
    let first_word = (params.views.grad_offset + row * params.views.grad_stride) / PACK;
    for (var tile = start; tile < to; tile += params.grid.tile) {
        // A single tile is still staged from the first sweep of the same dispatch.
        if (params.grid.cached == 0u || params.grid.tile < to - start) {
            targets_stage(row, live, lane, tile);
        }
        let end = min(tile + params.grid.tile, to);
        for (var item = tile; item < end; item++) {
            var value = vec2<f32>(0.0);
            var inside = vec2<bool>(false);
            var nan = vec2<bool>(false);
            for (var part = 0u; part < PACK; part++) {
                let col = column(row, own, item, part);
                if (live && col < params.window.cols) {
                    let kept = item * PACK + part;
                    var logit = 0u;
                    if (kept < params.grid.cached) {
                        logit = wg_cache[kept * WG + lane];
                    } else {
                        logit = logit_at(row, col);
                    }
                    let e = element(row, col, logit, target_bits(row, lane, col));
                    let both = select(vec2<f32>(0.0), element_grad(e, coef), e.counts);
                    let bad = coef.bad && e.counts;
                    // Not `value[part] = ..`: FXC unrolls every loop around a store to a vector's component by index,
                    // and fails.
                    let here = vec2<bool>(part == 0u, part == 1u);
                    inside = inside | here;
                    nan = nan | (here & vec2<bool>(bad));
                    value = select(value, vec2<f32>(both.x), here);
                    second_store(row, col, both.y, bad);
                }
            }
            grad_store(first_word + item * params.grid.width + own, value, inside, nan);
        }
    }
}

// What is kept of a row: its loss, its threshold's gradient, its coefficients.
fn store_row(row: u32, r: RowResult) {
    let at = params.window.first_row + row;
    if (params.places.loss_at != ABSENT) {
        scratch[params.places.loss_at + at] = bitcast<u32>(r.loss);
    }
    if (params.places.threshold_at != ABSENT) {
        scratch[params.places.threshold_at + at] = bitcast<u32>(r.threshold);
    }
    if (params.places.coef_at != ABSENT) {
        coef_store(params.places.coef_at + at * COEF_WORDS, r.coef);
    }
}

fn run_rows(at: Lane, group: Group) {
    let lane = lane_index(at, group);
    let per_group = (WG >> params.grid.shift);
    var total = vec2<f32>(0.0);
    for (var block = 0u; block < params.grid.blocks; block++) {
        let row = (group.id.x * params.grid.blocks + block) * per_group + (lane >> params.grid.shift);
        let live = row < params.window.rows;
        if (live) {
            row_begin(row);
        }
        let acc = row_reduce(at, group, params.grid.width, sweep_statistics(lane, row, live, 0u, params.grid.items));
        var result: RowResult;
        if (live) {
            result = row_result(row, acc);
            if ((lane & (params.grid.width - 1u)) == 0u) {
                store_row(row, result);
                total += vec2<f32>(result.loss, result.threshold);
            }
        }
        if (params.places.want_grad != 0u) {
            sweep_gradient(lane, row, live, 0u, params.grid.items, result.coef);
        }
    }
    if (params.places.partial_at != ABSENT) {
        let sum = group_sum(at, group, total);
        if (lane == 0u) {
            let place = params.places.partial_at + 2u * (params.window.first_group + group.id.x);
            scratch[place] = bitcast<u32>(sum.x);
            scratch[place + 1u] = bitcast<u32>(sum.y);
        }
    }
}

fn run_partial(at: Lane, group: Group) {
    let number = group.id.x + group.id.y * params.grid.groups_x;
    if (number >= params.grid.groups) {
        return;
    }
    let lane = lane_index(at, group);
    let row = number / params.grid.chunks;
    let start = (number % params.grid.chunks) * params.grid.items;
    row_begin(row);
    let acc = row_reduce(at, group, WG, sweep_statistics(lane, row, true, start, start + params.grid.items));
    if (lane == 0u) {
        acc_store(params.places.chunk_at + number * ACC_WORDS, acc);
    }
}

fn run_combine(at: Lane, group: Group) {
    let row = group.id.x + group.id.y * params.grid.groups_x;
    if (row >= params.window.rows) {
        return;
    }
    let lane = lane_index(at, group);
    var acc = acc_start();
    for (var chunk = lane; chunk < params.grid.chunks; chunk += WG) {
        acc = acc_merge(acc, acc_load(params.places.chunk_at + (row * params.grid.chunks + chunk) * ACC_WORDS));
    }
    acc = row_reduce(at, group, WG, acc);
    if (lane == 0u) {
        row_begin(row);
        store_row(row, row_result(row, acc));
    }
}

fn run_gradient(at: Lane, group: Group) {
    let number = group.id.x + group.id.y * params.grid.groups_x;
    if (number >= params.grid.groups) {
        return;
    }
    let row = number / params.grid.chunks;
    let start = (number % params.grid.chunks) * params.grid.items;
    let coef = coef_load(params.places.coef_at + (params.window.first_row + row) * COEF_WORDS);
    row_begin(row);
    let lane = lane_index(at, group);
    // Nothing is cached here, but FXC refuses a read of what the entry point never writes.
    wg_cache[lane] = 0u;
    sweep_gradient(lane, row, true, start, start + params.grid.items, coef);
}

// The gradient to a threshold: what is subtracted from every logit.
fn column_term(row: u32, col: u32) -> f32 {
    let coef = coef_load(params.places.coef_at + (params.window.first_row + row) * COEF_WORDS);
    let e = element(row, col, logit_at(row, col), target_scan(row, col));
    return select(0.0, -select(element_grad(e, coef).x, bitcast<f32>(params.general.nan), coef.bad), e.counts);
}
