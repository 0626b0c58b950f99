//! Every loss of rows, both ways, against the reference.

use crate::common::{Numbers, bools, close, devices, f64s, floats, gradient, ints, read};
use burn::module::Param;
use burn::tensor::{Device, Tensor};
use wgloss::losses::wdl::{Form, PairWeights, Phi, Prediction};
use wgloss::losses::zlpr::Half;
use wgloss::{
    AnyLoss, Asl, Bce, CATALOG, Focal, Order, Reduction, Rowwise, TargetKind, Threshold, Wdl, Zlpr,
    reference,
};
use wgloss_burn::{RowExtras, RowLoss, Targets};

/// A call as plain numbers.
struct Case {
    settings: AnyLoss,
    rows: usize,
    cols: usize,
    logits: Vec<f32>,
    targets: Vec<f32>,
    /// As flags, as whole numbers, or as they are.
    form: usize,
    class_mask: Option<Vec<bool>>,
    mask: Option<Vec<bool>>,
    sample_weight: Option<Vec<f32>>,
    class_weight: Option<Vec<f32>>,
    weight: Option<Vec<f32>>,
    own: Option<Vec<f32>>,
    threshold: Option<Threshold<Vec<f32>>>,
    theta: Option<Vec<f32>>,
    theta0: Option<f32>,
    permutation: Option<Vec<u32>>,
    upstream: Vec<f32>,
}

/// What a call gives.
struct Outcome {
    loss: Vec<f64>,
    logits: Vec<f64>,
    targets: Vec<f64>,
    threshold: Vec<f64>,
    theta: Vec<f64>,
    theta0: Vec<f64>,
}

impl Case {
    fn new(settings: AnyLoss, numbers: &mut Numbers, options: u64) -> Case {
        let (rows, cols) = (1 + numbers.below(9), 2 + numbers.below(40));
        let has = |bit: u32| options >> bit & 1 == 1;
        let takes = settings.takes();
        let all = rows * cols;
        let hard = numbers
            .flags(all, 0.3)
            .into_iter()
            .map(|flag| f32::from(u8::from(flag)));
        let (targets, form) = match takes.targets {
            TargetKind::Logits => (numbers.reals(all, -3.0, 3.0), 2),
            TargetKind::Hard => (hard.collect(), numbers.below(3)),
            _ if has(0) => (numbers.reals(all, 0.0, 1.0), 2),
            _ => (hard.collect(), numbers.below(3)),
        };
        let each = settings.reduction() == Reduction::None;
        let losses = if each { takes.losses(rows, cols) } else { 1 };
        let (sets, len) = takes.theta.map_or((0, 0), |theta| theta.of(cols));
        let mut order: Vec<u32> = (0..cols as u32).collect();
        for i in (1..cols).rev() {
            order.swap(i, numbers.below(i + 1));
        }
        Case {
            settings,
            rows,
            cols,
            logits: numbers.reals(all, -4.0, 4.0),
            targets,
            form,
            class_mask: has(1).then(|| numbers.flags(cols, 0.8)),
            mask: has(2).then(|| numbers.flags(all, 0.7)),
            sample_weight: has(3).then(|| {
                numbers
                    .reals(rows, -0.5, 1.0)
                    .into_iter()
                    .map(|w| w.max(0.0))
                    .collect()
            }),
            class_weight: has(4).then(|| numbers.reals(cols, 0.1, 2.0)),
            weight: (has(5) && takes.weight).then(|| numbers.reals(all, 0.1, 2.0)),
            own: (has(6) && takes.by_label.is_some()).then(|| numbers.reals(cols, 0.1, 0.9)),
            threshold: (has(7) && takes.threshold).then(|| match numbers.below(3) {
                0 => Threshold::Batch(numbers.reals(1, -1.0, 1.0)),
                1 => Threshold::Row(numbers.reals(rows, -1.0, 1.0)),
                _ => Threshold::Label(numbers.reals(cols, -1.0, 1.0)),
            }),
            theta: (has(6) && takes.theta.is_some()).then(|| numbers.reals(sets * len, -1.0, 1.0)),
            theta0: (has(7) && takes.theta.is_some()).then(|| numbers.unit()),
            permutation: takes.permutation.then_some(order),
            upstream: numbers.reals(losses, -2.0, 2.0),
        }
    }

    fn reference(&self) -> Outcome {
        let wide = |values: &Option<Vec<f32>>| values.as_deref().map(f64s);
        let sample_weight = wide(&self.sample_weight);
        let class_weight = wide(&self.class_weight);
        let weight = wide(&self.weight);
        let own = wide(&self.own);
        let theta = wide(&self.theta);
        let threshold = self
            .threshold
            .clone()
            .map(|t| t.map(|values| f64s(&values)));
        let by_label = self.settings.takes().by_label;
        let own_of = |name| own.as_deref().filter(|_| by_label == Some(name));
        let inputs = reference::RowInputs {
            rows: self.rows,
            cols: self.cols,
            logits: &f64s(&self.logits),
            targets: &f64s(&self.targets),
            class_mask: self.class_mask.as_deref(),
            mask: self.mask.as_deref(),
            sample_weight: sample_weight.as_deref(),
            class_weight: class_weight.as_deref(),
            weight: weight.as_deref(),
            pos_weight: own_of("pos_weight"),
            alpha: own_of("alpha"),
            threshold: threshold.as_ref().map(|t| match t {
                Threshold::Batch(values) => Threshold::Batch(&values[..]),
                Threshold::Row(values) => Threshold::Row(&values[..]),
                Threshold::Label(values) => Threshold::Label(&values[..]),
            }),
            permutation: self.permutation.as_deref().map(Order::Batch),
            theta: theta.as_deref(),
            theta0: self.theta0.map(f64::from),
            grad_loss: Some(&f64s(&self.upstream)),
        };
        let out = self
            .settings
            .reference(&inputs)
            .expect("a case that the reference takes");
        Outcome {
            loss: out.loss,
            logits: out.grad_logits,
            targets: out.grad_targets,
            threshold: out.grad_threshold,
            theta: out.grad_theta,
            theta0: out.grad_theta0,
        }
    }

    fn run(&self, device: &Device) -> Outcome {
        let shape = [self.rows, self.cols];
        let logits = floats(&self.logits, shape, device).require_grad();
        let soft = floats(&self.targets, shape, device).require_grad();
        let whole: Vec<i32> = self
            .targets
            .iter()
            .map(|t| i32::from(*t > 0.5) * 3)
            .collect();
        let flags: Vec<bool> = self.targets.iter().map(|t| *t > 0.5).collect();
        let targets = match self.form {
            0 => Targets::Bool(bools(&flags, shape, device)),
            1 => Targets::Int(ints(&whole, shape, device)),
            _ => Targets::Float(soft.clone()),
        };
        let vector =
            |values: &Option<Vec<f32>>| values.as_ref().map(|v| floats(v, [v.len()], device));
        let mut loss = RowLoss::new(self.settings).expect("settings in range");
        match self.settings.takes().by_label {
            Some("pos_weight") => loss.pos_weight = vector(&self.own),
            _ => loss.alpha = vector(&self.own),
        }
        let (sets, len) = self
            .settings
            .takes()
            .theta
            .map_or((0, 0), |theta| theta.of(self.cols));
        loss.theta = self
            .theta
            .as_ref()
            .map(|v| Param::from_tensor(floats(v, [sets, len], device)));
        loss.theta0 = self
            .theta0
            .map(|v| Param::from_tensor(floats(&[v], [1], device)));
        let threshold = self.threshold.clone();
        let threshold = threshold.map(|t| t.map(|v| floats(&v, [v.len()], device).require_grad()));
        let order = |order: &Vec<u32>| {
            let order: Vec<i32> = order.iter().map(|label| *label as i32).collect();
            ints(&order, [order.len()], device)
        };
        let extras = RowExtras {
            class_mask: self
                .class_mask
                .as_ref()
                .map(|v| bools(v, [self.cols], device)),
            mask: self.mask.as_ref().map(|v| bools(v, shape, device)),
            sample_weight: vector(&self.sample_weight),
            class_weight: vector(&self.class_weight),
            weight: self.weight.as_ref().map(|v| floats(v, shape, device)),
            threshold: threshold.clone(),
            permutation: self.permutation.as_ref().map(order),
        };
        let value = loss.forward_with(logits.clone(), targets, &extras);
        let upstream = floats(&self.upstream, [self.upstream.len()], device);
        let grads = (value.clone() * upstream).sum().backward();
        let of_param = |param: &Option<Param<Tensor<2>>>| {
            param
                .as_ref()
                .map_or(Vec::new(), |p| gradient(&p.val(), &grads))
        };
        Outcome {
            loss: read(&value),
            logits: gradient(&logits, &grads),
            targets: gradient(&soft, &grads),
            threshold: threshold.map_or(Vec::new(), |t| gradient(&t.values(), &grads)),
            theta: of_param(&loss.theta),
            theta0: loss
                .theta0
                .as_ref()
                .map_or(Vec::new(), |p| gradient(&p.val(), &grads)),
        }
    }

    fn check(&self, what: &str) {
        let expected = self.reference();
        for (way, device) in devices() {
            let found = self.run(&device);
            let what = format!(
                "{way}: {what} {:?} [{}, {}]",
                self.settings, self.rows, self.cols
            );
            close(&format!("{what}, loss"), &found.loss, &expected.loss, 3e-5);
            close(
                &format!("{what}, logits"),
                &found.logits,
                &expected.logits,
                1e-4,
            );
            let to_targets = self.settings.takes().targets.has_gradient() && self.form == 2;
            match to_targets {
                true => close(
                    &format!("{what}, targets"),
                    &found.targets,
                    &expected.targets,
                    1e-4,
                ),
                false => assert!(
                    found.targets.iter().all(|g| *g == 0.0),
                    "{what}: no gradient to hard targets"
                ),
            }
            close(
                &format!("{what}, threshold"),
                &found.threshold,
                &expected.threshold,
                1e-4,
            );
            if self.theta.is_some() {
                close(
                    &format!("{what}, theta"),
                    &found.theta,
                    &expected.theta,
                    1e-4,
                );
            }
            close(
                &format!("{what}, theta0"),
                &found.theta0,
                &expected.theta0,
                1e-4,
            );
        }
    }
}

/// Every loss of the catalogue with and without everything else that it takes, and with each reduction that it takes.
#[test]
fn every_loss_agrees_with_the_reference() {
    let mut numbers = Numbers(20261127);
    for entry in CATALOG {
        for reduction in [
            Reduction::Mean,
            Reduction::Sum,
            Reduction::None,
            Reduction::MeanOver(7.0),
            Reduction::MeanElements,
            Reduction::MeanActive,
        ] {
            let settings = entry.loss().with_reduction(reduction);
            if settings.check().is_err() {
                continue;
            }
            // What else a call has and what its losses become have little to do with each other, and a software driver
            // takes a second for a kernel.
            let some = numbers.word() & 0xff;
            let options = match reduction {
                Reduction::Mean => vec![0, 0xff, some],
                _ => vec![some],
            };
            for options in options {
                let case = Case::new(settings, &mut numbers, options);
                case.check(&format!("{} options {options:08b}", entry.name));
            }
        }
    }
}

/// Settings other than the defaults.
#[test]
fn settings_agree_with_the_reference() {
    let mut numbers = Numbers(7);
    let pairs = |weights| Form::Pairs { weights };
    let wdl = |form, phi, prediction| Wdl {
        form,
        phi,
        prediction,
        epsilon: 0.1,
        lambda_ratio: 0.5,
        ascent: true,
        ..Wdl::default()
    };
    let all: Vec<AnyLoss> = vec![
        Zlpr::soft().with_smoothing(0.2).into(),
        Zlpr::two_way(2.0, 0.5).with_half(Half::Class).into(),
        Zlpr::two_way(4.0, 1.0)
            .with_half(Half::Both)
            .with_reduction(Reduction::MeanActive)
            .into(),
        Zlpr::kl_symmetric(2.0).into(),
        Zlpr::kl_excess().into(),
        Bce::default()
            .with_pos_weight(3.0)
            .with_smoothing(0.1)
            .with_row_mean()
            .into(),
        Focal::default()
            .without_alpha()
            .with_gamma(0.5)
            .with_detached_focus()
            .into(),
        Asl::default()
            .with_margin(0.0)
            .with_gamma_neg(1.0)
            .with_detached_focus()
            .into(),
        Asl::default()
            .with_gamma_neg(0.0)
            .with_gamma_pos(0.0)
            .with_smoothing(0.1)
            .into(),
        wgloss::Dice::default()
            .with_squares()
            .with_smooth(0.5)
            .into(),
        wdl(Form::Adjacent, Phi::Abs, Prediction::Softmax).into(),
        wdl(
            pairs(PairWeights::Additive),
            Phi::Square,
            Prediction::Sigmoid,
        )
        .into(),
        wdl(
            pairs(PairWeights::Rank(3)),
            Phi::Huber { delta: 0.05 },
            Prediction::Softmax,
        )
        .into(),
        wdl(pairs(PairWeights::RankOne), Phi::Abs, Prediction::Sigmoid).into(),
    ];
    for settings in all {
        for options in [0, 0b1100_0001, 0xff] {
            Case::new(settings, &mut numbers, options).check(&format!("options {options:08b}"));
        }
    }
}

/// A label whose logit is -inf is left out by the ZLPR family; what a mask leaves out may hold anything.
#[test]
fn what_is_left_out_is_not_looked_at() {
    let mut numbers = Numbers(3);
    let mut case = Case::new(Zlpr::hard().into(), &mut numbers, 0);
    case.logits[1] = f32::NEG_INFINITY;
    case.check("a logit of -inf");
    let mut case = Case::new(Bce::default().into(), &mut numbers, 0b0000_1100);
    let mut mask = vec![true; case.rows * case.cols];
    mask[1] = false;
    case.mask = Some(mask);
    case.logits[1] = f32::NAN;
    case.sample_weight = Some((0..case.rows).map(|row| row as f32).collect());
    case.logits[0] = f32::NAN;
    case.check("NaN that does not count");
}
