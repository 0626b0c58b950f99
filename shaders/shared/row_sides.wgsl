// The small tensors by row: weight, upstream gradient, threshold; and what there is of those by label.
// provides: Sides, row_weight, row_coefficient, row_threshold
// expects:  params, side_word

// Of four neighbouring labels.
struct Sides {
    weight: vec4<f32>,
    threshold: vec4<f32>,
    counts: vec4<bool>,    // the class mask does not take it out
    bad: vec4<bool>,       // one of them is a NaN
}

// Weight of the row's loss.
fn row_weight(row: u32) -> f32 {
    if (params.sides.sample_weight == ABSENT) {
        return 1.0;
    }
    return bitcast<f32>(side_word(params.sides.sample_weight + params.window.first_row + row));
}

// What the gradient of the row's own loss is multiplied by: reduction, weight, upstream gradient.
fn row_coefficient(row: u32) -> f32 {
    var upstream = 1.0;
    if (params.sides.grad_loss != ABSENT) {
        let i = (params.window.first_row + row) * params.sides.grad_loss_row;
        upstream = bitcast<f32>(side_word(params.sides.grad_loss + i));
    }
    return params.general.scale * upstream * row_weight(row);
}

// The bit pattern of the threshold that all labels of a row share.
fn row_threshold(row: u32) -> u32 {
    if (params.sides.threshold == ABSENT) {
        return 0u;
    }
    let i = (params.window.first_row + row) * params.sides.threshold_row;
    return side_word(params.sides.threshold + i);
}
