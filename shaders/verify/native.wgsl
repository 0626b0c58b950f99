// A probe of WGSL's f16: numbers stored, and numbers loaded and stored again. Neighbouring lanes store halves of one word.
//
// Grid: GROUPS workgroups. Mirrors: src/device/verify.rs.
// provides: native
// expects:  WG, LANES, params, given, logits_base, load of logits_f16_any.wgsl, out_start, put_one of grad_f16_any.wgsl

fn put_four(at: u32, bits: vec4<u32>) {
    put_one(at, bits.x);
    put_one(at + LANES, bits.y);
    put_one(at + 2u * LANES, bits.z);
    put_one(at + 3u * LANES, bits.w);
}

@compute @workgroup_size(WG)
fn native(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let w = group.x * WG + lane;
    let at = out_start(0u) + w;
    put_four(at, given(w));
    put_four(at + 4u * LANES, load(logits_base(0u, 0u), w));
}
