// Sums over the keys of anchors: of the denominators, and of what is weighed.
// provides: begun, lifted, absorb_four, fold
// expects:  params, FAR, the numbers of sums, records, Acc, Candidate, candidate, Four, Rows, Others, base

fn begun(row4: u32) -> Acc {
    var acc = Acc();
    acc.largest = vec4<f32>(FAR);
    return acc;
}

// The same sums relative to a greater maximum.
fn lifted(acc: Acc, largest: vec4<f32>) -> Acc {
    // Huge where there was nothing; what it is multiplied with is 0 then.
    let grown = largest - acc.largest;
    let keep = exp(max(-grown, vec4<f32>(-110.0)));
    let moved = base(largest) - base(acc.largest);
    var next = acc;
    next.largest = largest;
    next.sum = acc.sum * keep;
    next.loss = acc.loss + acc.weight * moved;
    next.lead = acc.lead + acc.weight * moved;
    next.tilt = (acc.tilt + acc.sum * moved) * keep;
    return next;
}

// Adds one that is not above the maximum.
fn absorb(acc: Acc, one: Candidate) -> Acc {
    let none = vec4<f32>(0.0);
    let below = base(acc.largest) - one.s;
    let e = select(none, exp(clamp(one.logit - acc.largest, vec4<f32>(-110.0), none)), one.counts);
    var next = acc;
    next.sum += e;
    next.weight += one.weight;
    next.loss += one.weight * (below - one.shift);
    next.lead += one.weight * below;
    next.tilt += e * below;
    next.count += select(none, vec4<f32>(1.0), one.weight > none);
    next.unsound += one.unsound;
    return next;
}

// Four more keys of each of four anchors, for which the maximum is raised once.
fn absorb_four(acc: Acc, product: Four, meet: Four, rows: Rows, others: Others) -> Acc {
    let a = candidate(product.a, meet.a, rows, others.sizes.x, others.numbers.x, others.inside.x);
    let b = candidate(product.b, meet.b, rows, others.sizes.y, others.numbers.y, others.inside.y);
    let c = candidate(product.c, meet.c, rows, others.sizes.z, others.numbers.z, others.inside.z);
    let d = candidate(product.d, meet.d, rows, others.sizes.w, others.numbers.w, others.inside.w);
    let far = vec4<f32>(FAR);
    let first = max(select(far, a.logit, a.counts), select(far, b.logit, b.counts));
    let second = max(select(far, c.logit, c.counts), select(far, d.logit, d.counts));
    var next = lifted(acc, max(acc.largest, max(first, second)));
    // Relative to a common maximum, four make one number for each sum.
    var four = Acc();
    four.largest = next.largest;
    four = absorb(absorb(absorb(absorb(four, a), b), c), d);
    next.sum += four.sum;
    next.weight += four.weight;
    next.loss += four.loss;
    next.lead += four.lead;
    next.tilt += four.tilt;
    next.count += four.count;
    next.unsound += four.unsound;
    return next;
}

// Puts the sums over a tile's keys to those over the tiles before.
fn fold(row4: u32, acc: Acc) {
    let at = params.own.first / 4u + row4;
    let stride = params.record.stride;
    var all = acc;
    if (params.grid.add != 0u) {
        let before = Acc(
            records[at + SUM_LARGEST * stride],
            records[at + SUM_EXPONENTIALS * stride],
            records[at + SUM_WEIGHTS * stride],
            records[at + SUM_LOSS * stride],
            records[at + SUM_LEAD * stride],
            records[at + SUM_TILT * stride],
            records[at + SUM_COUNT * stride],
            records[at + SUM_UNSOUND * stride],
        );
        let top = max(before.largest, acc.largest);
        let first = lifted(before, top);
        let second = lifted(acc, top);
        all = Acc(
            top,
            first.sum + second.sum,
            first.weight + second.weight,
            first.loss + second.loss,
            first.lead + second.lead,
            first.tilt + second.tilt,
            first.count + second.count,
            first.unsound + second.unsound,
        );
    }
    records[at + SUM_LARGEST * stride] = all.largest;
    records[at + SUM_EXPONENTIALS * stride] = all.sum;
    records[at + SUM_WEIGHTS * stride] = all.weight;
    records[at + SUM_LOSS * stride] = all.loss;
    records[at + SUM_LEAD * stride] = all.lead;
    records[at + SUM_TILT * stride] = all.tilt;
    records[at + SUM_COUNT * stride] = all.count;
    records[at + SUM_UNSOUND * stride] = all.unsound;
}
