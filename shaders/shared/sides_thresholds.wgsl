// Weights and thresholds by label.
// provides: sides4
// expects:  weights4, params, math, table4

fn sides4(base: u32, q: u32) -> Sides {
    var all = weights4(base, q);
    let bits = table4(params.sides.thresholds, base, q);
    all.threshold = finite4(bits);
    all.bad = all.bad | is_nan4(bits);
    return all;
}
