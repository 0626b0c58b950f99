// Sums of e^(exponent - base), in four accumulators for each side. The first sweep takes a base of 0, which is good enough
// where no side's largest exponent is beyond SURE; else a second takes the largest.
// provides: SURE, Tally, tally_start, tally_end, lane_merge, acc_base, acc_unsure, acc_sure
// expects:  math, Acc, BAD, FLOOR

// Beyond it e^x has lost more digits than e^(x - maximum) would have.
const SURE = 16.0;

struct Tally {
    base_pos: f32,
    base_neg: f32,
    pos: vec4<f32>,
    neg: vec4<f32>,
    most_pos: vec4<f32>,      // largest exponents
    most_neg: vec4<f32>,
    bad: vec4<bool>,
}

fn tally_start(base: Acc) -> Tally {
    let none = vec4<f32>(0.0);
    return Tally(base.max_pos, base.max_neg, none, none, vec4<f32>(FLOOR), vec4<f32>(FLOOR), vec4<bool>(false));
}

fn tally_end(tally: Tally) -> Acc {
    return Acc(
        max_of(tally.most_pos),
        sum_of(tally.pos),
        max_of(tally.most_neg),
        sum_of(tally.neg),
        select(0u, BAD, any(tally.bad)),
    );
}

// Sums of one base are added as they are.
fn lane_merge(a: Acc, b: Acc) -> Acc {
    return Acc(
        max(a.max_pos, b.max_pos),
        a.sum_pos + b.sum_pos,
        max(a.max_neg, b.max_neg),
        a.sum_neg + b.sum_neg,
        a.flags | b.flags,
    );
}

fn acc_base() -> Acc {
    return Acc(0.0, 0.0, 0.0, 0.0, 0u);
}

// A side without exponents is sure, whatever its base.
fn acc_unsure(a: Acc) -> bool {
    return (abs(a.max_pos) > SURE && a.max_pos > LOWEST) || (abs(a.max_neg) > SURE && a.max_neg > LOWEST);
}

fn acc_sure(a: Acc) -> Acc {
    return Acc(0.0, a.sum_pos, 0.0, a.sum_neg, a.flags);
}
