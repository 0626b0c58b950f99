// Probes of what a lane does by itself.
//
// `loops`    counts further than some drivers let a loop run.
// `numbers`  NaN and infinity by their bits, and functions that losses are made of.
// `halves`   f16 of f32, two words a lane, one lane's after the other's.
// `widths`   f32 of f16, and f16 by the function that WGSL has.
//
// Grid: GROUPS workgroups. Mirrors: src/device/verify.rs.
// provides: loops, numbers, halves, widths
// expects:  WG, params, given, words, put, is_nan4, finite4, exp_minus, log1p, softplus, sigmoid of math.wgsl, narrow, widen

@compute @workgroup_size(WG)
fn loops(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    var count = 0u;
    for (var i = 0u; i < params.views.rounds; i++) {
        count += (i & 1u) + 1u;
    }
    put(0u, group.x * WG + lane, count);
}

@compute @workgroup_size(WG)
fn numbers(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let w = group.x * WG + lane;
    let bits = given(w);
    let nan = vec4<u32>(is_nan4(bits));
    put(0u, w, 16u + nan.x + 2u * nan.y + 4u * nan.z + 8u * nan.w);
    let four = bitcast<vec4<u32>>(finite4(bits));
    put(1u, w, four.x);
    put(2u, w, four.y);
    put(3u, w, four.z);
    put(4u, w, four.w);
    let x = f32(w % 256u) / 4.0;
    put(5u, w, bitcast<u32>(exp_minus(0.0, x)));
    put(6u, w, bitcast<u32>(log1p(x)));
    put(7u, w, bitcast<u32>(softplus(-x)));
    put(8u, w, bitcast<u32>(sigmoid(-x)));
    put(9u, w, bitcast<u32>((x + 1.0) / 7.0));
}

@compute @workgroup_size(WG)
fn halves(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let w = group.x * WG + lane;
    let two = narrow(given(w));
    words[params.views.grad_offset + 2u * w] = two.x;
    words[params.views.grad_offset + 2u * w + 1u] = two.y;
}

@compute @workgroup_size(WG)
fn widths(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let w = group.x * WG + lane;
    let bits = given(w);
    let four = widen(narrow(bits));
    put(0u, w, four.x);
    put(1u, w, four.y);
    put(2u, w, four.z);
    put(3u, w, four.w);
    // What is no number of f16 is never given to it.
    let values = clamp(finite4(bits), vec4<f32>(-65504.0), vec4<f32>(65504.0));
    put(4u, w, pack2x16float(values.xy));
    put(5u, w, pack2x16float(values.zw));
}
