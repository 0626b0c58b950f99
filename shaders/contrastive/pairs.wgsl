// The sums over the keys of a tile, of each of eight anchors that lanes share. Those of several tiles are put together
// in `records`, tile after tile. A part says what is summed.
// Mirrors: src/kernels/contrastive/params.rs, which says what the sums are.
// provides: Sums, Candidate, candidate, sweep
// expects:  params, Acc, KEEPS_ITSELF (1: the key that is the anchor counts), Four, tile_four, Rows, Others, rows_at,
//           others_at, kept_four, Shared, shared_labels, shared_low, shared_high, coded, met, met_counts, Weights, weights,
//           in_denominator, begun, absorb_four

// Of eight anchors.
struct Sums {
    low: Acc,
    high: Acc,
}

// One key of each of four anchors; whether it is in the denominator.
struct Candidate {
    s: vec4<f32>,
    logit: vec4<f32>,
    weight: vec4<f32>,
    shift: vec4<f32>,
    unsound: vec4<f32>,
    counts: vec4<bool>,
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
    let seen = vec4<bool>(inside) & kept_four(rows.sizes) & met_counts(meet);
    let counts = seen & (!same | vec4<bool>(KEEPS_ITSELF == 1u));
    let sizes = vec4<f32>(rows.sizes & vec4<u32>(SIZE));
    let pair = weights(met(meet), sizes, vec4<f32>(f32(size & SIZE)), same);
    let odd = ((rows.sizes | vec4<u32>(size)) & vec4<u32>(UNSOUND)) != vec4<u32>(0u);
    return Candidate(
        s,
        s + pair.bias,
        select(none, pair.weight, counts),
        pair.shift,
        select(none, vec4<f32>(1.0), counts & (odd | wild)),
        counts & in_denominator(pair.weight),
    );
}

// The sums over the keys that a lane has, every `lanes`-th four.
fn sweep(row4: u32, lane: u32, lanes: u32) -> Sums {
    let rows = rows_at(row4, lane);
    let fours = (params.other.rows + 3u) / 4u;
    var all = Sums(begun(row4), begun(row4 + 1u));
    for (var at = 0u; at < fours; at += lanes) {
        let others = others_at(at + lane);
        let col4 = min(at + lane, fours - 1u);
        let meet = shared_labels(row4, col4, lane);
        let low = coded(shared_low(meet), row4, col4);
        let high = coded(shared_high(meet), row4 + 1u, col4);
        all.low = absorb_four(all.low, tile_four(row4, col4), low, rows.low, others);
        all.high = absorb_four(all.high, tile_four(row4 + 1u, col4), high, rows.high, others);
    }
    return all;
}
