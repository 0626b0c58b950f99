// No weights of classes.
// provides: weighed
// expects:  nothing

fn weighed(col: u32, bits: u32) -> u32 {
    return bits;
}
