// Asymmetric loss, label by label: sigma(-s)^gamma_pos softplus(-s) of a positive, -pm^gamma_neg log(1 - pm) of a negative,
// pm = max(sigma(s) - margin, 0).
// provides: Settings, label_sides
// expects:  math, Labels, label

struct Settings {
    gamma_pos: f32,
    gamma_neg: f32,
    slope_pos: f32,        // the exponents, or 0 where the powers are constants to the gradient
    slope_neg: f32,
    margin: f32,
}

fn label_sides(e: Labels) -> LabelSides {
    let pos = focal_side(params.own.gamma_pos, params.own.slope_pos, e.logit);
    let p = sigmoid4(e.logit);
    let q = sigmoid4(-e.logit);
    let margin = params.own.margin;
    let costs = p > vec4<f32>(margin);
    // pm, -log(1 - pm) and q / (1 - pm), with 1 - pm = q + margin, which is 0 at no finite logit but may round to it. Where
    // there is no cost, any pm will do.
    let pm = select(vec4<f32>(1.0), p - margin, costs);
    let rest = q + margin;
    let plain = vec4<bool>(margin == 0.0);
    let cost = select(log1p4(pm / rest), softplus4(e.logit), plain);
    let share = select(q / rest, vec4<f32>(1.0), plain);
    let power = exp(max(params.own.gamma_neg * log(pm), vec4<f32>(-110.0)));
    let none = vec4<f32>(0.0);
    return LabelSides(
        pos.loss,
        pos.slope,
        select(none, power * cost, costs),
        select(none, power * p * (share + params.own.slope_neg * q * cost / pm), costs),
    );
}
