// Tables that begin where a row's vectors do, one for each phase.
// provides: sides_base, table4
// expects:  sides, params

// A phase beyond the four is one vector further.
fn sides_base(phase: u32) -> u32 {
    return (phase & 3u) * params.sides.labels_stride - phase / 4u;
}

fn table4(table: u32, base: u32, q: u32) -> vec4<u32> {
    return sides[table + base + q];
}
