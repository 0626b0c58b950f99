// One weight of the positive side of focal loss, and one of the negative side.
// provides: alphas
// expects:  params, Labels, Alphas

fn alphas(e: Labels) -> Alphas {
    return Alphas(vec4<f32>(params.own.alpha_pos), vec4<f32>(params.own.alpha_neg));
}
