// What is summed over keys.
// Mirrors: src/kernels/contrastive/params.rs, which says what the sums are.
// provides: Acc, records (binding 5), field
// expects:  the numbers of sums

// Over some keys of four anchors: the greatest logit s + bias in the denominator, and relative to it the sum of
// exponentials; the weights; with `base` for what distances are from, the weighted sums of base - s - shift and of
// base - s, and the sum of exponentials times base - s; the number of positives; keys that are not sound.
struct Acc {
    largest: vec4<f32>,
    sum: vec4<f32>,
    weight: vec4<f32>,
    loss: vec4<f32>,
    lead: vec4<f32>,
    tilt: vec4<f32>,
    count: vec4<f32>,
    unsound: vec4<f32>,
}

@group(0) @binding(5) var<storage, read_write> records: array<vec4<f32>>;

// One of the sums, by its number.
fn field(acc: Acc, i: u32) -> vec4<f32> {
    let first = select(select(acc.lead, acc.loss, i == SUM_LOSS), acc.weight, i == SUM_WEIGHTS);
    let second = select(select(acc.unsound, acc.count, i == SUM_COUNT), acc.tilt, i == SUM_TILT);
    let sums = select(select(second, first, i < SUM_TILT), acc.sum, i == SUM_EXPONENTIALS);
    return select(sums, acc.largest, i == SUM_LARGEST);
}
