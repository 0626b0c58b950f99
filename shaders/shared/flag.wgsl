// Flags of a byte each, four in a word.
// provides: flag
// expects:  nothing

// Whether flag `i` is set, of the word `i / 4` that has it.
fn flag(word: u32, i: u32) -> bool {
    return ((word >> ((i & 3u) * 8u)) & 0xffu) != 0u;
}
