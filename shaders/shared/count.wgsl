// How much of a row counts, in place of a loss: for means over what counts in the batch.
// provides: Acc, acc_start, acc_merge, acc_add, acc_store, acc_load, Coef, coef_store, coef_load, label_grads,
//           RowResult, row_result
// expects:  Labels, Grads, scratch, label_counts(Labels) -> vec4<bool>, row_count(labels that do) -> u32

struct Acc {
    count: u32,
}

fn acc_start() -> Acc {
    return Acc(0u);
}

fn acc_merge(a: Acc, b: Acc) -> Acc {
    return Acc(a.count + b.count);
}

fn acc_add(acc: ptr<function, Acc>, e: Labels) {
    let ones = vec4<u32>(label_counts(e));
    (*acc).count += ones.x + ones.y + ones.z + ones.w;
}

fn acc_store(at: u32, a: Acc) {
    scratch[at] = a.count;
}

fn acc_load(at: u32) -> Acc {
    return Acc(scratch[at]);
}

// There is no gradient.
struct Coef {
    bad: bool,
}

fn coef_store(at: u32, c: Coef) {
    scratch[at] = u32(c.bad);
}

fn coef_load(at: u32) -> Coef {
    return Coef(scratch[at] != 0u);
}

fn label_grads(e: Labels, c: Coef) -> Grads {
    return Grads(vec4<f32>(0.0), vec4<f32>(0.0));
}

struct RowResult {
    loss: f32,         // the number
    threshold: f32,
    coef: Coef,
}

fn row_result(row: u32, a: Acc) -> RowResult {
    return RowResult(f32(row_count(a.count)), 0.0, Coef(false));
}
