//! Calls with values that are known: those that the tests of the reference have from the mathematics. A host that gets them
//! right needs no word from us.

use crate::check::case::{Case, Layout, Output};
use crate::check::numbers::Numbers;
use crate::check::tensors::Tensors;
use crate::device::context::Context;
use crate::device::prepared::Prepared;
use crate::device::tensor::DType;
use crate::error::Error;
use crate::kernels::contrastive::call::{ContrastiveInputs, ContrastiveOutputs};
use crate::kernels::mcm::call::{McmInputs, McmOutputs};
use crate::kernels::rows::call::{RowInputs, RowOutputs};
use crate::losses::contrastive::Contrastive;
use crate::losses::hierarchy::Hierarchy;
use crate::losses::labels::{TargetNames, Targets};
use crate::losses::mcm::Mcm;
use crate::losses::zlpr::Zlpr;
use std::fmt;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoldenCase {
    /// ZLPR of five labels.
    Zlpr,
    /// Similarity-Dissimilarity of six embeddings.
    SimDis,
    /// The constraint module: two classes below a third.
    Mcm,
}

/// All of them.
pub fn golden_cases() -> Vec<GoldenCase> {
    vec![GoldenCase::Zlpr, GoldenCase::SimDis, GoldenCase::Mcm]
}

/// Sizes that cancel in the losses.
const SIZE: f64 = 4.0;

impl GoldenCase {
    fn loss(self) -> f64 {
        match self {
            GoldenCase::Zlpr => 1.879_123_925_704_723_2,
            GoldenCase::SimDis => 0.871_698_416_124_224_5,
            GoldenCase::Mcm => 0.372_551_525_655,
        }
    }

    fn hierarchy() -> Result<Hierarchy, Error> {
        Hierarchy::from_edges(4, &[[1, 0], [2, 0]])
    }
}

impl fmt::Display for GoldenCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "golden {self:?}")
    }
}

impl Case for GoldenCase {
    fn name(&self) -> &'static str {
        "golden"
    }

    fn layout(&self) -> Layout {
        Layout::Apart
    }

    fn numbers(&self) -> Result<Numbers, Error> {
        let mut n = Numbers::default();
        let flags = Targets::Dense(DType::U8);
        match self {
            GoldenCase::Zlpr => {
                n.put(
                    "logits",
                    DType::F32,
                    (1, 5),
                    vec![2.0, -1.0, 0.5, 0.0, -3.0],
                );
                let labels = vec![1.0, 0.0, 0.0, 1.0, 0.0];
                n.put_labels(TargetNames::TARGETS, flags, (1, 5), labels);
            }
            GoldenCase::SimDis => {
                let x = vec![3.0, 4.0, 4.0, 3.0, 0.0, 5.0, -3.0, 4.0, 5.0, 0.0, 1.0, -1.0];
                n.put("embeddings", DType::F32, (6, 2), x);
                let sets = [0b011, 0b011, 0b001, 0b110, 0b111, 0b000];
                let labels = sets
                    .iter()
                    .flat_map(|set| (0..3).map(move |l| f64::from(set >> l & 1)));
                n.put_labels(TargetNames::LABELS, flags, (6, 3), labels.collect());
            }
            GoldenCase::Mcm => {
                n.put("logits", DType::F32, (1, 4), vec![0.5, -1.0, 0.25, -2.0]);
                n.put_labels(
                    TargetNames::TARGETS,
                    flags,
                    (1, 4),
                    vec![1.0, 0.0, 1.0, 0.0],
                );
                let words = GoldenCase::hierarchy()?.words();
                n.put_words("hierarchy", (1, words.len()), &words);
            }
        }
        Ok(n)
    }

    fn outputs(&self, _numbers: &Numbers) -> Result<Vec<Output>, Error> {
        let near = |name: &str, shape, truth: Vec<f64>| {
            let naive = truth.iter().map(|value| *value as f32).collect();
            Output::near(name, DType::F32, shape, truth, naive).cancelling(SIZE)
        };
        let mut all = vec![near("loss", (1, 1), vec![self.loss()])];
        if *self == GoldenCase::Zlpr {
            let gradient = vec![
                -0.063_378_938_333_037_63,
                0.119_971_597_702_726_6,
                0.537_675_398_175_305_1,
                -0.468_310_530_833_481_2,
                0.016_236_390_155_447_464,
            ];
            all.push(near("grad_logits", (1, 5), gradient));
        }
        Ok(all)
    }

    fn prepare(
        &self,
        cx: &Context,
        _numbers: &Numbers,
        t: &Tensors,
    ) -> Result<Vec<Prepared>, Error> {
        let loss = Some(t.get("loss")?);
        let call = match self {
            GoldenCase::Zlpr => {
                let inputs = RowInputs::new(t.get("logits")?, t.labels(TargetNames::TARGETS)?);
                let outputs = RowOutputs {
                    loss,
                    grad_logits: Some(t.get("grad_logits")?.into()),
                    ..RowOutputs::default()
                };
                Zlpr::hard().prepare(cx, &inputs, &outputs)?
            }
            GoldenCase::SimDis => {
                let labels = t.labels(TargetNames::LABELS)?;
                let inputs = ContrastiveInputs::new(t.get("embeddings")?, 3, labels);
                let outputs = ContrastiveOutputs {
                    loss,
                    ..ContrastiveOutputs::default()
                };
                let config = Contrastive::sim_dis().with_temperature(0.5);
                config.prepare(cx, &inputs, &outputs)?
            }
            GoldenCase::Mcm => {
                let hierarchy = GoldenCase::hierarchy()?;
                let inputs = McmInputs {
                    targets: Some(t.labels(TargetNames::TARGETS)?),
                    ..McmInputs::new(t.get("logits")?, hierarchy.on_device(t.get("hierarchy")?)?)
                };
                let outputs = McmOutputs {
                    loss,
                    ..McmOutputs::default()
                };
                Mcm::default().prepare(cx, &inputs, &outputs)?
            }
        };
        Ok(vec![call])
    }
}
