// Binary cross-entropy with logits, label by label: w softplus(-s) of a positive, softplus(s) of a negative.
// provides: Settings, label_sides
// expects:  math, Labels, label

struct Settings {
    pos_weight: f32,       // w
}

fn label_sides(e: Labels) -> LabelSides {
    return bce_sides(vec4<f32>(params.own.pos_weight), e.logit);
}
