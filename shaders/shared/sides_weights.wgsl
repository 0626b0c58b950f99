// Weights by label.
// provides: sides4
// expects:  weights4

fn sides4(base: u32, q: u32) -> Sides {
    return weights4(base, q);
}
