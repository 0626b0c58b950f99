// The presence term of WDL: binary cross-entropy of each label.
// provides: label_sides
// expects:  Labels, label

fn label_sides(e: Labels) -> LabelSides {
    return bce_sides(vec4<f32>(1.0), e.logit);
}
