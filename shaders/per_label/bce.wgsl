// Binary cross-entropy with logits, label by label: w softplus(-s) of a positive, softplus(s) of a negative.
// params.first = w (pos_weight).
// provides: label_sides
// expects:  math, element, label

fn label_sides(e: Element) -> LabelSides {
    let w = params.first;
    return LabelSides(w * softplus(-e.logit), -w * sigmoid(-e.logit), softplus(e.logit), sigmoid(e.logit));
}
