//! A case of a loss of rows.

use crate::check::case::{Case, Data, Layout, Output};
use crate::check::numbers::{
    Numbers, TargetForm, form_name, form_type, from_flags, in_words, rounded,
};
use crate::check::rng::Rng;
use crate::check::tensors::Tensors;
use crate::device::context::Context;
use crate::device::prepared::Prepared;
use crate::device::tensor::DType;
use crate::error::Error;
use crate::kernels::gradient::Gradient;
use crate::kernels::rows::call::{RowInputs, RowOutputs};
use crate::losses::labels::{Order, Seed, TargetNames, Targets, Threshold};
use crate::losses::reduction::Reduction;
use crate::losses::takes::TargetKind;
use crate::losses::zlpr::{self, Zlpr};
use crate::reference;
use crate::rowwise::{AnyLoss, Rowwise};
use std::fmt;

/// What a case asks for, and where the gradient goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The loss alone.
    Loss,
    /// Gradients alone, in f32.
    Gradient,
    /// Both, the gradient in f32.
    Both,
    /// Both, the gradient in the logits' type.
    BothSame,
    /// Both, the gradient over the logits.
    InPlace,
}

impl Mode {
    /// Element type of the gradient, where there is one.
    pub(super) fn gradient(self, logits: DType) -> Option<DType> {
        match self {
            Mode::Loss => None,
            Mode::Gradient | Mode::Both => Some(DType::F32),
            Mode::BothSame | Mode::InPlace => Some(logits),
        }
    }
}

/// Which optional inputs a case has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extras {
    /// Upstream gradient alone.
    Upstream,
    /// Class mask, class weight, sample weight, upstream gradient.
    Sides,
    /// All of these and an element mask.
    All,
}

/// What a case of WDL has beside the tensors of all row losses; by default nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WdlCase {
    /// Where the permutation comes from.
    pub order: Option<Order<(), ()>>,
    /// Whether there are weights to learn.
    pub theta: bool,
    /// Whether it is the bounded form.
    pub theta0: bool,
}

/// One case of the table. Begin with [`RowCase::plain`] and change what matters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowCase {
    /// Name of the loss in the table.
    pub name: &'static str,
    /// The loss, with its reduction.
    pub loss: AnyLoss,
    /// Its threshold.
    pub threshold: Option<Threshold<()>>,
    /// Its permutation and weights.
    pub wdl: WdlCase,
    /// Whether a tensor has a setting for each label.
    pub by_label: bool,
    /// Element type of the weights by element, where there are some.
    pub weight: Option<DType>,
    /// Element type of the logits.
    pub dtype: DType,
    /// Form of the targets.
    pub form: TargetForm,
    /// What is asked for.
    pub mode: Mode,
    /// Optional inputs.
    pub extras: Option<Extras>,
    /// How the tensors lie.
    pub layout: Layout,
    /// What the numbers are like.
    pub data: Data,
    /// Rows.
    pub rows: usize,
    /// Labels.
    pub cols: usize,
    /// Seed of the numbers.
    pub seed: u64,
}

impl RowCase {
    /// f32 logits, byte targets, loss and gradient, an upstream gradient, normal numbers, each tensor in its own buffer.
    pub fn plain(name: &'static str, loss: AnyLoss, rows: usize, cols: usize) -> Self {
        RowCase {
            name,
            loss,
            threshold: None,
            wdl: WdlCase::default(),
            by_label: false,
            weight: None,
            dtype: DType::F32,
            form: plain_form(&loss),
            mode: Mode::Both,
            extras: Some(Extras::Upstream),
            layout: Layout::Apart,
            data: Data::Normal,
            rows,
            cols,
            seed: 1,
        }
    }

    /// The same case at another shape and seed.
    pub fn with_shape(mut self, rows: usize, cols: usize, seed: u64) -> Self {
        self.rows = rows;
        self.cols = cols;
        self.seed = seed;
        self
    }

    /// The permutation's seed.
    fn order_seed(&self) -> u64 {
        self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn reference<T: reference::Real>(
        &self,
        n: &Numbers,
    ) -> Result<reference::RowOutputs<T>, Error> {
        let logits = n.real("logits").unwrap_or_default();
        let targets = n.labels("targets");
        let (class_mask, mask) = (n.flags("class_mask"), n.flags("mask"));
        let (sample_weight, class_weight) = (n.real("sample_weight"), n.real("class_weight"));
        let weight = n.real("weight");
        let (pos_weight, alpha) = (n.real("pos_weight"), n.real("alpha"));
        let (threshold, theta) = (n.real("threshold"), n.real("theta"));
        let (theta0, grad_loss) = (n.real("theta0"), n.real("grad_loss"));
        let order = n.words("permutation").unwrap_or_default();
        self.loss.reference(&reference::RowInputs {
            rows: self.rows,
            cols: self.cols,
            logits: &logits,
            targets: &targets,
            class_mask: class_mask.as_deref(),
            mask: mask.as_deref(),
            sample_weight: sample_weight.as_deref(),
            class_weight: class_weight.as_deref(),
            weight: weight.as_deref(),
            pos_weight: pos_weight.as_deref(),
            alpha: alpha.as_deref(),
            threshold: self
                .threshold
                .zip(threshold.as_deref())
                .map(|(form, values)| form.map(|()| values)),
            permutation: self.wdl.order.map(|form| match form {
                Order::Batch(()) => Order::Batch(&order[..]),
                Order::PerRow(()) => Order::PerRow(&order[..]),
                Order::Seeded { scope, .. } => Order::Seeded {
                    seed: self.order_seed(),
                    scope,
                },
            }),
            theta: theta.as_deref(),
            theta0: theta0.and_then(|t: Vec<T>| t.first().copied()),
            grad_loss: grad_loss.as_deref(),
        })
    }
}

/// Byte targets, or other logits where the loss takes those.
pub(super) fn plain_form(loss: &AnyLoss) -> TargetForm {
    match loss.target_kind() {
        TargetKind::Logits => Targets::Dense(DType::F32),
        TargetKind::Hard | TargetKind::Soft | TargetKind::Proportions => Targets::Dense(DType::U8),
    }
}

/// Shape of the weights that a loss learns.
pub(super) fn theta_shape(loss: &AnyLoss, cols: usize) -> (usize, usize) {
    let theta = loss.takes().theta;
    theta.map_or((0, 0), |shape| shape.of(cols))
}

/// Numbers of the loss, and of the gradient to it.
pub(super) fn loss_len(loss: &AnyLoss, rows: usize, cols: usize) -> usize {
    match loss.reduction() {
        Reduction::None => loss.takes().losses(rows, cols),
        _ => 1,
    }
}

/// Prepares a loss on the tensors that there are, by their names.
pub(super) fn prepare(
    loss: &AnyLoss,
    threshold: Option<Threshold<()>>,
    order: Option<Order<(), ()>>,
    mode: Mode,
    cx: &Context,
    t: &Tensors,
) -> Result<Prepared, Error> {
    let (inputs, outputs) = call(threshold, order, mode, t)?;
    loss.prepare(cx, &inputs, &outputs)
}

/// The tensors of a call.
pub(crate) fn call(
    threshold: Option<Threshold<()>>,
    order: Option<Order<(), ()>>,
    mode: Mode,
    t: &Tensors,
) -> Result<(RowInputs<'_>, RowOutputs<'_>), Error> {
    let inputs = RowInputs {
        logits: t.get("logits")?,
        targets: t.labels(TargetNames::TARGETS)?,
        class_mask: t.find("class_mask"),
        mask: t.find("mask"),
        sample_weight: t.find("sample_weight"),
        class_weight: t.find("class_weight"),
        weight: t.find("weight"),
        pos_weight: t.find("pos_weight"),
        alpha: t.find("alpha"),
        threshold: threshold
            .zip(t.find("threshold"))
            .map(|(form, values)| form.map(|()| values)),
        permutation: order
            .zip(t.find("permutation"))
            .map(|(form, values)| match form {
                Order::Batch(()) => Order::Batch(values),
                Order::PerRow(()) => Order::PerRow(values),
                Order::Seeded { scope, .. } => Order::Seeded {
                    seed: Seed::fixed(values),
                    scope,
                },
            }),
        theta: t.find("theta"),
        theta0: t.find("theta0"),
        grad_loss: t.find("grad_loss"),
        settings: &[],
    };
    let outputs = RowOutputs {
        loss: t.find("loss"),
        grad_logits: match mode {
            Mode::Loss => None,
            Mode::InPlace => Some(Gradient::InPlace),
            Mode::Gradient | Mode::Both | Mode::BothSame => t.gradient("grad_logits"),
        },
        grad_targets: t.gradient("grad_targets"),
        grad_threshold: t.gradient("grad_threshold"),
        grad_theta: t.gradient("grad_theta"),
        grad_theta0: t.gradient("grad_theta0"),
    };
    Ok((inputs, outputs))
}

impl fmt::Display for RowCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reduction = self.loss.reduction().name();
        write!(
            f,
            "{} {}{} targets={} {reduction} {:?} {:?} {:?} {:?} {}x{} seed={}",
            self.name,
            self.dtype,
            self.weight
                .map_or_else(String::new, |dtype| format!(" weight={dtype}")),
            form_name(self.form),
            self.mode,
            self.extras,
            self.layout,
            self.data,
            self.rows,
            self.cols,
            self.seed
        )
    }
}

impl Case for RowCase {
    fn name(&self) -> &'static str {
        self.name
    }

    fn layout(&self) -> Layout {
        self.layout
    }

    fn numbers(&self) -> Result<Numbers, Error> {
        let mut rng = Rng(self.seed);
        let (rows, cols) = (self.rows, self.cols);
        let kind = self.loss.target_kind();
        let scale = self.data.scale(self.dtype);
        let float = form_type(self.form);
        let real = matches!(self.form, Targets::Dense(dtype) if dtype.is_float());
        let soft = real && matches!(kind, TargetKind::Soft | TargetKind::Proportions);
        let mut logits = Vec::new();
        let mut targets = Vec::new();
        for row in 0..rows {
            let positives = [0.0, 1.0, 0.3, 0.02][row % 4];
            for col in 0..cols {
                let mut logit = scale * rng.normal();
                let target = match kind {
                    TargetKind::Logits => logit + scale.min(30.0) * 0.3 * rng.normal(),
                    _ if soft && rng.chance(0.7) => rng.uniform(0.0, 1.0),
                    _ => f64::from(u8::from(rng.chance(positives))),
                };
                if self.data == Data::Edges {
                    let first = col == row % cols;
                    logit = match row % 9 {
                        // As a mask, or an infinite loss, by what the target is.
                        3 if first => f64::NEG_INFINITY,
                        4 if first => f64::INFINITY,
                        5 if first => f64::NAN,
                        6 => 2.5,
                        7 => 40.0 * (2.0 * target - 1.0),
                        _ => logit,
                    };
                }
                logits.push(rounded(self.dtype, logit));
                targets.push(rounded(float, target));
            }
        }
        let mut targets = in_words(self.form, targets);
        let mut random = |count: usize, low: f64, high: f64| -> Vec<f64> {
            let all = rng.many(count, low, high).into_iter();
            all.map(|value| rounded(DType::F32, value)).collect()
        };
        let sides = matches!(self.extras, Some(Extras::Sides | Extras::All));
        let upstream = loss_len(&self.loss, rows, cols);
        let grad_loss = self.extras.map(|_| random(upstream, -2.0, 2.0));
        // Those of samples in sums over samples are not negative.
        let least = if self.loss.takes().columns { 0.1 } else { -0.5 };
        let mut sample_weight = sides.then(|| random(rows, least, 2.0));
        let class_weight = sides.then(|| {
            let mut weight = random(cols, 0.1, 3.0);
            if cols > 4 {
                weight[cols / 2] = 0.0;
            }
            weight
        });
        let takes = self.loss.takes();
        let by_label = takes.by_label.filter(|_| self.by_label);
        let by_label = by_label.map(|name| (name, random(cols, 0.0, 1.0)));
        let threshold = self
            .threshold
            .map(|form| random(form.len_of(rows, cols), -1.0, 1.0));
        let sets = theta_shape(&self.loss, cols);
        let theta = self.wdl.theta.then(|| random(sets.0 * sets.1, -2.0, 2.0));
        let theta0 = self.wdl.theta0.then(|| random(1, -1.0, 1.0));
        // One in eight weighs nothing.
        let mut weight = self.weight.map(|dtype| {
            let one = |i| match i % 8 {
                5 => 0.0,
                _ => rounded(dtype, rng.uniform(0.1, 3.0)),
            };
            (0..rows * cols).map(one).collect::<Vec<f64>>()
        });
        let mut flags = |count: usize| -> Vec<f64> {
            let one = |_| rng.chance(0.8);
            from_flags(&(0..count).map(one).collect::<Vec<bool>>())
        };
        let class_mask = sides.then(|| flags(cols));
        let mask = (self.extras == Some(Extras::All)).then(|| flags(rows * cols));
        if self.data == Data::Edges {
            // What does not count may be anything.
            for (row, weight) in sample_weight.iter_mut().flatten().enumerate() {
                if row % 9 == 8 || row % 18 == 5 {
                    *weight = 0.0;
                }
            }
            for i in 0..rows * cols {
                let (row, col) = (i / cols, i % cols);
                let out = [
                    mask.as_ref().is_some_and(|mask| mask[i] == 0.0),
                    class_mask.as_ref().is_some_and(|mask| mask[col] == 0.0),
                    sample_weight
                        .as_ref()
                        .is_some_and(|weight| weight[row] == 0.0),
                ];
                if out.contains(&true) {
                    logits[i] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 3.0][i % 4];
                    if let Some(weight) = &mut weight {
                        weight[i] = [-1.0, f64::NAN][i % 2];
                    }
                    if real || kind == TargetKind::Logits {
                        targets[i] = [f64::NAN, -1.0, -100.0, f64::INFINITY][i % 4];
                    } else if matches!(self.form, Targets::Dense(_)) {
                        targets[i] = 255.0;
                    }
                }
            }
        }

        let mut n = Numbers::default();
        n.put("logits", self.dtype, (rows, cols), logits);
        n.put_labels(TargetNames::TARGETS, self.form, (rows, cols), targets);
        n.put_vector("class_mask", DType::U8, class_mask);
        n.put_vector("sample_weight", DType::F32, sample_weight);
        n.put_vector("class_weight", DType::F32, class_weight);
        if let Some((name, values)) = by_label {
            n.put_vector(name, DType::F32, Some(values));
        }
        n.put_vector("threshold", DType::F32, threshold);
        n.put_vector("grad_loss", DType::F32, grad_loss);
        n.put_vector("theta0", DType::F32, theta0);
        if let Some((weight, dtype)) = weight.zip(self.weight) {
            n.put("weight", dtype, (rows, cols), weight);
        }
        if let Some(mask) = mask {
            n.put("mask", DType::U8, (rows, cols), mask);
        }
        if let Some(theta) = theta {
            n.put("theta", DType::F32, sets, theta);
        }
        let order = |row: usize| reference::permutation(self.seed, row as u32, cols as u32);
        match self.wdl.order {
            None => {}
            Some(Order::Batch(())) => n.put_words("permutation", (1, cols), &order(0)),
            Some(Order::PerRow(())) => {
                let all: Vec<u32> = (0..rows).flat_map(order).collect();
                n.put_words("permutation", (rows, cols), &all);
            }
            Some(Order::Seeded { .. }) => n.put_seed("permutation", self.order_seed()),
        }
        Ok(n)
    }

    fn outputs(&self, n: &Numbers) -> Result<Vec<Output>, Error> {
        let truth = self.reference::<f64>(n)?;
        let naive = self.reference::<f32>(n)?;
        let (rows, cols) = (self.rows, self.cols);
        // The two sides of a row pull a threshold in opposite directions, each with up to the row's coefficient.
        let scale = self.loss.reduction().scale(rows);
        let upstream: f64 = (0..rows)
            .map(|row| {
                let weight = n.find("sample_weight").map_or(1.0, |w| w[row]);
                let grad = n.find("grad_loss").unwrap_or(&[1.0]);
                let grad = grad.get(row).or(grad.last()).unwrap_or(&0.0);
                (scale * weight * grad).abs()
            })
            .sum();
        // The excess risk is a difference of two terms of up to about this size, its gradient one of two shares of a row's
        // coefficient.
        let (risk, shares) = match self.loss {
            AnyLoss::Zlpr(Zlpr {
                form: zlpr::Form::KlExcess,
                ..
            }) => (
                4.0 * (cols as f64 + 1.0).ln(),
                upstream / rows.max(1) as f64,
            ),
            _ => (0.0, 0.0),
        };
        let single = DType::F32;
        let gradient = self.mode.gradient(self.dtype);
        let mut outputs = Vec::new();
        if self.mode != Mode::Gradient {
            let shape = (1, loss_len(&self.loss, rows, cols));
            let loss = Output::near("loss", single, shape, truth.loss, naive.loss);
            outputs.push(loss.cancelling(risk));
        }
        let Some(gradient) = gradient else {
            return Ok(outputs);
        };
        let (t, f) = (truth.grad_logits, naive.grad_logits);
        let fits = f.iter().zip(&t);
        let fits = fits.map(|(f, t)| f.is_finite() || !t.is_finite()).collect();
        let mut grad_logits =
            Output::near("grad_logits", gradient, (rows, cols), t, f).cancelling(shares);
        if matches!(self.loss, AnyLoss::BpMll(_)) {
            // Infinite where its exponential is, which has then nothing to do with what that is multiplied by.
            grad_logits = grad_logits.keeping(fits);
        }
        outputs.push(grad_logits.over((self.mode == Mode::InPlace).then_some("logits")));
        let real = matches!(self.form, Targets::Dense(dtype) if dtype.is_float());
        if real && self.loss.target_kind() != TargetKind::Hard {
            // Where a loss is infinite, the slope to a soft target is nothing to rely on.
            let rows_of = n.get("logits").chunks(cols.max(1));
            let finite = rows_of.flat_map(|row| {
                let finite = row.iter().all(|s| !s.is_infinite());
                std::iter::repeat_n(finite, row.len())
            });
            let (t, f) = (truth.grad_targets, naive.grad_targets);
            let grad_targets = Output::near("grad_targets", single, (rows, cols), t, f);
            let grad_targets = grad_targets.cancelling(shares);
            outputs.push(grad_targets.keeping(finite.collect()));
        }
        let (t, f) = (truth.grad_threshold, naive.grad_threshold);
        if let Some(threshold) = self.threshold {
            let shape = (1, threshold.len_of(rows, cols));
            outputs.push(Output::near("grad_threshold", single, shape, t, f).cancelling(upstream));
        }
        let (t, f) = (truth.grad_theta, naive.grad_theta);
        if self.wdl.theta {
            let shape = theta_shape(&self.loss, cols);
            // From each slope the mean of all is taken, of a single theta all of it.
            outputs.push(Output::near("grad_theta", single, shape, t, f).cancelling(upstream));
        }
        let (t, f) = (truth.grad_theta0, naive.grad_theta0);
        if self.wdl.theta0 {
            outputs.push(Output::near("grad_theta0", single, (1, 1), t, f).cancelling(upstream));
        }
        Ok(outputs)
    }

    fn prepare(
        &self,
        cx: &Context,
        _numbers: &Numbers,
        tensors: &Tensors,
    ) -> Result<Vec<Prepared>, Error> {
        let order = self.wdl.order;
        let call = prepare(&self.loss, self.threshold, order, self.mode, cx, tensors)?;
        Ok(vec![call])
    }
}
