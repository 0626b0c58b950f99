// Sums over the keys of anchors whose pairs are judged by themselves: of losses, of slopes, of slopes times similarities. The
// same struct has them, as `loss`, `sum` and `lead`, and as `count` the number of keys that count.
// provides: in_denominator, begun, absorb_four
// expects:  params, Acc, Candidate, candidate, Four, Rows, Others, softplus4, sigmoid4

fn in_denominator(weight: vec4<f32>) -> vec4<bool> {
    return vec4<bool>(true);
}

fn begun(row4: u32) -> Acc {
    return Acc();
}

fn absorb(acc: Acc, one: Candidate) -> Acc {
    let none = vec4<f32>(0.0);
    let attract = one.weight > none;
    let biased = one.s + vec4<f32>(params.bias);
    let wrong = select(biased, -biased, attract);
    let pull = sigmoid4(wrong);
    let slope = select(none, select(pull, -pull, attract), one.counts);
    var next = acc;
    next.loss += select(none, softplus4(wrong), one.counts);
    next.sum += slope;
    next.lead += slope * one.s;
    next.count += select(none, vec4<f32>(1.0), one.counts);
    next.unsound += one.unsound;
    return next;
}

// Four more keys of each of four anchors: they make one number for each sum.
fn absorb_four(acc: Acc, product: Four, meet: Four, rows: Rows, others: Others) -> Acc {
    let a = candidate(product.a, meet.a, rows, others.sizes.x, others.numbers.x, others.inside.x);
    let b = candidate(product.b, meet.b, rows, others.sizes.y, others.numbers.y, others.inside.y);
    let c = candidate(product.c, meet.c, rows, others.sizes.z, others.numbers.z, others.inside.z);
    let d = candidate(product.d, meet.d, rows, others.sizes.w, others.numbers.w, others.inside.w);
    let four = absorb(absorb(absorb(absorb(Acc(), a), b), c), d);
    var next = acc;
    next.loss += four.loss;
    next.sum += four.sum;
    next.lead += four.lead;
    next.count += four.count;
    next.unsound += four.unsound;
    return next;
}
