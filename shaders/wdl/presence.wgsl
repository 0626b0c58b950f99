// The presence term of WDL: binary cross-entropy of each label.
// provides: label_sides
// expects:  element, label

fn label_sides(e: Element) -> LabelSides {
    return bce_sides(1.0, e.logit);
}
