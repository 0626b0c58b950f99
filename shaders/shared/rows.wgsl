// The driver of every row loss, but for `rows`, which has a file of its own: what it computes of a row or a chunk.
//
// `rows`     loss and gradient of whole rows, `width` lanes a row.
// `partial`, `combine`, `gradient`   few long rows: each is cut into chunks, of which each has its own lanes; a second
//            dispatch (shared/combine.wgsl) merges what they found in a fixed order, a third writes the gradient.
// `columns`  sums of the gradient over the rows, one per label (for a threshold per label).
//
// Grid: `rows` rows, `partial` and `gradient` rows * chunks units of `width` lanes, WG / width a group, folded over x
//       and y; `columns` as shared/columns.wgsl.
// Invariants: all lanes of a workgroup reach every barrier and shuffle; no workgroup reads what another of the same
//       dispatch writes; nothing outside the rows is written.
// Mirrors: src/kernels/rows/driver.rs (sizes, grid), src/reference/rows.rs (what is computed).
//
// provides: run_partial, run_gradient, column_terms, row_end
// expects:  STEP, params, Unit, unit_of, scratch, Row, labels_at, load, lanes, statistics, gradients, and from the loss:
//           row_begin (called before anything else is asked of a row), Acc, acc_store, Coef, coef_load, label_grads

// Behind the last step of a row.
fn row_end(row: Row) -> u32 {
    return (row.phase + row.cols + STEP - 1u) / STEP;
}

fn run_partial(at: Lane, group: Group) {
    let unit = unit_of(lane_index(at, group), group, params.window.rows * params.grid.chunks);
    let number = unit.number / params.grid.chunks;
    row_begin(number);
    let row = row_at(number, unit.live, phase_of(number));
    let start = (unit.number % params.grid.chunks) * params.grid.steps;
    let acc = statistics(at, group, row, unit.own, start, min(start + params.grid.steps, row_end(row)));
    if (unit.live && unit.own == 0u) {
        let place = number * params.grid.apart + unit.number % params.grid.chunks;
        acc_store(params.places.chunk_at + place * ACC_WORDS, acc);
    }
}

fn run_gradient(at: Lane, group: Group) {
    let unit = unit_of(lane_index(at, group), group, params.window.rows * params.grid.chunks);
    let number = unit.number / params.grid.chunks;
    row_begin(number);
    let row = row_at(number, unit.live, phase_of(number));
    let start = (unit.number % params.grid.chunks) * params.grid.steps;
    let coef = coef_load(params.places.coef_at + number * COEF_WORDS);
    gradients(row, unit.own, start, min(start + params.grid.steps, row_end(row)), coef);
}

// The gradient to a threshold per label, which is subtracted from every logit: of vector `q` of a row that begins with
// its first label.
fn column_terms(number: u32, q: u32) -> vec4<f32> {
    row_begin(number);
    let row = row_at(number, true, 0u);
    let coef = coef_load(params.places.coef_at + number * COEF_WORDS);
    let e = labels_at(row, q, load(row.logits, q));
    let to_threshold = select(-label_grads(e, coef).logit, vec4<f32>(bitcast<f32>(params.general.nan)), vec4<bool>(coef.bad));
    return select(vec4<f32>(0.0), to_threshold, e.counts);
}
