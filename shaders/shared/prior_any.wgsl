// What a gradient in f32 is added to, wherever it begins. What lies beside the row is not stored again.
// provides: prior4
// expects:  Labels, grad, out_start

fn prior4(e: Labels) -> vec4<u32> {
    let i = out_start(e.row) + e.col;
    return vec4<u32>(grad[i], grad[i + 1u], grad[i + 2u], grad[i + 3u]);
}
