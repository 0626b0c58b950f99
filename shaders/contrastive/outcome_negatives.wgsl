// What comes of an anchor's sums, where its positives are not in the denominator: distances in them are from 0.
// provides: has_denominator, outcome_of
// expects:  the numbers of sums, records, record_at, Outcome

// Where every key is a positive there is none.
fn has_denominator(anchor: u32) -> bool {
    return records[record_at(SUM_EXPONENTIALS, anchor)] > 0.0;
}

// By what the weights are multiplied with, and their sum then.
fn outcome_of(anchor: u32, inverse: f32, positives: f32) -> Outcome {
    let exponentials = max(records[record_at(SUM_EXPONENTIALS, anchor)], 1e-30);
    let largest = records[record_at(SUM_LARGEST, anchor)];
    let tilt = records[record_at(SUM_TILT, anchor)] / exponentials;
    return Outcome(
        largest,
        positives / exponentials,
        positives * (largest + log(exponentials)) + records[record_at(SUM_LOSS, anchor)] * inverse,
        records[record_at(SUM_LEAD, anchor)] * inverse - positives * tilt,
    );
}
