// What comes of an anchor's sums, where its pairs are judged by themselves.
// provides: has_denominator, outcome_of, grad_bias (binding 6), keep_lean, lean_of, put_lean
// expects:  params, the numbers of sums and record fields, WANT_ONE, records, record_at, Outcome

@group(0) @binding(6) var<storage, read_write> grad_bias: array<u32>;

fn has_denominator(anchor: u32) -> bool {
    return true;
}

// Positives weigh 1 each, whatever they are divided by elsewhere.
fn outcome_of(anchor: u32, inverse: f32, positives: f32) -> Outcome {
    return Outcome(
        0.0,
        1.0,
        records[record_at(SUM_LOSS, anchor)],
        records[record_at(SUM_LEAD, anchor)],
    );
}

// Keeps the sum of an anchor's slopes, before the record takes its place.
fn keep_lean(anchor: u32) {
    records[record_at(RECORD_LEAN, anchor)] = records[record_at(SUM_EXPONENTIALS, anchor)];
}

fn lean_of(anchor: u32) -> f32 {
    return records[record_at(RECORD_LEAN, anchor)];
}

// The gradient to the bias.
fn put_lean(slope: f32, unsound: bool) {
    if (params.want_bias == WANT_ONE) {
        grad_bias[params.bias_at] = select(bitcast<u32>(slope), params.settings.nan, unsound);
    }
}
