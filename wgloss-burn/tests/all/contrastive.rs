//! The contrastive family, both ways, against the reference.

use crate::common::{Numbers, bools, close, devices, f64s, floats, gradient, ints, read};
use burn::module::Param;
use burn::tensor::Device;
use wgloss::losses::contrastive::{Normalizer, Placement, Roles, Weighting};
use wgloss::{Contrastive, ContrastiveReduction, Denominator, reference};
use wgloss_burn::{ContrastiveExtras, ContrastiveKeys, ContrastiveLossConfig, Labels};

struct Case {
    settings: Contrastive,
    sizes: [usize; 4],
    embeddings: Vec<f32>,
    labels: Vec<bool>,
    /// Whether labels are whole numbers.
    whole: bool,
    keys: Option<(Vec<f32>, Vec<bool>)>,
    self_index: Option<Vec<Option<usize>>>,
    row_mask: Option<Vec<bool>>,
    key_mask: Option<Vec<bool>>,
    positives: Option<Vec<bool>>,
    pair_mask: Option<Vec<bool>>,
    label_weight: Option<Vec<f32>>,
    upstream: Vec<f32>,
}

struct Outcome {
    loss: Vec<f64>,
    embeddings: Vec<f64>,
    keys: Vec<f64>,
    temperature: Vec<f64>,
    bias: Vec<f64>,
}

impl Case {
    fn new(settings: Contrastive, numbers: &mut Numbers, options: u64) -> Case {
        let has = |bit: u32| options >> bit & 1 == 1;
        let paired = settings.weighting == Weighting::Paired;
        let by_label = matches!(settings.weighting, Weighting::MulSupCon { .. });
        let (n, m, d, l) = (
            2 + numbers.below(15),
            3 + numbers.below(40),
            2 + numbers.below(20),
            2 + numbers.below(9),
        );
        let keys = has(0) || paired;
        let m = if keys { m } else { n };
        let losses = if settings.reduction == ContrastiveReduction::None {
            n
        } else {
            1
        };
        let index = |numbers: &mut Numbers| {
            (0..n)
                .map(|_| (numbers.below(5) > 0).then(|| numbers.below(m)))
                .collect()
        };
        Case {
            settings,
            sizes: [n, m, d, l],
            embeddings: numbers.reals(n * d, -2.0, 2.0),
            labels: numbers.flags(n * l, 0.4),
            whole: has(1),
            keys: keys.then(|| (numbers.reals(m * d, -2.0, 2.0), numbers.flags(m * l, 0.4))),
            self_index: (keys && (paired || has(2))).then(|| index(numbers)),
            row_mask: has(3).then(|| numbers.flags(n, 0.8)),
            key_mask: (keys && has(4)).then(|| numbers.flags(m, 0.8)),
            positives: (settings.weighting == Weighting::Given).then(|| numbers.flags(n * m, 0.3)),
            pair_mask: (has(5) && !by_label).then(|| numbers.flags(n * m, 0.8)),
            label_weight: (has(5) && by_label).then(|| numbers.reals(l, 0.2, 2.0)),
            upstream: numbers.reals(losses, -2.0, 2.0),
        }
    }

    fn reference(&self) -> Outcome {
        let [n, m, d, l] = self.sizes;
        let keys = self
            .keys
            .as_ref()
            .map(|(embeddings, labels)| (f64s(embeddings), labels));
        let weight = self.label_weight.as_deref().map(f64s);
        let out = reference::contrastive(
            &self.settings,
            &reference::ContrastiveInputs {
                rows: n,
                dims: d,
                classes: l,
                embeddings: &f64s(&self.embeddings),
                labels: &self.labels,
                keys: keys
                    .as_ref()
                    .map(|(embeddings, labels)| reference::ContrastiveKeys {
                        rows: m,
                        embeddings,
                        labels,
                    }),
                self_index: self.self_index.as_deref(),
                row_mask: self.row_mask.as_deref(),
                key_mask: self.key_mask.as_deref(),
                positives: self.positives.as_deref(),
                pair_mask: self.pair_mask.as_deref(),
                label_weight: weight.as_deref(),
                grad_loss: Some(&f64s(&self.upstream)),
            },
        );
        let out = out.expect("a case that the reference takes");
        Outcome {
            loss: out.loss,
            embeddings: out.grad_embeddings,
            keys: out.grad_keys,
            temperature: out.grad_temperature,
            bias: out.grad_bias,
        }
    }

    fn run(&self, device: &Device) -> Outcome {
        let [n, m, d, l] = self.sizes;
        let labels = |flags: &[bool], rows: usize| match self.whole {
            true => {
                let numbers: Vec<i32> = flags.iter().map(|flag| i32::from(*flag) * 7).collect();
                Labels::Int(ints(&numbers, [rows, l], device))
            }
            false => Labels::Bool(bools(flags, [rows, l], device)),
        };
        let embeddings = floats(&self.embeddings, [n, d], device).require_grad();
        let keys = self.keys.as_ref().map(|(values, sets)| {
            let key = |index: &Option<usize>| index.map_or(-1, |key| key as i32);
            ContrastiveKeys {
                embeddings: floats(values, [m, d], device).require_grad(),
                labels: labels(sets, m),
                self_index: self.self_index.as_ref().map(|all| {
                    let all: Vec<i32> = all.iter().map(key).collect();
                    ints(&all, [n], device)
                }),
                mask: self.key_mask.as_ref().map(|mask| bools(mask, [m], device)),
            }
        });
        let extras = ContrastiveExtras {
            keys: keys.clone(),
            row_mask: self.row_mask.as_ref().map(|mask| bools(mask, [n], device)),
            positives: self
                .positives
                .as_ref()
                .map(|flags| bools(flags, [n, m], device)),
            pair_mask: self
                .pair_mask
                .as_ref()
                .map(|flags| bools(flags, [n, m], device)),
            label_weight: self
                .label_weight
                .as_ref()
                .map(|weight| floats(weight, [l], device)),
        };
        let sigmoid = self.settings.denominator == Denominator::Sigmoid;
        let loss = ContrastiveLossConfig::of(self.settings)
            .with_learn_temperature(true)
            .with_learn_bias(sigmoid)
            .init(device);
        let value = loss.forward_with(embeddings.clone(), labels(&self.labels, n), &extras);
        let grads = (value.clone() * floats(&self.upstream, [self.upstream.len()], device))
            .sum()
            .backward();
        let learnt = |param: &Option<Param<burn::tensor::Tensor<1>>>| {
            param
                .as_ref()
                .map_or(Vec::new(), |param| gradient(&param.val(), &grads))
        };
        Outcome {
            loss: read(&value),
            embeddings: gradient(&embeddings, &grads),
            keys: keys.map_or(Vec::new(), |keys| gradient(&keys.embeddings, &grads)),
            temperature: learnt(&loss.temperature),
            bias: learnt(&loss.bias),
        }
    }

    fn check(&self, options: u64) {
        let expected = self.reference();
        for (way, device) in devices() {
            let found = self.run(&device);
            let what = format!(
                "{way}: options {options:08b} {:?} {:?}",
                self.settings, self.sizes
            );
            close(&format!("{what}, loss"), &found.loss, &expected.loss, 5e-5);
            close(
                &format!("{what}, embeddings"),
                &found.embeddings,
                &expected.embeddings,
                2e-4,
            );
            close(&format!("{what}, keys"), &found.keys, &expected.keys, 2e-4);
            close(
                &format!("{what}, temperature"),
                &found.temperature,
                &expected.temperature,
                5e-4,
            );
            close(&format!("{what}, bias"), &found.bias, &expected.bias, 2e-4);
        }
    }
}

#[test]
fn every_loss_agrees_with_the_reference() {
    let mut numbers = Numbers(11);
    let placed = |placement, normalizer, roles| {
        Contrastive::new(
            Weighting::SimDis {
                placement,
                normalizer,
                roles,
            },
            0.5,
        )
    };
    let mut all: Vec<Contrastive> = Contrastive::CATALOG
        .iter()
        .map(|(_, _, loss)| loss.with_temperature(0.4))
        .collect();
    all.extend([
        placed(Placement::Outside, Normalizer::KSum, Roles::Anchor),
        placed(Placement::Numerator, Normalizer::Count, Roles::Key),
        placed(Placement::Both, Normalizer::Count, Roles::Anchor),
        Contrastive::new(Weighting::Given, 0.3),
        Contrastive::sig_lip().with_temperature(0.5),
        Contrastive::new(Weighting::Any, 0.5)
            .with_denominator(Denominator::Sigmoid)
            .with_bias(-1.0),
    ]);
    for (i, settings) in all.into_iter().enumerate() {
        let sigmoid = settings.denominator == Denominator::Sigmoid;
        let denominators = match sigmoid {
            true => vec![Denominator::Sigmoid],
            false => vec![
                Denominator::All,
                Denominator::Negatives,
                Denominator::OnePositive,
            ],
        };
        for denominator in denominators {
            let settings = settings.with_denominator(denominator);
            if settings.check().is_err() {
                continue;
            }
            let some = numbers.word() & 0x3f;
            let options = match denominator {
                Denominator::All | Denominator::Sigmoid => vec![0, 0x3f],
                _ => vec![some],
            };
            for options in options {
                Case::new(settings, &mut numbers, options).check(options);
            }
        }
        let reductions = [
            ContrastiveReduction::MeanAll,
            ContrastiveReduction::MeanLabels,
            ContrastiveReduction::Sum,
            ContrastiveReduction::None,
        ];
        // Two of them with each loss: the rest of the call has nothing to do with it, and a software driver takes a second
        // for a kernel.
        for reduction in reductions.into_iter().skip(i % 2).step_by(2) {
            let options = numbers.word() & 0x3f;
            let mut settings = settings.with_reduction(reduction);
            settings.normalize = options & 1 == 0;
            Case::new(settings, &mut numbers, options).check(options);
        }
    }
}
