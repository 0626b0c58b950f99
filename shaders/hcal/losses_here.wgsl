// All samples of the batch are here: so are the losses.
// provides: count_of, balanced
// expects:  nothing

// Of how many vectors the loss of a level is the mean.
fn count_of(level: u32, here: f32) -> f32 {
    return here;
}

// The bits of the loss of a level that the balance takes.
fn balanced(level: u32, own: u32) -> u32 {
    return own;
}
