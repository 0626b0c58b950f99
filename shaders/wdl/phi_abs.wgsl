// phi(d) = |d|.
// provides: Penalty, penalty
// expects:  nothing

struct Penalty {
    value: vec4<f32>,
    slope: vec4<f32>,
}

fn penalty(d: vec4<f32>) -> Penalty {
    return Penalty(abs(d), sign(d));
}
