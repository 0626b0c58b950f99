// Binary cross-entropy with logits and a weight of the positive side for each label, which comes the way of a threshold.
// provides: label_sides
// expects:  math, Labels, label

fn label_sides(e: Labels) -> LabelSides {
    return bce_sides(e.threshold, e.logit);
}
