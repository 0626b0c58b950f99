// Pairs with weights a_i a_j.
// provides: Met, met_start, met_merge, met_add, met_slope, met_term
// expects:  Penalty

// What four labels have met: sums of a phi' and a phi over the other labels.
struct Met {
    slope: vec4<f32>,
    value: vec4<f32>,
}

fn met_start() -> Met {
    return Met(vec4<f32>(0.0), vec4<f32>(0.0));
}

fn met_merge(a: Met, b: Met) -> Met {
    return Met(a.slope + b.slope, a.value + b.value);
}

// Another label, of weight `a`.
fn met_add(met: ptr<function, Met>, both: Penalty, a: f32, z: f32) {
    (*met).slope += a * both.slope;
    (*met).value += a * both.value;
}

fn met_slope(met: Met, a: vec4<f32>) -> vec4<f32> {
    return a * met.slope;
}

fn met_term(met: Met) -> vec4<f32> {
    return met.value;
}
