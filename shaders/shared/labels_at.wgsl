// Rows and their labels as they lie in the tensors.
// provides: row_at, labels_at, labels_plain
// expects:  params, math, Row, Labels, logits, targets, mask, weights, sides, grad, second, inside4, left_out4, unfit4

fn row_at(row: u32, live: bool, phase: u32) -> Row {
    let threshold = row_threshold(row);
    return Row(
        row,
        select(0u, params.window.cols, live),
        phase,
        logits_base(row, phase),
        target_base(row, phase),
        mask_base(row, phase),
        sides_base(phase),
        grad_base(row, phase),
        second_base(row, phase),
        finite(threshold),
        is_nan(threshold),
        row_weight(row) != 0.0,
    );
}

// Vector `q` of a row: the labels from 4 q - phase on.
fn labels_at(row: Row, q: u32, bits: vec4<u32>) -> Labels {
    let plain = plain_at(row, q, bits);
    let nan = is_nan4(bits) | plain.bad;
    var e = plain;
    e.logit = finite4(bits);
    e.bad = e.counts & (nan | unfit4(e.logit, e.label));
    return e;
}

// The same with logits as they are; `bad` says where something beside them is a NaN, counted or not.
fn plain_at(row: Row, q: u32, bits: vec4<u32>) -> Labels {
    let col = 4u * q - row.phase;
    let inside = inside4(col, row.cols);
    let aim = target4(row.targets, row.phase, q);
    let side = sides4(row.sides, q);
    let own = element_weight4(row.mask, q);
    return Labels(
        row.row,
        col,
        bitcast<vec4<f32>>(bits),
        aim.label,
        side.weight * finite4(own),
        side.threshold + row.threshold,
        inside,
        inside & mask4(row.mask, q) & side.counts & vec4<bool>(row.counts) & !left_out4(bits),
        aim.bad | side.bad | is_nan4(own) | vec4<bool>(row.bad),
    );
}

// The same for sums that a NaN is to be seen in, wherever it is.
fn labels_plain(row: Row, q: u32, bits: vec4<u32>) -> Labels {
    var e = plain_at(row, q, bits);
    e.logit = bitcast<vec4<f32>>(select(bitcast<vec4<u32>>(e.logit), vec4<u32>(0x7fc00000u), e.bad));
    return e;
}
