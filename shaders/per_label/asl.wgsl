// Asymmetric loss, label by label: sigma(-s)^gamma_pos softplus(-s) of a positive, -pm^gamma_neg log(1 - pm) of a negative,
// pm = max(sigma(s) - margin, 0).
// provides: Settings, label_sides
// expects:  math, element, label

struct Settings {
    gamma_pos: f32,
    gamma_neg: f32,
    margin: f32,
}

fn label_sides(e: Element) -> LabelSides {
    let pos = focal_side(params.own.gamma_pos, e.logit);
    let p = sigmoid(e.logit);
    let q = sigmoid(-e.logit);
    let margin = params.own.margin;
    if (p <= margin) {
        return LabelSides(pos.x, pos.y, 0.0, 0.0);
    }
    // pm, -log(1 - pm) and q / (1 - pm), with 1 - pm = q + margin, which is 0 at no finite logit but may round to it.
    let pm = p - margin;
    let rest = q + margin;
    let cost = select(log1p(pm / rest), softplus(e.logit), margin == 0.0);
    let share = select(q / rest, 1.0, margin == 0.0);
    let power = exp(max(params.own.gamma_neg * log(pm), -110.0));
    return LabelSides(pos.x, pos.y, power * cost, power * p * (share + params.own.gamma_neg * q * cost / pm));
}
