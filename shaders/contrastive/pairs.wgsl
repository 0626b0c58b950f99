// The sums over the keys of a tile, of each of eight anchors that lanes share. Those of several tiles are put together
// in `records`, tile after tile.
// Mirrors: src/kernels/contrastive/params.rs, which says what the sums are.
// provides: Acc, Sums, records (binding 5), sweep, lifted, field, fold
// expects:  params, SUM_FIELDS and the numbers of sums, KEEPS_ITSELF (1: the key that is the anchor counts), Four,
//           tile_four, Rows, Others, rows_at, others_at, Shared, shared_labels, shared_low, shared_high, Weights, weights

// Over some keys of four anchors, relative to `largest`, the greatest logit s + bias: the sum of exponentials; the
// weights; the weighted sums of largest - s - shift and of largest - s; the sum of exponentials times largest - s;
// the number of positives; keys that are not sound.
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

// Of eight anchors.
struct Sums {
    low: Acc,
    high: Acc,
}

// One key of each of four anchors.
struct Candidate {
    s: vec4<f32>,
    logit: vec4<f32>,
    weight: vec4<f32>,
    shift: vec4<f32>,
    unsound: vec4<f32>,
    counts: vec4<bool>,
}

@group(0) @binding(5) var<storage, read_write> records: array<vec4<f32>>;

// The same sums relative to a greater maximum.
fn lifted(acc: Acc, largest: vec4<f32>) -> Acc {
    // Huge where there was nothing; what it is multiplied with is 0 then.
    let grown = largest - acc.largest;
    let keep = exp(max(-grown, vec4<f32>(-110.0)));
    var next = acc;
    next.largest = largest;
    next.sum = acc.sum * keep;
    next.loss = acc.loss + acc.weight * grown;
    next.lead = acc.lead + acc.weight * grown;
    next.tilt = (acc.tilt + acc.sum * grown) * keep;
    return next;
}

fn candidate(
    product: vec4<f32>,
    meet: vec4<f32>,
    rows: Rows,
    size: u32,
    number: u32,
    inside: bool,
) -> Candidate {
    let none = vec4<f32>(0.0);
    let scaled = product * params.settings.inv_temperature;
    // By bits: what is beyond 1e30 may be infinite or NaN.
    let wild = (bitcast<vec4<u32>>(scaled) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7149f2cau);
    let s = select(scaled, none, wild);
    let same = rows.itself == vec4<u32>(number);
    let counts = vec4<bool>(inside) & (!same | vec4<bool>(KEEPS_ITSELF == 1u));
    let sizes = vec4<f32>(rows.sizes & vec4<u32>(SIZE));
    let pair = weights(meet, sizes, vec4<f32>(f32(size & SIZE)), same);
    let odd = ((rows.sizes | vec4<u32>(size)) & vec4<u32>(UNSOUND)) != vec4<u32>(0u);
    return Candidate(
        s,
        s + pair.bias,
        select(none, pair.weight, counts),
        pair.shift,
        select(none, vec4<f32>(1.0), counts & (odd | wild)),
        counts,
    );
}

// Adds one that is not above the maximum.
fn absorb(acc: Acc, one: Candidate) -> Acc {
    let none = vec4<f32>(0.0);
    let below = acc.largest - one.s;
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

// The sums over the keys that a lane has, every `lanes`-th four.
fn sweep(row4: u32, lane: u32, lanes: u32) -> Sums {
    let rows = rows_at(row4, lane);
    let fours = (params.other.rows + 3u) / 4u;
    var all = Sums();
    all.low.largest = vec4<f32>(FAR);
    all.high.largest = vec4<f32>(FAR);
    for (var at = 0u; at < fours; at += lanes) {
        let others = others_at(at + lane);
        let col4 = min(at + lane, fours - 1u);
        let meet = shared_labels(row4, col4, lane);
        all.low = absorb_four(all.low, tile_four(row4, col4), shared_low(meet), rows.low, others);
        all.high = absorb_four(all.high, tile_four(row4 + 1u, col4), shared_high(meet), rows.high, others);
    }
    return all;
}

// One of the sums, by its number.
fn field(acc: Acc, i: u32) -> vec4<f32> {
    let first = select(select(acc.lead, acc.loss, i == SUM_LOSS), acc.weight, i == SUM_WEIGHTS);
    let second = select(select(acc.unsound, acc.count, i == SUM_COUNT), acc.tilt, i == SUM_TILT);
    let sums = select(select(second, first, i < SUM_TILT), acc.sum, i == SUM_EXPONENTIALS);
    return select(sums, acc.largest, i == SUM_LARGEST);
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
