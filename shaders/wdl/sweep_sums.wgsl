// Pairs with weights (a_i + a_j) / 2.
// provides: Met, met_start, met_merge, met_add, met_slope, met_term
// expects:  Penalty

// What four labels have met: sums of a phi', phi' and phi over the other labels.
struct Met {
    weighted: vec4<f32>,
    slope: vec4<f32>,
    value: vec4<f32>,
}

fn met_start() -> Met {
    return Met(vec4<f32>(0.0), vec4<f32>(0.0), vec4<f32>(0.0));
}

fn met_merge(a: Met, b: Met) -> Met {
    return Met(a.weighted + b.weighted, a.slope + b.slope, a.value + b.value);
}

// Another label, of weight `a`; `z` is 1 where it counts.
fn met_add(met: ptr<function, Met>, both: Penalty, a: f32, z: f32) {
    (*met).weighted += a * both.slope;
    (*met).slope += z * both.slope;
    (*met).value += z * both.value;
}

fn met_slope(met: Met, a: vec4<f32>) -> vec4<f32> {
    return 0.5 * (a * met.slope + met.weighted);
}

fn met_term(met: Met) -> vec4<f32> {
    return 0.5 * met.value;
}
