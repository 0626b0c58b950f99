//! Losses of rows.

use crate::ops::{counted, log_sum, only, reduced, sigmoid, softplus, wide};
use crate::rows::{RowCall, RowExtras};
use crate::targets::Targets;
use burn::tensor::{Bool, Int, Tensor};
use wgloss::losses::wdl::{Form, PairWeights, Phi, Prediction};
use wgloss::losses::zlpr::{Form as ZlprForm, Half};
use wgloss::{
    AnyLoss, Error, ErrorKind, Reduction, Rowwise, TargetKind, Threshold, Wdl, Zlpr, reference,
};

/// What a row's loss is made of.
struct Rows {
    /// `[B, L]`, less the threshold; 0 where it does not count.
    s: Tensor<2>,
    /// Soft or hard targets, 0 where they do not count.
    t: Tensor<2>,
    /// `[B, L]`: what counts.
    counts: Tensor<2, Bool>,
    /// `[B, L]`: 1, or less and more; 0 where it does not count.
    w: Tensor<2>,
    /// A setting of each label, where a tensor gives it.
    own: Option<Tensor<2>>,
}

/// The loss, reduced.
pub(crate) fn loss(call: RowCall<'_>) -> Result<Tensor<1>, Error> {
    let half = match call.settings {
        AnyLoss::Zlpr(Zlpr {
            form: ZlprForm::Joint { half, .. },
            ..
        }) => half,
        _ => Half::Sample,
    };
    match half {
        Half::Sample => one_half(&call, false),
        Half::Class => one_half(&call, true),
        Half::Both => Ok(one_half(&call, false)? + one_half(&call, true)?),
    }
}

/// The loss over the rows, or over the columns of the batch.
fn one_half(call: &RowCall<'_>, turned: bool) -> Result<Tensor<1>, Error> {
    let takes = call.settings.takes();
    let dims = call.logits.dims();
    let RowExtras {
        class_mask,
        mask,
        sample_weight,
        class_weight,
        weight,
        ..
    } = call.extras.clone();
    let logits = wide(call.logits.clone());
    let by_label = |values: Tensor<1>| wide(values).reshape([1, dims[1]]).expand(dims);

    let sample_weight = sample_weight.map(wide);
    let device = logits.device();
    let mut counts = counted(dims, class_mask, mask, sample_weight.as_ref(), &device);
    if takes.masked_logits {
        counts = counts.bool_and(logits.clone().detach().not_equal_scalar(f32::NEG_INFINITY));
    }

    let s = only(logits, counts.clone());
    let s = match &call.threshold {
        None => s,
        Some(Threshold::Batch(one)) => s - wide(one.clone()).reshape([1, 1]),
        Some(Threshold::Row(each)) => s - wide(each.clone()).reshape([dims[0], 1]),
        Some(Threshold::Label(each)) => s - wide(each.clone()).reshape([1, dims[1]]),
    };
    let s = only(s, counts.clone());
    let t = match takes.targets {
        TargetKind::Hard => call.targets.clone().positive().float(),
        _ => wide(match call.targets.clone() {
            Targets::Float(targets) => targets,
            flags => flags.float(),
        }),
    };
    let t = only(wide(t), counts.clone());
    let mut w = wide(counts.clone().float());
    let (by_class, by_row) = match turned {
        false => (class_weight.map(wide), sample_weight),
        true => (sample_weight, class_weight.map(wide)),
    };
    let inside = by_class.map(|values| match turned {
        false => values.reshape([1, dims[1]]).expand(dims),
        true => values.reshape([dims[0], 1]).expand(dims),
    });
    for factor in [inside, weight.map(wide)].into_iter().flatten() {
        w = w * only(factor, counts.clone());
    }
    let own = call.pos_weight.clone().or(call.alpha.clone()).map(by_label);
    let rows = Rows {
        s,
        t,
        counts,
        w,
        own,
    };
    let rows = if turned { rows.turned() } else { rows };

    let elements = rows.counts.clone();
    let positive = rows.t.clone().greater_scalar(0.5).any_dim(1);
    let each = each_row(call, rows)?;
    let each = match by_row {
        // A row of weight 0 is 0 already, since nothing of it counts.
        Some(weight) => each * weight,
        None => each,
    };
    let number = |flags: Tensor<2, Bool>| wide(flags.float()).sum().clamp_min(1.0);
    Ok(match call.settings.reduction() {
        Reduction::MeanElements => each.sum() / number(elements),
        Reduction::MeanActive => each.sum() / number(positive),
        reduction => reduced(each, reduction),
    })
}

impl Rows {
    fn turned(self) -> Rows {
        Rows {
            s: self.s.transpose(),
            t: self.t.transpose(),
            counts: self.counts.transpose(),
            w: self.w.transpose(),
            own: self.own.map(Tensor::transpose),
        }
    }

    fn positive(&self) -> Tensor<2, Bool> {
        self.t.clone().greater_scalar(0.5)
    }

    /// How much counts in each row, and 1 where nothing does: `[B, 1]`.
    fn count(&self) -> Tensor<2> {
        wide(self.counts.clone().float()).sum_dim(1).clamp_min(1.0)
    }

    /// `log(first + sum w t e^-s')` and `log(first + sum w (1 - t) e^s'')`.
    fn two_sides(
        &self,
        t: Tensor<2>,
        positive: Tensor<2>,
        negative: Tensor<2>,
        first: f32,
    ) -> [Tensor<2>; 2] {
        let side = |x: Tensor<2>, share: Tensor<2>| {
            let weight = only(self.w.clone() * share, self.counts.clone());
            log_sum(x, Some(weight), self.counts.clone(), first)
        };
        [side(positive, t.clone()), side(negative, -t + 1.0)]
    }

    /// `sum w (t f+ + (1 - t) f-)`, `t` smoothed.
    fn mixed(
        self,
        smoothing: f32,
        row_mean: bool,
        [positive, negative]: [Tensor<2>; 2],
    ) -> Tensor<1> {
        let count = self.count();
        let t = self.t * (1.0 - smoothing) + smoothing / 2.0;
        let terms = self.w * (t.clone() * positive + (-t + 1.0) * negative);
        let sum = only(terms, self.counts).sum_dim(1);
        let sum = if row_mean { sum / count } else { sum };
        column(sum)
    }
}

fn column(values: Tensor<2>) -> Tensor<1> {
    let [rows, _] = values.dims();
    values.reshape([rows])
}

/// The loss of each row.
fn each_row(call: &RowCall<'_>, rows: Rows) -> Result<Tensor<1>, Error> {
    let s = rows.s.clone();
    Ok(match call.settings {
        AnyLoss::Zlpr(settings) => zlpr(&settings, rows),
        AnyLoss::Bce(settings) => {
            let positive = softplus(-s.clone());
            let positive = match &rows.own {
                Some(weight) => positive * weight.clone(),
                None => positive * settings.pos_weight,
            };
            rows.mixed(
                settings.smoothing,
                settings.row_mean,
                [positive, softplus(s)],
            )
        }
        AnyLoss::Focal(settings) => {
            let side = |s| focal_side(settings.gamma, settings.detach_focus, s);
            let (positive, negative) = (side(s.clone()), side(-s));
            let sides = match (&rows.own, settings.alpha) {
                (Some(alpha), _) => [positive * alpha.clone(), negative * (-alpha.clone() + 1.0)],
                (None, Some(alpha)) => [positive * alpha, negative * (1.0 - alpha)],
                (None, None) => [positive, negative],
            };
            rows.mixed(settings.smoothing, settings.row_mean, sides)
        }
        AnyLoss::Asl(settings) => {
            let positive = focal_side(settings.gamma_pos, settings.detach_focus, s.clone());
            let p = sigmoid(s.clone());
            let below = p.clone().detach().lower_equal_scalar(settings.margin);
            // Any number in the place of what has no loss.
            let moved = (p - settings.margin).mask_fill(below.clone(), 0.5);
            let cost = match settings.margin == 0.0 {
                true => softplus(s),
                false => -(-moved.clone()).log1p(),
            };
            let focus = power(moved, settings.gamma_neg, settings.detach_focus);
            let negative = (focus * cost).mask_fill(below, 0.0);
            rows.mixed(settings.smoothing, settings.row_mean, [positive, negative])
        }
        AnyLoss::Hill(settings) => {
            let positive = focal_side(settings.gamma, false, s.clone() - settings.margin);
            let p = sigmoid(s);
            let negative = (-p.clone() + settings.lambda) * p.clone() * p;
            rows.mixed(settings.smoothing, settings.row_mean, [positive, negative])
        }
        AnyLoss::Splc(settings) => {
            let side = |s| focal_side(settings.gamma, false, s);
            let p = f64::from(settings.threshold);
            let wrong = s.clone().detach().greater_scalar(p.ln() - (-p).ln_1p());
            let positive = side(s.clone() - settings.margin);
            let negative = side(-s.clone()).mask_where(wrong, side(s));
            rows.mixed(settings.smoothing, settings.row_mean, [positive, negative])
        }
        AnyLoss::Dice(settings) => {
            let none = rows.counts.clone().any_dim(1).bool_not();
            let p = sigmoid(s);
            let size = |v: Tensor<2>| if settings.squared { v.clone() * v } else { v };
            let both =
                (rows.w.clone() * p.clone() * rows.t.clone()).sum_dim(1) * 2.0 + settings.smooth;
            let each = (rows.w * (size(p) + size(rows.t))).sum_dim(1) + settings.smooth;
            column((-both / each + 1.0).mask_fill(none, 0.0))
        }
        AnyLoss::BpMll(_) => {
            let live = rows
                .counts
                .clone()
                .bool_and(rows.w.clone().detach().greater_scalar(0.0));
            let side = |x: Tensor<2>, of: Tensor<2, Bool>| {
                let count = wide(of.clone().bool_and(rows.counts.clone()).float()).sum_dim(1);
                let sum = log_sum(x, Some(rows.w.clone()), of.bool_and(live.clone()), 0.0);
                let none = sum.clone().detach().lower_equal_scalar(super::FAR);
                (
                    sum.mask_fill(none.clone(), 0.0) - count.clamp_min(1.0).log(),
                    none,
                )
            };
            let (positives, no_positive) = side(-s.clone(), rows.positive());
            let (negatives, no_negative) = side(s, rows.positive().bool_not());
            column(
                (positives + negatives)
                    .exp()
                    .mask_fill(no_positive.bool_or(no_negative), 0.0),
            )
        }
        AnyLoss::SoftmaxCe(_) => {
            let total = rows.t.clone().sum_dim(1);
            let none = total.clone().detach().lower_equal_scalar(0.0);
            let share = rows.w.clone() * rows.t.clone() / total.mask_fill(none.clone(), 1.0);
            let log_all = log_sum(s.clone(), None, rows.counts.clone(), 0.0);
            let cost = only(log_all.expand(s.dims()) - s, rows.counts);
            column((share * cost).sum_dim(1).mask_fill(none, 0.0))
        }
        AnyLoss::Wdl(settings) => wdl(&settings, call, rows),
        other => {
            let reason = format!("{other:?} has no tensor operations: use a shared wgpu device");
            return Err(Error::because(ErrorKind::Unsupported, "loss", reason));
        }
    })
}

/// `q^gamma`, where `q` is above 0.
fn power(q: Tensor<2>, gamma: f32, detached: bool) -> Tensor<2> {
    let q = if detached { q.detach() } else { q };
    match gamma {
        0.0 => q.ones_like(),
        1.0 => q,
        _ => q.powf_scalar(gamma),
    }
}

/// `q^gamma softplus(-s)`, `q = sigma(-s)`.
fn focal_side(gamma: f32, detached: bool, s: Tensor<2>) -> Tensor<2> {
    // As the exponential of a logarithm: a power of 0 has no slope.
    let log_q = -softplus(s.clone());
    let log_q = if detached { log_q.detach() } else { log_q };
    (log_q * gamma).exp() * softplus(-s)
}

fn zlpr(settings: &Zlpr, rows: Rows) -> Tensor<1> {
    let s = rows.s.clone();
    match settings.form {
        ZlprForm::Hard => {
            let [p, n] = rows.two_sides(rows.t.clone(), -s.clone(), s, 1.0);
            column(p + n)
        }
        ZlprForm::Soft => {
            let t = rows.t.clone() * (1.0 - settings.smoothing) + settings.smoothing / 2.0;
            let [p, n] = rows.two_sides(t, -s.clone(), s, 1.0);
            column(p + n)
        }
        ZlprForm::Joint { t_pos, t_neg, .. } => {
            let [p, n] = rows.two_sides(rows.t.clone(), -s.clone() / t_pos, s / t_neg, 0.0);
            let empty = |side: &Tensor<2>| side.clone().detach().lower_equal_scalar(super::FAR);
            let none = empty(&p).bool_or(empty(&n));
            let x = (p * t_pos + n * t_neg).mask_fill(none.clone(), 0.0);
            column(softplus(x).mask_fill(none, 0.0))
        }
        ZlprForm::KlSymmetric { beta } => {
            let (s, u) = (rows.s, rows.t);
            let apart = sigmoid(s.clone() * beta) - sigmoid(u.clone() * beta);
            column((rows.w * apart * (s - u) * beta).sum_dim(1))
        }
        ZlprForm::KlExcess => {
            let u = rows.t.clone();
            let t = sigmoid(u.clone() * 2.0);
            let [p, n] = rows.two_sides(t, -s.clone(), s, 1.0);
            // log w / (2 cosh u) = log w - u - softplus(-2 u), over the elements that count
            let live = rows.w.clone().greater_scalar(0.0);
            let inverse = -u.clone() - softplus(u * -2.0);
            column(p + n - log_sum(inverse, Some(rows.w), live, 1.0) * 2.0)
        }
    }
}

/// `sum a b` of each row.
fn dot(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    (a * b).sum_dim(1)
}

fn phi<const D: usize>(phi: Phi, d: Tensor<D>) -> Tensor<D> {
    match phi {
        Phi::Square => d.clone() * d,
        Phi::Abs => d.abs(),
        Phi::Huber { delta } => {
            let size = d.clone().abs();
            let far = size.clone().detach().greater_scalar(delta);
            let line = (size - delta / 2.0) * delta;
            (d.clone() * d * 0.5).mask_where(far, line)
        }
    }
}

fn wdl(settings: &Wdl, call: &RowCall<'_>, rows: Rows) -> Tensor<1> {
    let [batch, cols] = rows.s.dims();
    let counted = wide(rows.counts.clone().float());
    let n = counted.clone().sum_dim(1);
    let (s, y) = (rows.s.clone(), rows.t.clone());
    let presence = only(
        rows.w.clone() * (softplus(s.clone()) - y.clone() * s.clone()),
        rows.counts.clone(),
    );
    let presence = presence.sum_dim(1) / n.clone().clamp_min(1.0) * settings.lambda_presence;

    let shares = only(y + settings.epsilon, rows.counts.clone());
    let total = shares.clone().sum_dim(1);
    let nothing = total.clone().detach().lower_equal_scalar(0.0);
    let q = shares / total.mask_fill(nothing.clone(), 1.0);
    let logs = match settings.prediction {
        Prediction::Sigmoid => -softplus(-s),
        Prediction::Softmax => s,
    };
    let all = log_sum(logs.clone(), None, rows.counts.clone(), 0.0);
    let p = only(
        (logs - all.expand([batch, cols]))
            .mask_fill(rows.counts.clone().bool_not(), super::FAR)
            .exp(),
        rows.counts.clone(),
    );
    let e = p - q;

    let ratio = dot(e.clone(), e.clone()) * settings.lambda_ratio;
    let theta = call.theta.clone().map(|theta| {
        let theta = wide(theta);
        let theta = theta.clone().mask_fill(theta.lower_scalar(-80.0), -80.0);
        let theta = if settings.ascent {
            theta.clone().detach() * 2.0 - theta
        } else {
            theta
        };
        let soft = softplus(theta);
        soft.clone() / soft.mean_dim(1)
    });
    let (sets, len) = settings.theta_shape(cols);
    let a = theta.unwrap_or_else(|| Tensor::ones([sets, len], &e.device()));
    let pairs = (n.clone() * (n.clone() - 1.0)).clamp_min(1.0);
    let d = match settings.form {
        Form::Adjacent => {
            let order = order(call, cols);
            let (e, counted) = (e.select(1, order.clone()), counted.select(1, order));
            let link = |v: Tensor<2>, from: usize| v.narrow(1, from, len);
            let both = link(counted.clone(), 0) * link(counted, 1);
            let apart = phi(settings.phi, link(e.clone(), 1) - link(e, 0));
            (both * apart * a).sum_dim(1) * cols as f32 / pairs
        }
        Form::Pairs { weights } => {
            let mut sum = Tensor::zeros([batch, 1], &e.device());
            let left = e.clone().reshape([batch, cols, 1]);
            let right = e.reshape([batch, 1, cols]);
            let both =
                counted.clone().reshape([batch, cols, 1]) * counted.reshape([batch, 1, cols]);
            let apart = phi(settings.phi, left - right) * both;
            for set in 0..sets {
                let a = a.clone().narrow(0, set, 1).reshape([1, cols]);
                let (i, j) = (a.clone().reshape([1, cols, 1]), a.reshape([1, 1, cols]));
                let w = match weights {
                    PairWeights::Additive => (i + j) * 0.5,
                    PairWeights::RankOne | PairWeights::Rank(_) => i * j,
                };
                let each = (apart.clone() * w).reshape([batch, cols * cols]);
                // Every pair was met twice.
                sum = sum + each.sum_dim(1) * 0.5;
            }
            sum * 2.0 / pairs / sets as f32
        }
    };
    let d = match &call.theta0 {
        None => d,
        Some(theta0) => {
            let theta0 = wide(theta0.clone()).reshape([1, 1]);
            d * (-theta0.clone()).exp() / 2.0 + theta0 / 2.0
        }
    };
    let alone = n.lower_scalar(2.0);
    let d = d.mask_fill(alone, 0.0) * settings.lambda_difference;
    column(presence + (ratio + d).mask_fill(nothing, 0.0))
}

/// The permutation that all rows share: given, or of the seed as the kernels make it.
fn order(call: &RowCall<'_>, cols: usize) -> Tensor<1, Int> {
    if let Some(order) = &call.extras.permutation {
        return order.clone();
    }
    let words: Vec<i64> = match &call.seed {
        Some(seed) => seed.to_data().iter::<i64>().collect(),
        None => Vec::new(),
    };
    let half = |k: usize| u64::from(words.get(k).copied().unwrap_or(0) as u32);
    let order = reference::permutation(half(0) | half(1) << 32, 0, cols as u32);
    let order: Vec<i32> = order.into_iter().map(|label| label as i32).collect();
    Tensor::from_ints(order.as_slice(), &call.logits.device())
}
