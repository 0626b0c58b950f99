// Weights by element without a mask: every element counts.
// provides: mask4
// expects:  nothing

fn mask4(base: u32, q: u32) -> vec4<bool> {
    return vec4<bool>(true);
}
