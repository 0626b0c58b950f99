// A weight of the positive side of focal loss for each label, which comes the way of a threshold.
// provides: alphas
// expects:  Labels, Alphas

fn alphas(e: Labels) -> Alphas {
    return Alphas(e.threshold, 1.0 - e.threshold);
}
