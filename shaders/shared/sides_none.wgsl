// For a stage that asks nothing of the side tensors.
// provides: side_word
// expects:  nothing

fn side_word(i: u32) -> u32 {
    return 0u;
}
