// Sums over the keys of anchors: of the denominators, and of what is weighed.
// provides: begun, absorb_four
// expects:  FAR, Acc, Candidate, candidate, Four, Rows, Others, base, lifted

fn begun(row4: u32) -> Acc {
    var acc = Acc();
    acc.largest = vec4<f32>(FAR);
    return acc;
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
