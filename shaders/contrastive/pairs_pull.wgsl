// The second sums over the keys of anchors, where each positive has a denominator of its own: that of the negatives, known
// by now, and the positive itself. The same struct has them: as `largest` the logarithm of the negatives' denominator and
// as `tilt` minus the mean similarity in it, which stay, and sums of each positive's loss, of its slope times the distance
// from that mean, and, as `weight`, of the negatives' share in its denominator.
// provides: in_denominator, begun, lifted, absorb_four, fold
// expects:  params, FAR, the numbers of sums, records, Acc, Candidate, candidate, Four, Rows, Others, softplus4, sigmoid4

fn in_denominator(weight: vec4<f32>) -> vec4<bool> {
    return vec4<bool>(true);
}

fn begun(row4: u32) -> Acc {
    let at = params.own.first / 4u + row4;
    let stride = params.record.stride;
    let exponentials = records[at + SUM_EXPONENTIALS * stride];
    let none = exponentials <= vec4<f32>(0.0);
    let held = max(exponentials, vec4<f32>(1e-30));
    var acc = Acc();
    acc.largest = select(records[at + SUM_LARGEST * stride] + log(held), vec4<f32>(FAR), none);
    acc.tilt = select(records[at + SUM_TILT * stride] / held, vec4<f32>(0.0), none);
    return acc;
}

// All lanes have the same there.
fn lifted(acc: Acc, largest: vec4<f32>) -> Acc {
    return acc;
}

fn absorb(acc: Acc, one: Candidate) -> Acc {
    let above = acc.largest - one.logit;
    let pull = one.weight * sigmoid4(above);
    var next = acc;
    next.weight += pull;
    next.loss += one.weight * (softplus4(above) + (one.logit - one.s) - one.shift);
    next.lead -= pull * (acc.tilt + one.s);
    return next;
}

// Four more keys of each of four anchors: they make one number for each sum.
fn absorb_four(acc: Acc, product: Four, meet: Four, rows: Rows, others: Others) -> Acc {
    let a = candidate(product.a, meet.a, rows, others.sizes.x, others.numbers.x, others.inside.x);
    let b = candidate(product.b, meet.b, rows, others.sizes.y, others.numbers.y, others.inside.y);
    let c = candidate(product.c, meet.c, rows, others.sizes.z, others.numbers.z, others.inside.z);
    let d = candidate(product.d, meet.d, rows, others.sizes.w, others.numbers.w, others.inside.w);
    var four = Acc();
    four.largest = acc.largest;
    four.tilt = acc.tilt;
    four = absorb(absorb(absorb(absorb(four, a), b), c), d);
    var next = acc;
    next.weight += four.weight;
    next.loss += four.loss;
    next.lead += four.lead;
    return next;
}

// Puts the sums over a tile's keys to those over the tiles before.
fn fold(row4: u32, acc: Acc) {
    let at = params.own.first / 4u + row4;
    let stride = params.record.stride;
    var all = acc;
    if (params.grid.add != 0u) {
        all.loss += records[at + SUM_LOSS * stride];
        all.lead += records[at + SUM_LEAD * stride];
        all.weight += records[at + SUM_PULL * stride];
    }
    records[at + SUM_LOSS * stride] = all.loss;
    records[at + SUM_LEAD * stride] = all.lead;
    records[at + SUM_PULL * stride] = all.weight;
}
