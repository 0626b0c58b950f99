// What a gradient in f16 is added to, wherever it begins. What lies beside the row is not stored again.
// provides: prior4
// expects:  `enable f16;` in the prelude, Labels, grad, out_start

fn prior4(e: Labels) -> vec4<u32> {
    let i = out_start(e.row) + e.col;
    return bitcast<vec4<u32>>(vec4<f32>(f32(grad[i]), f32(grad[i + 1u]), f32(grad[i + 2u]), f32(grad[i + 3u])));
}
