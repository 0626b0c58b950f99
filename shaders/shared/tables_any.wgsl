// Tables for any phase, where those of all phases would be larger than one binding.
// provides: sides_base, table4
// expects:  side_word

// Before the table's first it wraps, and comes back with the vector added.
fn sides_base(phase: u32) -> u32 {
    return 0u - phase;
}

fn table4(table: u32, base: u32, q: u32) -> vec4<u32> {
    let i = 4u * (table + q) + base;
    return vec4<u32>(side_word(i), side_word(i + 1u), side_word(i + 2u), side_word(i + 3u));
}
