// A probe of integer atomics, after what gradients of 16 bits, bits of labels and metrics do with them.
//
// `clear`    the two words that lanes of all workgroups meet at.
// `atomics`  first of these a sum, then a maximum; behind them what each lane found in the sum, then words of which two
//            lanes of different workgroups have a half each.
//
// Grid: GROUPS workgroups. Mirrors: src/device/verify.rs.
// provides: clear, atomics
// expects:  WG, LANES, params, grad, out_start, out_low, out_high of grad_words_any.wgsl

@compute @workgroup_size(WG)
fn clear(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    if (group.x == 0u && lane < 2u) {
        atomicStore(&grad[out_start(0u) + lane], 0u);
    }
}

@compute @workgroup_size(WG)
fn atomics(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let w = group.x * WG + lane;
    let at = out_start(0u);
    let own = (w * 40503u + 1u) & 0xffffu;
    let shared_word = at + 2u + LANES + min(w, LANES - 1u - w);
    if (w < LANES / 2u) {
        out_low(shared_word, own);
    } else {
        out_high(shared_word, own << 16u);
    }
    let before = atomicAdd(&grad[at], w + 1u);
    atomicMax(&grad[at + 1u], own);
    atomicStore(&grad[at + 2u + w], before);
}
