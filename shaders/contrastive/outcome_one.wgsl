// What comes of an anchor's sums, where each positive is in a denominator of its own with the negatives: exponentials are
// relative to the logarithm of the negatives' sum.
// provides: has_denominator, outcome_of
// expects:  FAR, the numbers of sums, records, record_at, Outcome

fn has_denominator(anchor: u32) -> bool {
    return true;
}

// By what the weights are multiplied with, and their sum then.
fn outcome_of(anchor: u32, inverse: f32, positives: f32) -> Outcome {
    let exponentials = records[record_at(SUM_EXPONENTIALS, anchor)];
    let negatives = records[record_at(SUM_LARGEST, anchor)] + log(max(exponentials, 1e-30));
    return Outcome(
        select(FAR, negatives, exponentials > 0.0),
        records[record_at(SUM_PULL, anchor)] * inverse,
        records[record_at(SUM_LOSS, anchor)] * inverse,
        records[record_at(SUM_LEAD, anchor)] * inverse,
    );
}
