// What a gradient of 16 bits is added to, two to a word, wherever it begins. A vector begins with a word; of a word that
// two rows share, the other row's half is not stored again.
// provides: prior4
// expects:  Labels, grad, out_start, widen

fn prior4(e: Labels) -> vec4<u32> {
    let i = (out_start(e.row) + e.col) / 2u;
    return widen(vec2<u32>(atomicLoad(&grad[i]), atomicLoad(&grad[i + 1u])));
}
