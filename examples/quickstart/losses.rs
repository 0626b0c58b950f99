//! The losses by the names that `wgloss run` gives them, what each learns beside the network, and how labels are
//! predicted after it.

use crate::data::Set;
use crate::metrics;
use crate::model::{Mlp, Parameter};
use wgloss::host::{Dense, Engine, Rows, RowsResult, Values, Wanted};
use wgloss::{
    AnyLoss, CATALOG, Error, Order, Rowwise, Scope, TargetKind, Targets, Threshold, Wdl, Zlpr,
};

/// Where a label is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Where the logit is positive.
    Zero,
    /// Where it is above the threshold that was learnt beside the network.
    Learnt,
    /// Where it is above the threshold with the best micro F1 on held-out rows, since 0 means nothing to the loss.
    Chosen,
}

/// A loss with its settings.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    /// What it is called.
    pub name: &'static str,
    /// Where a label is predicted.
    pub decision: Decision,
    /// Its settings, for the help.
    pub about: &'static str,
    /// Itself.
    pub config: AnyLoss,
}

/// Every loss of the catalogue that compares logits with labels, and the other form of WDL.
pub fn all() -> Vec<Loss> {
    let mut all = Vec::new();
    for entry in CATALOG {
        let plain = Loss {
            name: entry.name,
            decision: if entry.threshold {
                Decision::Learnt
            } else {
                decision(entry.name)
            },
            about: entry.summary,
            config: entry.loss(),
        };
        match entry.name {
            _ if plain.config.takes().targets == TargetKind::Logits => {}
            "zlpr-soft" => all.push(Loss {
                about: "ZLPR of soft labels: smoothed by 0.1",
                // Without smoothing it is zlpr where labels are 0 and 1.
                config: Zlpr::soft().with_smoothing(0.1).into(),
                ..plain
            }),
            // Descent would move weight to the labels that are already fitted.
            "wdl" => all.extend([
                Loss {
                    about: "weighted difference of all pairs, the labels' weights learnt by ascent",
                    config: Wdl::default().with_ascent().into(),
                    ..plain
                },
                Loss {
                    name: "wdl-adjacent",
                    about: "of neighbours in seeded orders, others in each step; the places' weights learnt by ascent",
                    config: Wdl::adjacent().with_ascent().into(),
                    ..plain
                },
            ]),
            _ => all.push(plain),
        }
    }
    all
}

/// Where a label is predicted after a loss. LSEP and two-way see differences of logits alone; focal, ASL and Hill weigh
/// positives and negatives differently, so that an even chance is not at 0. What is not known here is chosen.
fn decision(name: &str) -> Decision {
    match name {
        "zlpr" | "zlpr-soft" | "bce" | "dice" | "wdl" => Decision::Zero,
        _ => Decision::Chosen,
    }
}

/// A loss in training.
pub struct Learner {
    loss: Loss,
    /// TLPR's, one for the batch: one for each label would do what the network's last bias does.
    threshold: Option<Parameter>,
    /// What WDL makes its weights of.
    theta: Option<Parameter>,
    /// Of the next order of the labels.
    seed: u64,
}

impl Learner {
    /// Begins with a threshold of 0 and equal weights.
    pub fn new(loss: Loss, classes: usize, seed: u64) -> Self {
        let zeros = |len| Parameter::new(vec![0.0; len]);
        Learner {
            loss,
            threshold: (loss.decision == Decision::Learnt).then(|| zeros(1)),
            theta: (loss.config.takes().theta).map(|shape| zeros(shape.of(classes).1)),
            seed,
        }
    }

    /// Loss and gradient of a batch's logits. What the loss itself learns takes one step.
    pub fn step(
        &mut self,
        engine: &Engine,
        batch: &Set,
        logits: &[f32],
        rate: f32,
    ) -> Result<RowsResult, Error> {
        let (logits, labels) = (Values::F32(logits), Targets::Dense(Dense::Flags(&batch.y)));
        let mut rows = Rows::new(batch.rows, batch.classes, logits, labels);
        rows.threshold = (self.threshold.as_ref()).map(|t| Threshold::Batch(&t.value[..]));
        rows.theta = self.theta.as_ref().map(|theta| &theta.value[..]);
        if self.loss.config.takes().permutation {
            rows.permutation = Some(Order::Seeded {
                seed: self.seed,
                scope: Scope::Row,
            });
            self.seed = self.seed.wrapping_add(1);
        }
        let result = engine.rows(&self.loss.config, &rows, Wanted::Gradients)?;
        if let Some(threshold) = &mut self.threshold {
            threshold.learn(&result.grad_threshold, rate, 0.0);
        }
        if let Some(theta) = &mut self.theta {
            theta.learn(&result.grad_theta, rate, 0.0);
        }
        Ok(result)
    }

    /// Above which a label is predicted.
    pub fn threshold(&self, model: &Mlp, held_out: &Set) -> f32 {
        match (&self.threshold, self.loss.decision) {
            (Some(threshold), _) => threshold.value[0],
            (None, Decision::Chosen) => {
                metrics::best_threshold(&model.predict(&held_out.x), &held_out.y)
            }
            (None, _) => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Decision, Learner, Loss, all};
    use crate::data::Set;
    use crate::model::{Mlp, Rng};
    use wgloss::Zlpr;
    use wgloss::host::{Engine, RowsResult};

    fn batch() -> Set {
        Set {
            rows: 2,
            features: 1,
            classes: 4,
            x: vec![1.0, -1.0],
            y: vec![1, 0, 1, 0, 0, 0, 0, 1],
        }
    }

    const LOGITS: [f32; 8] = [0.5, 1.0, -0.5, 0.0, -1.0, 2.0, 0.25, -0.25];

    fn steps(loss: Loss, count: usize) -> (Learner, Vec<RowsResult>) {
        let mut learner = Learner::new(loss, 4, 1);
        let step = |_| learner.step(&Engine::reference(), &batch(), &LOGITS, 0.1);
        let results = (0..count).map(step).collect::<Result<_, _>>().unwrap();
        (learner, results)
    }

    fn named(name: &str) -> Loss {
        all().into_iter().find(|loss| loss.name == name).unwrap()
    }

    #[test]
    fn every_loss_pulls_up_what_is_present() {
        for loss in all() {
            let (_, results) = steps(loss, 1);
            let grad = &results[0].grad_logits;
            assert!(results[0].loss[0].is_finite(), "{}", loss.name);
            // The lowest present label of either row, and the highest absent one.
            assert!(grad[2] < 0.0 && grad[7] < 0.0, "{}: {grad:?}", loss.name);
            // SPLC takes an absent one with such a logit for present.
            let down = loss.name != "splc";
            assert!(
                (grad[1] > 0.0 && grad[5] > 0.0) == down,
                "{}: {grad:?}",
                loss.name
            );
        }
    }

    #[test]
    fn threshold_is_learnt_by_tlpr_alone() {
        let model = Mlp::new([1, 2, 4], &mut Rng::new(1));
        for loss in all() {
            let (learner, _) = steps(loss, 3);
            let threshold = learner.threshold(&model, &batch());
            match loss.decision {
                Decision::Learnt => assert!(threshold != 0.0 && loss.name == "tlpr"),
                Decision::Zero => assert_eq!(threshold, 0.0, "{}", loss.name),
                Decision::Chosen => assert!(threshold.is_finite(), "{}", loss.name),
            }
        }
    }

    #[test]
    fn weights_and_orders_of_wdl_move() {
        for name in ["wdl", "wdl-adjacent"] {
            let (learner, results) = steps(named(name), 3);
            let theta = learner.theta.unwrap().value;
            assert!(theta.iter().any(|theta| *theta != 0.0), "{name}: {theta:?}");
            assert_ne!(results[0].grad_logits, results[1].grad_logits, "{name}");
        }
        let (first, again) = (
            steps(named("wdl-adjacent"), 2),
            steps(named("wdl-adjacent"), 2),
        );
        assert_eq!(first.1, again.1);
    }

    #[test]
    fn soft_form_differs_from_zlpr_by_its_smoothing() {
        let (_, hard) = steps(named("zlpr"), 1);
        let (_, smoothed) = steps(named("zlpr-soft"), 1);
        let plain = Loss {
            config: Zlpr::soft().into(),
            ..named("zlpr-soft")
        };
        let (_, plain) = steps(plain, 1);
        assert!((plain[0].loss[0] - hard[0].loss[0]).abs() < 1e-5);
        assert!((smoothed[0].loss[0] - hard[0].loss[0]).abs() > 1e-3);
    }
}
