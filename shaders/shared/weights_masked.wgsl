// Weights by element that `weigh` made, UNCOUNTED where the mask takes the element out.
// provides: mask4
// expects:  element_weight4, UNCOUNTED

fn mask4(base: u32, q: u32) -> vec4<bool> {
    return element_weight4(base, q) != vec4<u32>(UNCOUNTED);
}
