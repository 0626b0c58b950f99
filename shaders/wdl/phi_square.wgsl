// phi(d) = d^2.
// provides: Penalty, penalty
// expects:  nothing

struct Penalty {
    value: vec4<f32>,
    slope: vec4<f32>,
}

fn penalty(d: vec4<f32>) -> Penalty {
    return Penalty(d * d, 2.0 * d);
}
