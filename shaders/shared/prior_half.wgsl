// What a gradient of 16 bits is added to, a vector for eight labels.
// provides: prior4
// expects:  Labels, grad, out_start, widen

fn prior4(e: Labels) -> vec4<u32> {
    let place = out_start(e.row) + e.col;
    let eight = grad[place / 8u];
    return widen(select(eight.xy, eight.zw, (place & 4u) != 0u));
}
