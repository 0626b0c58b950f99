// phi(d) = d^2 / 2 up to delta, delta (|d| - delta / 2) beyond.
// provides: Penalty, penalty
// expects:  params

struct Penalty {
    value: vec4<f32>,
    slope: vec4<f32>,
}

fn penalty(d: vec4<f32>) -> Penalty {
    let delta = vec4<f32>(params.own.huber_delta);
    let size = abs(d);
    let most = min(size, delta);
    return Penalty(most * (size - 0.5 * most), clamp(d, -delta, delta));
}
