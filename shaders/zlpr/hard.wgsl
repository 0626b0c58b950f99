// Hard labels: each label is in one of the two sums. Exponents -s/t_pos and s/t_neg.
// provides: Settings, acc_add, element_grad
// expects:  side, two_sided, element

struct Settings {
    inv_t_pos: f32,        // 1 / t_pos
    inv_t_neg: f32,        // 1 / t_neg
}

fn acc_add(acc: ptr<function, Acc>, e: Element) {
    if (e.bad) {
        (*acc).bad = 1u;
    }
    if (!e.counts || e.bad) {
        return;
    }
    if (e.label > 0.5) {
        let side = side_add(vec2<f32>((*acc).max_pos, (*acc).sum_pos), exponent(e, -params.own.inv_t_pos), e.weight);
        (*acc).max_pos = side.x;
        (*acc).sum_pos = side.y;
    } else {
        let side = side_add(vec2<f32>((*acc).max_neg, (*acc).sum_neg), exponent(e, params.own.inv_t_neg), e.weight);
        (*acc).max_neg = side.x;
        (*acc).sum_neg = side.y;
    }
}

// The gradient to the logit; there is none to a hard label.
fn element_grad(e: Element, c: Coef) -> vec2<f32> {
    let positive = e.label > 0.5;
    let x = exponent(e, select(params.own.inv_t_neg, -params.own.inv_t_pos, positive));
    if (x <= LOWEST) {
        return vec2<f32>(0.0);
    }
    if (positive) {
        return vec2<f32>(-e.weight * exp_minus(x, c.max_pos) * c.pos, 0.0);
    }
    return vec2<f32>(e.weight * exp_minus(x, c.max_neg) * c.neg, 0.0);
}
