// What comes of an anchor's sums, where all its keys are in the denominator.
// provides: has_denominator, outcome_of
// expects:  the numbers of sums, records, record_at, Outcome

fn has_denominator(anchor: u32) -> bool {
    return true;
}

// By what the weights are multiplied with, and their sum then.
fn outcome_of(anchor: u32, inverse: f32, positives: f32) -> Outcome {
    let exponentials = max(records[record_at(SUM_EXPONENTIALS, anchor)], 1e-30);
    let tilt = records[record_at(SUM_TILT, anchor)] / exponentials;
    return Outcome(
        records[record_at(SUM_LARGEST, anchor)],
        positives / exponentials,
        positives * log(exponentials) + records[record_at(SUM_LOSS, anchor)] * inverse,
        records[record_at(SUM_LEAD, anchor)] * inverse - positives * tilt,
    );
}
