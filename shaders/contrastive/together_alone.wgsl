// How sums over keys come together, where pairs are judged by themselves.
// provides: lifted, together, sums_at, put_sums
// expects:  params, the numbers of sums, Acc, records

// Nothing is relative to anything.
fn lifted(acc: Acc, largest: vec4<f32>) -> Acc {
    return acc;
}

// The sums over some keys and over others.
fn together(before: Acc, acc: Acc) -> Acc {
    var all = acc;
    all.loss += before.loss;
    all.sum += before.sum;
    all.lead += before.lead;
    all.count += before.count;
    all.unsound += before.unsound;
    return all;
}

// What is known of four anchors; of what is not summed, zeros.
fn sums_at(row4: u32) -> Acc {
    let at = params.own.first / 4u + row4;
    let stride = params.record.stride;
    var all = Acc();
    all.sum = records[at + SUM_EXPONENTIALS * stride];
    all.loss = records[at + SUM_LOSS * stride];
    all.lead = records[at + SUM_LEAD * stride];
    all.count = records[at + SUM_COUNT * stride];
    all.unsound = records[at + SUM_UNSOUND * stride];
    return all;
}

fn put_sums(row4: u32, all: Acc) {
    let at = params.own.first / 4u + row4;
    let stride = params.record.stride;
    records[at + SUM_EXPONENTIALS * stride] = all.sum;
    records[at + SUM_WEIGHTS * stride] = vec4<f32>(0.0);
    records[at + SUM_LOSS * stride] = all.loss;
    records[at + SUM_LEAD * stride] = all.lead;
    records[at + SUM_COUNT * stride] = all.count;
    records[at + SUM_UNSOUND * stride] = all.unsound;
}
