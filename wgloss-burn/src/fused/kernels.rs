//! From the tensors of a call, by name, to wgloss's calls.

use crate::fused::buffers::Held;
use std::sync::Arc;
use wgloss::{
    AnyLoss, Balance, BalanceInputs, BalanceOutputs, BalanceState, Context, Contrastive,
    ContrastiveInputs, ContrastiveOutputs, Error, Gradient, Hcal, HcalInputs, HcalOutputs,
    Hierarchy, Keys, Levels, Mcm, McmInputs, McmOutputs, Noise, Order, Prepared, RowInputs,
    RowOutputs, Rowwise, Scope, Seed, Setting, Targets, Tensor, Threshold,
};

/// A loss with its settings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Loss {
    /// A loss of rows; how many thresholds there are, where there are any.
    Rows(AnyLoss, Option<Threshold<()>>),
    /// A contrastive loss, and how many labels there are.
    Contrastive(Contrastive, usize),
    /// HCAL over levels.
    Hcal(Hcal, Arc<Levels>),
    /// The constraint module of a hierarchy.
    Mcm(Mcm, Arc<Hierarchy>),
    /// Weights of losses.
    Balance(Balance),
}

/// Where the tensors of a call lie, by name.
pub(super) struct Places<'a> {
    pub(super) inputs: &'a [(&'static str, Held)],
    pub(super) outputs: &'a [(&'static str, Held)],
}

impl<'a> Places<'a> {
    fn find(all: &'a [(&'static str, Held)], name: &str) -> Option<&'a Held> {
        all.iter()
            .find(|(other, _)| *other == name)
            .map(|(_, held)| held)
    }

    fn get(&self, name: &str) -> Option<Tensor<'a>> {
        Places::find(self.inputs, name).map(Held::view)
    }

    fn need(&self, name: &str) -> Result<Tensor<'a>, Error> {
        self.get(name)
            .ok_or_else(|| Error::refused(name, "this loss needs it"))
    }

    fn flags(&self, name: &str, rows: usize, cols: usize) -> Option<Tensor<'a>> {
        Places::find(self.inputs, name).map(|held| held.flags(rows, cols))
    }

    /// Words of bits, one row of them for each of `rows`.
    fn bits(&self, name: &str, rows: usize, cols: usize) -> Option<Tensor<'a>> {
        Places::find(self.inputs, name).map(|held| held.words(rows, cols.div_ceil(32)))
    }

    /// The rows that each level has of one tensor.
    fn by_level(
        &self,
        all: &'a [(&'static str, Held)],
        name: &str,
        levels: &Levels,
    ) -> Option<Vec<Tensor<'a>>> {
        let held = Places::find(all, name)?;
        let mut first = 0;
        let of_level = |classes: &usize| {
            first += classes;
            held.rows(first - classes, *classes)
        };
        Some(levels.classes().iter().map(of_level).collect())
    }

    fn made(&self, name: &str) -> Option<Tensor<'a>> {
        Places::find(self.outputs, name).map(Held::view)
    }

    fn gradient(&self, name: &str) -> Option<Gradient<'a>> {
        self.made(name).map(Gradient::To)
    }

    /// Settings that are learnt.
    fn settings<const N: usize>(&self, names: [&'static str; N]) -> Vec<Setting<'a>> {
        let setting = |name| self.get(name).map(|value| Setting { name, value });
        names.into_iter().filter_map(setting).collect()
    }
}

impl Loss {
    /// Checks a call and makes what it needs.
    pub(super) fn prepare(&self, cx: &Context, places: &Places<'_>) -> Result<Prepared, Error> {
        match self {
            Loss::Rows(loss, threshold) => rows(loss, *threshold, cx, places),
            Loss::Contrastive(loss, classes) => contrastive(loss, *classes, cx, places),
            Loss::Hcal(loss, levels) => hcal(loss, levels, cx, places),
            Loss::Mcm(loss, hierarchy) => mcm(loss, hierarchy, cx, places),
            Loss::Balance(balance) => {
                let inputs = BalanceInputs {
                    losses: places.need("losses")?,
                    state: state(places),
                    grad_loss: places.get("grad_loss"),
                    settings: &[],
                };
                let outputs = BalanceOutputs {
                    weights: places.made("weights"),
                    loss: places.made("loss"),
                    grad_losses: places.gradient("grad_losses"),
                    grad_log_variances: places.gradient("grad_log_variances"),
                };
                balance.prepare(cx, &inputs, &outputs)
            }
        }
    }
}

fn rows(
    loss: &AnyLoss,
    threshold: Option<Threshold<()>>,
    cx: &Context,
    places: &Places<'_>,
) -> Result<Prepared, Error> {
    let logits = places.need("logits")?;
    let (rows, cols) = (logits.rows(), logits.cols());
    let mut inputs = RowInputs::new(logits, Targets::Dense(places.need("targets")?));
    inputs.class_mask = places.flags("class_mask", 1, cols);
    inputs.mask = places.flags("mask", rows, cols);
    inputs.sample_weight = places.get("sample_weight");
    inputs.class_weight = places.get("class_weight");
    inputs.weight = places.get("weight");
    inputs.pos_weight = places.get("pos_weight");
    inputs.alpha = places.get("alpha");
    inputs.theta = places.get("theta");
    inputs.theta0 = places.get("theta0");
    inputs.grad_loss = places.get("grad_loss");
    if let (Some(form), Some(values)) = (threshold, places.get("threshold")) {
        inputs.threshold = Some(form.map(|()| values));
    }
    inputs.permutation = match (places.get("permutation"), places.get("seed")) {
        (Some(one), _) if one.rows() == 1 => Some(Order::Batch(one)),
        (Some(each), _) => Some(Order::PerRow(each)),
        (None, Some(words)) => Some(Order::Seeded {
            seed: Seed::fixed(words),
            scope: Scope::Batch,
        }),
        (None, None) => None,
    };
    let outputs = RowOutputs {
        loss: places.made("loss"),
        grad_logits: places.gradient("grad_logits"),
        grad_targets: places.gradient("grad_targets"),
        grad_threshold: places.gradient("grad_threshold"),
        grad_theta: places.gradient("grad_theta"),
        grad_theta0: places.gradient("grad_theta0"),
    };
    loss.prepare(cx, &inputs, &outputs)
}

fn contrastive(
    loss: &Contrastive,
    classes: usize,
    cx: &Context,
    places: &Places<'_>,
) -> Result<Prepared, Error> {
    let embeddings = places.need("embeddings")?;
    let mut inputs =
        ContrastiveInputs::new(embeddings, classes, Targets::Dense(places.need("labels")?));
    let mut others = embeddings.rows();
    if let Some(embeddings) = places.get("keys") {
        others = embeddings.rows();
        let labels = Targets::Dense(places.need("key_labels")?);
        inputs.keys = Some(Keys { embeddings, labels });
    }
    inputs.self_index = places.get("self_index");
    inputs.row_mask = places.flags("row_mask", 1, embeddings.rows());
    inputs.key_mask = places.flags("key_mask", 1, others);
    inputs.positives = places.bits("positives", embeddings.rows(), others);
    inputs.pair_mask = places.bits("pair_mask", embeddings.rows(), others);
    inputs.label_weight = places.get("label_weight");
    inputs.grad_loss = places.get("grad_loss");
    let settings = places.settings(["temperature", "bias"]);
    inputs.settings = &settings;
    let outputs = ContrastiveOutputs {
        loss: places.made("loss"),
        loss_rows: None,
        grad_embeddings: places.gradient("grad_embeddings"),
        grad_keys: places.gradient("grad_keys"),
        grad_temperature: places.gradient("grad_temperature"),
        grad_bias: places.gradient("grad_bias"),
        count: None,
    };
    loss.prepare(cx, &inputs, &outputs)
}

fn hcal(
    loss: &Hcal,
    levels: &Levels,
    cx: &Context,
    places: &Places<'_>,
) -> Result<Prepared, Error> {
    let prototypes = places.by_level(places.inputs, "prototypes", levels);
    let noise = places.by_level(places.inputs, "noise", levels);
    let to = places.by_level(places.outputs, "grad_prototypes", levels);
    let gradients: Option<Vec<Gradient<'_>>> =
        to.map(|to| to.into_iter().map(Gradient::To).collect());
    let inputs = HcalInputs {
        features: places.need("features")?,
        prototypes: prototypes.as_deref().unwrap_or_default(),
        labels: places.get("labels"),
        levels: levels.on_device(places.need("levels")?)?,
        noise: noise.as_deref().map(Noise::Given),
        balance: state(places),
        grad_loss: places.get("grad_loss"),
        settings: &[],
    };
    let outputs = HcalOutputs {
        losses: places.made("losses"),
        weights: places.made("weights"),
        loss: places.made("loss"),
        grad_features: places.gradient("grad_features"),
        grad_prototypes: gradients.as_deref(),
        grad_log_variances: places.gradient("grad_log_variances"),
        predictions: places.made("predictions"),
        violations: None,
    };
    loss.prepare(cx, &inputs, &outputs)
}

fn mcm(
    loss: &Mcm,
    hierarchy: &Hierarchy,
    cx: &Context,
    places: &Places<'_>,
) -> Result<Prepared, Error> {
    let logits = places.need("logits")?;
    let (rows, cols) = (logits.rows(), logits.cols());
    let mut inputs = McmInputs::new(logits, hierarchy.on_device(places.need("hierarchy")?)?);
    inputs.targets = places.get("targets").map(Targets::Dense);
    inputs.class_mask = places.flags("class_mask", 1, cols);
    inputs.mask = places.flags("mask", rows, cols);
    inputs.sample_weight = places.get("sample_weight");
    inputs.class_weight = places.get("class_weight");
    inputs.grad_loss = places.get("grad_loss");
    let outputs = McmOutputs {
        loss: places.made("loss"),
        grad_logits: places.gradient("grad_logits"),
        probabilities: places.made("probabilities"),
    };
    loss.prepare(cx, &inputs, &outputs)
}

/// What a balance learns or is given.
fn state<'a>(places: &Places<'a>) -> Option<BalanceState<Tensor<'a>>> {
    let weights = places.get("level_weights").map(BalanceState::Weights);
    let variances = || places.get("log_variances").map(BalanceState::LogVariances);
    let seed = || places.get("seed").map(BalanceState::Seed);
    weights.or_else(variances).or_else(seed)
}
