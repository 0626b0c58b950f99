// One weight of the positive side of focal loss, and one of the negative side.
// provides: Alphas, alphas
// expects:  params, Labels

struct Alphas {
    pos: vec4<f32>,
    neg: vec4<f32>,
}

fn alphas(e: Labels) -> Alphas {
    return Alphas(vec4<f32>(params.own.alpha_pos), vec4<f32>(params.own.alpha_neg));
}
