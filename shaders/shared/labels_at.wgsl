// Rows and their labels as they lie in the tensors.
// provides: row_at, labels_at
// expects:  params, math, Row, Labels, logits, targets, mask, sides, grad, second

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
    );
}

// Vector `q` of a row: the labels from 4 q - phase on.
fn labels_at(row: Row, q: u32, bits: vec4<u32>) -> Labels {
    let col = 4u * q - row.phase;
    let inside = vec4<u32>(col) + IOTA < vec4<u32>(row.cols);
    let aim = target4(row.targets, row.phase, q);
    let side = sides4(row.sides, q);
    let counts = inside & mask4(row.mask, q) & side.counts;
    let nan = is_nan4(bits) | aim.bad | side.bad | vec4<bool>(row.bad);
    return Labels(
        row.row,
        col,
        finite4(bits),
        aim.label,
        side.weight,
        side.threshold + row.threshold,
        inside,
        counts,
        counts & nan,
    );
}
