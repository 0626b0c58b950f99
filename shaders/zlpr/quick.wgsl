// Sums of w e^exponent as they are, of logits as they are: without their maxima, without a test of a label. They are good
// enough where they lie within bounds; a NaN or an infinity among the labels brings them out of these. Other rows are gone
// over once more, for sums relative to the largest exponents.
// provides: Quick, quick_start, quick_end, quick_put, quick_sure, quick_acc, acc_base, Tally, tally_start, tally_end, tally_put,
//           lane_merge
// expects:  math, Acc, BAD, EXACT, FLOOR

// Of each side four sums, and the largest exponents.
struct Quick {
    pos: vec4<f32>,
    neg: vec4<f32>,
    most_pos: vec4<f32>,
    most_neg: vec4<f32>,
}

fn quick_start() -> Quick {
    let low = vec4<f32>(LOWEST);
    return Quick(vec4<f32>(0.0), vec4<f32>(0.0), low, low);
}

// Adds terms, weights times e^exponent, to the sides that they are in.
fn quick_put(
    quick: ptr<function, Quick>,
    x_pos: vec4<f32>,
    w_pos: vec4<f32>,
    e_pos: vec4<f32>,
    in_pos: vec4<bool>,
    x_neg: vec4<f32>,
    w_neg: vec4<f32>,
    e_neg: vec4<f32>,
    in_neg: vec4<bool>,
) {
    let none = vec4<f32>(0.0);
    let low = vec4<f32>(LOWEST);
    // Also with a weight of 0, which makes a NaN of an infinite exponential: in the gradient it would too.
    (*quick).pos += select(none, w_pos * e_pos, in_pos);
    (*quick).neg += select(none, w_neg * e_neg, in_neg);
    (*quick).most_pos = max((*quick).most_pos, select(low, x_pos, in_pos & (w_pos > none)));
    (*quick).most_neg = max((*quick).most_neg, select(low, x_neg, in_neg & (w_neg > none)));
}

fn quick_end(quick: Quick) -> Acc {
    return Acc(max_of(quick.most_pos), sum_of(quick.pos), max_of(quick.most_neg), sum_of(quick.neg), 0u);
}

// Whether a sum lies from 2^-24 to 2^32, by its bits, which no fast-math option takes for a number's. Of a larger or
// smaller one the exponents were so large that e^x has lost more digits than e^(x - maximum) does.
fn within(sum: f32) -> bool {
    return bitcast<u32>(sum) - 0x33800000u <= 0x4f800000u - 0x33800000u;
}

// A row without positives is common, and has a sum of 0. What becomes of an exponential beyond f32 is left open by WGSL, so
// the largest exponents are asked too.
fn quick_sure(a: Acc) -> bool {
    let empty = a.max_pos <= LOWEST && a.sum_pos == 0.0;
    return within(a.sum_neg) && (within(a.sum_pos) || empty) && max(a.max_pos, a.max_neg) < 32.0;
}

// What they are to the others: sums relative to a maximum of 0. A side without a sum has none.
fn quick_acc(a: Acc) -> Acc {
    return Acc(select(FLOOR, 0.0, a.sum_pos > 0.0), a.sum_pos, 0.0, a.sum_neg, 0u);
}

// What the sums are relative to where those were not good enough.
fn acc_base(a: Acc) -> Acc {
    return Acc(clamp(a.max_pos, FLOOR, HUGE), 0.0, clamp(a.max_neg, FLOOR, HUGE), 0.0, EXACT);
}

// Sums relative to maxima that are known.
struct Tally {
    max_pos: f32,
    max_neg: f32,
    pos: vec4<f32>,
    neg: vec4<f32>,
    bad: vec4<bool>,
}

fn tally_start(base: Acc) -> Tally {
    return Tally(base.max_pos, base.max_neg, vec4<f32>(0.0), vec4<f32>(0.0), vec4<bool>(false));
}

// Adds weights times e^exponent to the sides that they are in.
fn tally_put(
    tally: ptr<function, Tally>,
    x_pos: vec4<f32>,
    w_pos: vec4<f32>,
    in_pos: vec4<bool>,
    x_neg: vec4<f32>,
    w_neg: vec4<f32>,
    in_neg: vec4<bool>,
) {
    let none = vec4<f32>(0.0);
    let low = vec4<f32>(LOWEST);
    let pos = in_pos & (x_pos > low) & (w_pos > none);
    let neg = in_neg & (x_neg > low) & (w_neg > none);
    (*tally).pos += select(none, w_pos * exp_minus4(x_pos, vec4<f32>((*tally).max_pos)), pos);
    (*tally).neg += select(none, w_neg * exp_minus4(x_neg, vec4<f32>((*tally).max_neg)), neg);
}

fn tally_end(tally: Tally) -> Acc {
    let flags = select(0u, BAD, any(tally.bad)) | EXACT;
    return Acc(tally.max_pos, sum_of(tally.pos), tally.max_neg, sum_of(tally.neg), flags);
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
