// No mask by element.
// provides: mask_base, mask4
// expects:  nothing

fn mask_base(row: u32, phase: u32) -> u32 {
    return 0u;
}

fn mask4(base: u32, q: u32) -> vec4<bool> {
    return vec4<bool>(true);
}
