// Logits in f16 that the gradient replaces, wherever they begin.
// provides: out_start, put_one
// expects:  `enable f16;` in the prelude, params, logits

fn out_start(row: u32) -> u32 {
    return params.views.logits_offset + row * params.views.logits_stride;
}

fn put_one(i: u32, bits: u32) {
    logits[i] = f16(bitcast<f32>(bits));
}
