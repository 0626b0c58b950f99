// How sums over keys come together, which are relative to a maximum.
// provides: lifted, together, sums_at, put_sums
// expects:  params, the numbers of sums, Acc, records, base

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

// The sums over some keys and over others.
fn together(before: Acc, acc: Acc) -> Acc {
    let top = max(before.largest, acc.largest);
    let first = lifted(before, top);
    let second = lifted(acc, top);
    return Acc(
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

// What is known of four anchors.
fn sums_at(row4: u32) -> Acc {
    let at = params.own.first / 4u + row4;
    let stride = params.record.stride;
    return Acc(
        records[at + SUM_LARGEST * stride],
        records[at + SUM_EXPONENTIALS * stride],
        records[at + SUM_WEIGHTS * stride],
        records[at + SUM_LOSS * stride],
        records[at + SUM_LEAD * stride],
        records[at + SUM_TILT * stride],
        records[at + SUM_COUNT * stride],
        records[at + SUM_UNSOUND * stride],
    );
}

fn put_sums(row4: u32, all: Acc) {
    let at = params.own.first / 4u + row4;
    let stride = params.record.stride;
    records[at + SUM_LARGEST * stride] = all.largest;
    records[at + SUM_EXPONENTIALS * stride] = all.sum;
    records[at + SUM_WEIGHTS * stride] = all.weight;
    records[at + SUM_LOSS * stride] = all.loss;
    records[at + SUM_LEAD * stride] = all.lead;
    records[at + SUM_TILT * stride] = all.tilt;
    records[at + SUM_COUNT * stride] = all.count;
    records[at + SUM_UNSOUND * stride] = all.unsound;
}
