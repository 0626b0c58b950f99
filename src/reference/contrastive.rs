//! The contrastive family, anchor by anchor, each with the whole row of its similarities.
//!
//! Sim-Dis: arXiv 2410.13439. SupCon: Khosla et al., arXiv 2004.11362. MulSupCon: Zhang and Wu, AAAI 2024.

use crate::error::{Error, check_len};
use crate::losses::contrastive::{
    Contrastive, ContrastiveReduction, Denominator, JACCARD_SLACK, KEY_MASK_ALONE, NORM_FLOOR,
    Normalizer, Placement, Roles, Weighting,
};
use crate::reference::real::{Pairwise, Real, sigmoid, softplus, sum};

/// Keys of their own.
#[derive(Clone, Copy, Debug, Default)]
pub struct ContrastiveKeys<'a, T> {
    /// Number of keys `M`.
    pub rows: usize,
    /// `M * D` values.
    pub embeddings: &'a [T],
    /// Their label sets: `M * L` flags.
    pub labels: &'a [bool],
}

/// The tensors of a contrastive loss; matrices are row-major.
#[derive(Clone, Copy, Debug, Default)]
pub struct ContrastiveInputs<'a, T> {
    /// Number of anchors `N`.
    pub rows: usize,
    /// Dimensions `D`.
    pub dims: usize,
    /// How many labels `L` there are.
    pub classes: usize,
    /// `N * D` values.
    pub embeddings: &'a [T],
    /// The label sets: `N * L` flags.
    pub labels: &'a [bool],
    /// Absent: the anchors are the keys, and each is left out of its own row.
    pub keys: Option<ContrastiveKeys<'a, T>>,
    /// With keys: for each anchor the key that is the anchor itself, if any.
    pub self_index: Option<&'a [Option<usize>]>,
    /// `N` flags, false where a sample is left out: as an anchor, and as a key where the anchors are the keys.
    pub row_mask: Option<&'a [bool]>,
    /// `M` flags, false where a key is left out; needs keys.
    pub key_mask: Option<&'a [bool]>,
    /// `N * M` flags, true where the key is a positive of the anchor; of the weighting that takes what is given.
    pub positives: Option<&'a [bool]>,
    /// `N * M` flags, false where the anchor does not see the key.
    pub pair_mask: Option<&'a [bool]>,
    /// `L` values, not negative: what each label weighs; of MulSupCon alone. Absent: ones.
    pub label_weight: Option<&'a [T]>,
    /// The gradient that arrives from above: one value, or (without a reduction) one or `N`. Absent: 1.
    pub grad_loss: Option<&'a [T]>,
}

/// What a contrastive loss gives: the result and the gradient of `sum(grad_loss * result)`.
#[derive(Clone, Debug, PartialEq)]
pub struct ContrastiveOutputs<T> {
    /// One value, or `N` without a reduction.
    pub loss: Vec<T>,
    /// `N` values: each anchor's own loss, 0 where it is inactive.
    pub loss_rows: Vec<T>,
    /// `N * D` values.
    pub grad_embeddings: Vec<T>,
    /// `M * D` values; none without keys of their own.
    pub grad_keys: Vec<T>,
    /// One value.
    pub grad_temperature: Vec<T>,
    /// One value; none without a bias.
    pub grad_bias: Vec<T>,
}

/// Some rows as the loss sees them.
struct Side<T> {
    /// The rows, divided by their norms if that is wanted.
    z: Vec<Vec<T>>,
    /// Their norms; none where there is no gradient through the row.
    norm: Vec<Option<T>>,
    /// Their labels, rising.
    labels: Vec<Vec<usize>>,
}

impl<T: Real> Side<T> {
    /// Rows with their flags of `labels` labels. What a mask leaves out is not looked at: zeros without labels.
    fn new(
        normalize: bool,
        (rows, dims, labels): (usize, usize, usize),
        embeddings: &[T],
        sets: &[bool],
        mask: Option<&[bool]>,
    ) -> Self {
        let mut side = Side {
            z: Vec::new(),
            norm: Vec::new(),
            labels: Vec::new(),
        };
        let floor = T::from_f64(NORM_FLOOR);
        for row in 0..rows {
            if !has(mask, row) {
                side.z.push(vec![T::zero(); dims]);
                side.norm.push(None);
                side.labels.push(Vec::new());
                continue;
            }
            let x = &embeddings[row * dims..(row + 1) * dims];
            let set = &sets[row * labels..(row + 1) * labels];
            // Scaled, so that no square overflows.
            let largest = x.iter().fold(T::zero(), |most, x| most.max(x.abs()));
            let scale = if largest > T::zero() {
                largest
            } else {
                T::one()
            };
            let root = sum(x.iter().map(|x| (*x / scale) * (*x / scale))).sqrt();
            let norm = scale * root;
            let divisor = if normalize { norm.max(floor) } else { T::one() };
            let finite = x.iter().all(|x| x.is_finite());
            let unit = |x: &T| match finite {
                false => T::nan(),
                // Nor does the norm of what is large.
                true if normalize && norm > floor => *x / scale / root,
                true => *x / divisor,
            };
            side.z.push(x.iter().map(unit).collect());
            side.norm
                .push((!normalize || norm > floor).then_some(divisor));
            side.labels.push((0..labels).filter(|l| set[*l]).collect());
        }
        side
    }

    /// The gradient to the rows as they were given, from the gradient to `z`.
    fn through_norm(&self, normalize: bool, g: &[Vec<T>]) -> Vec<T> {
        let mut out = Vec::new();
        for ((g, z), norm) in g.iter().zip(&self.z).zip(&self.norm) {
            let along = sum(g.iter().zip(z).map(|(g, z)| *g * *z));
            out.extend(g.iter().zip(z).map(|(g, z)| match norm {
                None => T::zero(),
                Some(_) if !normalize => *g,
                Some(norm) => (*g - along * *z) / *norm,
            }));
        }
        out
    }
}

/// Whether a mask, if there is one, leaves a row in.
fn has(mask: Option<&[bool]>, row: usize) -> bool {
    mask.is_none_or(|mask| mask[row])
}

/// What an anchor makes of a key: its weight before the anchor's divisor, and what stands beside the similarity in the
/// denominator and in the numerator.
struct Pair<T> {
    weight: T,
    bias: T,
    shift: T,
}

/// How many labels two rising lists share.
fn shared(first: &[usize], second: &[usize]) -> usize {
    first
        .iter()
        .filter(|l| second.binary_search(l).is_ok())
        .count()
}

/// The contrastive losses and their gradients. The formulas stand in [`losses::contrastive`](crate::losses::contrastive).
pub fn contrastive<T: Real>(
    config: &Contrastive,
    inputs: &ContrastiveInputs<'_, T>,
) -> Result<ContrastiveOutputs<T>, Error> {
    config.check()?;
    let (n, dims) = (inputs.rows, inputs.dims);
    inputs.check(config.reduction)?;
    let side = |rows, embeddings, sets, mask| {
        let shape = (rows, dims, inputs.classes);
        Side::new(config.normalize, shape, embeddings, sets, mask)
    };
    let anchors = side(n, inputs.embeddings, inputs.labels, inputs.row_mask);
    let own_keys = inputs
        .keys
        .map(|keys| side(keys.rows, keys.embeddings, keys.labels, inputs.key_mask));
    let of_keys = match inputs.keys {
        Some(_) => inputs.key_mask,
        None => inputs.row_mask,
    };
    let keys = own_keys.as_ref().unwrap_or(&anchors);
    let m = keys.z.len();
    let tau = T::from_f64(f64::from(config.temperature));
    let own = |i: usize| match (inputs.keys, inputs.self_index) {
        (None, _) => Some(i),
        (Some(_), None) => None,
        (Some(_), Some(index)) => index[i],
    };
    let weigh = |label: usize| inputs.label_weight.map_or(T::one(), |weight| weight[label]);
    let of_set = |set: &[usize]| sum(set.iter().map(|label| weigh(*label)));
    let paired = config.weighting == Weighting::Paired;
    config.check_pairs(inputs.self_index.is_some())?;
    config.check_label_weight(inputs.label_weight.is_some())?;
    config.check_given(inputs.positives.is_some(), inputs.pair_mask.is_some())?;
    let counts = |i: usize, a: usize| {
        has(of_keys, a) && has(inputs.pair_mask, i * m + a) && (paired || own(i) != Some(a))
    };
    let bias = T::from_f64(f64::from(config.bias));
    let sigmoids = config.denominator == Denominator::Sigmoid;

    let mut out = ContrastiveOutputs {
        loss: Vec::new(),
        loss_rows: vec![T::zero(); n],
        grad_embeddings: Vec::new(),
        grad_keys: Vec::new(),
        grad_temperature: Vec::new(),
        grad_bias: Vec::new(),
    };
    let mut active = 0;
    let mut to_anchors = vec![Pairwise::new(); n];
    let mut to_keys = vec![Pairwise::new(); m];
    let mut to_temperature = Pairwise::new();
    let mut to_bias = Pairwise::new();
    for i in (0..n).filter(|i| has(inputs.row_mask, *i)) {
        let s: Vec<T> = keys
            .z
            .iter()
            .map(|z| sum(anchors.z[i].iter().zip(z).map(|(x, y)| *x * *y)) / tau)
            .collect();
        let mut pairs: Vec<Pair<T>> = Vec::new();
        let terms: Vec<T> = match config.weighting {
            Weighting::MulSupCon { .. } => anchors.labels[i]
                .iter()
                .map(|l| {
                    let with = |p: &usize| counts(i, *p) && keys.labels[*p].contains(l);
                    match (0..m).filter(with).count() {
                        // A label of the anchor itself alone has no keys.
                        0 => T::zero(),
                        count => weigh(*l) / T::from_f64(count as f64),
                    }
                })
                .collect(),
            _ => Vec::new(),
        };
        for p in 0..m {
            let itself = own(i) == Some(p);
            let both = (&anchors.labels[i][..], &keys.labels[p][..]);
            let given = has(inputs.positives, i * m + p);
            pairs.push(pair(config.weighting, both, &terms, itself, given));
        }
        let members: Vec<usize> = (0..m).filter(|&a| counts(i, a)).collect();
        let positives = members
            .iter()
            .filter(|&&p| pairs[p].weight > T::zero())
            .count();
        let none = match sigmoids {
            true => members.is_empty(),
            false => positives == 0,
        };
        if none {
            continue;
        }
        let total = sum(members.iter().map(|&p| pairs[p].weight));
        let divisor = match config.weighting {
            Weighting::SimDis {
                normalizer: Normalizer::KSum,
                ..
            } => total,
            Weighting::MulSupCon { per_label: true } => of_set(&anchors.labels[i]),
            Weighting::MulSupCon { per_label: false } | Weighting::Paired => T::one(),
            _ => T::from_f64(positives as f64),
        };
        let c = |p: usize| pairs[p].weight / divisor;
        let logit = |a: usize| s[a] + pairs[a].bias;
        let (at_positives, at_negatives): (Vec<usize>, Vec<usize>) =
            members.iter().partition(|&&a| pairs[a].weight > T::zero());
        // What is in the denominators of all positives.
        let common = match config.denominator {
            Denominator::All => &members,
            Denominator::Negatives | Denominator::OnePositive => &at_negatives,
            Denominator::Sigmoid => &Vec::new(),
        };
        if config.denominator == Denominator::Negatives && common.is_empty() {
            continue;
        }
        let largest = common
            .iter()
            .fold(T::neg_infinity(), |most, &a| most.max(logit(a)));
        let e = |a: usize| (logit(a) - largest).exp();
        let denominator = sum(common.iter().map(|&a| e(a)));
        let lse = match common[..] {
            [] => T::neg_infinity(),
            _ => largest + denominator.ln(),
        };
        // The logarithm of a positive's denominator, and the share of what is common in it.
        let of = |p: usize| match config.denominator {
            Denominator::OnePositive => {
                let above = lse - logit(p);
                (logit(p) + softplus(above), sigmoid(above))
            }
            Denominator::All | Denominator::Negatives | Denominator::Sigmoid => (lse, T::one()),
        };
        out.loss_rows[i] = sum(at_positives
            .iter()
            .map(|&p| c(p) * (of(p).0 - s[p] - pairs[p].shift)));
        let all = sum(at_positives.iter().map(|&p| c(p) * of(p).1));
        let mut slope = vec![T::zero(); m];
        if sigmoids {
            let wrong = |a: usize| match pairs[a].weight > T::zero() {
                true => -(s[a] + bias),
                false => s[a] + bias,
            };
            out.loss_rows[i] = sum(members.iter().map(|&a| softplus(wrong(a))));
            for &p in &at_positives {
                slope[p] = -sigmoid(wrong(p));
            }
            for &a in &at_negatives {
                slope[a] = sigmoid(wrong(a));
            }
        } else {
            for &p in &at_positives {
                slope[p] = -c(p) * of(p).1;
            }
            for &a in common {
                slope[a] = slope[a] + all * e(a) / denominator;
            }
        }
        // NaN similarities may hide behind a maximum.
        if members.iter().any(|&a| !s[a].is_finite()) {
            out.loss_rows[i] = T::nan();
        }
        active += 1;
        let upstream = match inputs.grad_loss {
            None => T::one(),
            Some(&[one]) => one,
            Some(each) => each[i],
        };
        let factor = upstream / tau;
        let times = |by: T, z: &[T]| z.iter().map(|z| by * *z).collect::<Vec<T>>();
        for &a in &members {
            to_anchors[i].add(times(factor * slope[a], &keys.z[a]));
            to_keys[a].add(times(factor * slope[a], &anchors.z[i]));
        }
        let along = sum(members.iter().map(|&a| slope[a] * s[a]));
        to_temperature.add(-factor * along);
        to_bias.add(upstream * sum(members.iter().map(|&a| slope[a])));
    }

    let over = |count: usize| match count {
        0 => T::zero(),
        count => T::one() / T::from_f64(count as f64),
    };
    let kappa = match config.reduction {
        ContrastiveReduction::MeanActive => over(active),
        ContrastiveReduction::MeanAll => over((0..n).filter(|i| has(inputs.row_mask, *i)).count()),
        ContrastiveReduction::MeanLabels => {
            match sum(anchors.labels.iter().map(|set| of_set(set))) {
                all if all > T::zero() => T::one() / all,
                _ => T::zero(),
            }
        }
        ContrastiveReduction::Sum | ContrastiveReduction::None => T::one(),
    };
    out.loss = match config.reduction {
        ContrastiveReduction::None => out.loss_rows.clone(),
        _ => vec![kappa * sum(out.loss_rows.iter().copied())],
    };

    out.grad_temperature = vec![to_temperature.total().unwrap_or(T::zero())];
    if sigmoids {
        out.grad_bias = vec![to_bias.total().unwrap_or(T::zero())];
    }
    let totals = |of: Vec<Pairwise<Vec<T>>>| {
        let total = |one: Pairwise<_>| one.total().unwrap_or(vec![T::zero(); dims]);
        of.into_iter().map(total).collect::<Vec<Vec<T>>>()
    };
    let (mut to_anchors, to_keys) = (totals(to_anchors), totals(to_keys));
    if own_keys.is_none() {
        for (to, from) in to_anchors.iter_mut().zip(&to_keys) {
            for (to, from) in to.iter_mut().zip(from) {
                *to = *to + *from;
            }
        }
    }
    out.grad_embeddings = anchors.through_norm(config.normalize, &to_anchors);
    if let Some(keys) = &own_keys {
        out.grad_keys = keys.through_norm(config.normalize, &to_keys);
    }
    let gradients = |out: &mut ContrastiveOutputs<T>, change: &dyn Fn(&mut T)| {
        let all = [
            &mut out.grad_embeddings,
            &mut out.grad_keys,
            &mut out.grad_temperature,
            &mut out.grad_bias,
        ];
        all.into_iter().flatten().for_each(change);
    };
    gradients(&mut out, &|g| *g = kappa * *g);
    if out.loss_rows.iter().any(|l| l.is_nan()) {
        gradients(&mut out, &|g| *g = T::nan());
        let rows = out.grad_embeddings.chunks_mut(dims.max(1));
        leave(rows, inputs.row_mask);
        leave(out.grad_keys.chunks_mut(dims.max(1)), inputs.key_mask);
    }
    Ok(out)
}

/// Zeros in place of the gradients to rows that a mask leaves out.
fn leave<'a, T: Real + 'a>(rows: impl Iterator<Item = &'a mut [T]>, mask: Option<&[bool]>) {
    for (_, row) in rows.enumerate().filter(|(row, _)| !has(mask, *row)) {
        row.fill(T::zero());
    }
}

/// One anchor and one key, which may be the anchor `itself`, or `given` as a positive. `terms` has, for each label of the
/// anchor, its weight over the number of keys with it.
fn pair<T: Real>(
    weighting: Weighting,
    (anchor, key): (&[usize], &[usize]),
    terms: &[T],
    itself: bool,
    given: bool,
) -> Pair<T> {
    let number = |n: usize| T::from_f64(n as f64);
    let both = shared(anchor, key);
    let mut pair = Pair {
        weight: T::zero(),
        bias: T::zero(),
        shift: T::zero(),
    };
    if weighting == Weighting::Paired {
        pair.weight = number(usize::from(itself));
        return pair;
    }
    if weighting == Weighting::Given {
        pair.weight = number(usize::from(given));
        return pair;
    }
    if both == 0 {
        return pair;
    }
    match weighting {
        Weighting::SimDis {
            placement, roles, ..
        } => {
            let (first, second) = match roles {
                Roles::Anchor => (anchor.len(), key.len()),
                Roles::Key => (key.len(), anchor.len()),
            };
            let similar = number(both) / number(first);
            let k = similar / number(1 + second - both);
            pair.weight = if placement == Placement::Outside {
                k
            } else {
                T::one()
            };
            if placement != Placement::Outside {
                pair.shift = k.ln();
            }
            if placement == Placement::Both {
                pair.bias = k.ln();
            }
        }
        Weighting::Any => pair.weight = T::one(),
        Weighting::All => pair.weight = number(usize::from(anchor == key)),
        Weighting::MulSupCon { .. } => {
            let shared = anchor.iter().zip(terms).filter(|(l, _)| key.contains(l));
            pair.weight = sum(shared.map(|(_, term)| *term));
        }
        Weighting::Jaccard { threshold } => {
            let union = number(anchor.len() + key.len() - both);
            if number(both) >= T::from_f64(f64::from(threshold - JACCARD_SLACK)) * union {
                pair.weight = number(both) / union;
            }
        }
        Weighting::Paired | Weighting::Given => {}
    }
    pair
}

/// How often each of the five relations occurs among an anchor's keys; the columns stand in
/// [`Relations`](crate::Relations). `N * 5` values; embeddings are not looked at.
pub fn relations<T: Real>(inputs: &ContrastiveInputs<'_, T>) -> Result<Vec<u32>, Error> {
    let lists = |rows: usize, sets: &[bool]| -> Vec<Vec<usize>> {
        let row = |r: usize| &sets[r * inputs.classes..(r + 1) * inputs.classes];
        let list = |r: usize| (0..inputs.classes).filter(|l| row(r)[*l]).collect();
        (0..rows).map(list).collect()
    };
    inputs.check_sets()?;
    let anchors = lists(inputs.rows, inputs.labels);
    let keys = match inputs.keys {
        Some(keys) => lists(keys.rows, keys.labels),
        None => anchors.clone(),
    };
    let mut counts = vec![0; 5 * inputs.rows];
    for (i, s) in anchors.iter().enumerate() {
        for (p, t) in keys.iter().enumerate() {
            let itself = match (inputs.keys, inputs.self_index) {
                (None, _) => i == p,
                (Some(_), index) => index.is_some_and(|index| index[i] == Some(p)),
            };
            if itself {
                continue;
            }
            let both = shared(s, t);
            let relation = match (both == s.len(), both == t.len()) {
                _ if both == 0 => 0,
                (true, true) => 1,
                (false, false) => 2,
                (false, true) => 3,
                (true, false) => 4,
            };
            counts[5 * i + relation] += 1;
        }
    }
    Ok(counts)
}

impl<T> ContrastiveInputs<'_, T> {
    fn check(&self, reduction: ContrastiveReduction) -> Result<(), Error> {
        self.check_sets()?;
        let values = |rows: usize| rows.saturating_mul(self.dims);
        check_len("embeddings", values(self.rows), self.embeddings.len())?;
        if let Some(keys) = &self.keys {
            check_len("keys", values(keys.rows), keys.embeddings.len())?;
        }
        let keys = self.keys.as_ref().map_or(self.rows, |keys| keys.rows);
        for (name, flags) in [("positives", self.positives), ("pair_mask", self.pair_mask)] {
            if let Some(flags) = flags {
                check_len(name, self.rows.saturating_mul(keys), flags.len())?;
            }
        }
        if let Some(weight) = self.label_weight {
            check_len("label_weight", self.classes, weight.len())?;
        }
        match self.grad_loss.map_or(1, <[T]>::len) {
            1 => Ok(()),
            found if reduction == ContrastiveReduction::None => {
                check_len("grad_loss", self.rows, found)
            }
            found => check_len("grad_loss", 1, found),
        }
    }

    fn check_sets(&self) -> Result<(), Error> {
        let flags = |rows: usize| rows.saturating_mul(self.classes);
        check_len("labels", flags(self.rows), self.labels.len())?;
        if let Some(keys) = &self.keys {
            check_len("key_labels", flags(keys.rows), keys.labels.len())?;
        }
        if let Some(mask) = self.row_mask {
            check_len("row_mask", self.rows, mask.len())?;
        }
        match (self.key_mask, &self.keys) {
            (Some(mask), Some(keys)) => check_len("key_mask", keys.rows, mask.len())?,
            (Some(_), None) => return Err(Error::refused("key_mask", KEY_MASK_ALONE)),
            (None, _) => {}
        }
        let Some(index) = self.self_index else {
            return Ok(());
        };
        let Some(keys) = &self.keys else {
            return Err(Error::refused("self_index", "needs keys"));
        };
        check_len("self_index", self.rows, index.len())?;
        let counted = index
            .iter()
            .enumerate()
            .filter(|(i, _)| has(self.row_mask, *i));
        let mut named = counted.filter_map(|(_, key)| *key);
        match named.find(|key| *key >= keys.rows) {
            Some(key) => Err(Error::value(
                "self_index",
                format!("keys below {}", keys.rows),
                key,
            )),
            None => Ok(()),
        }
    }
}
