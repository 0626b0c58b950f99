//! The losses of the page, and the small batches that it computes them of.

use wasm_bindgen::prelude::wasm_bindgen;
use wgloss::host::{Dense, Embeddings, Engine, KeyEmbeddings, McmRows, Rows, Values, Wanted};
use wgloss::losses::contrastive::Weighting;
use wgloss::{
    AnyLoss, CATALOG, Contrastive, ContrastiveReduction, Entry, Error, Hierarchy, Mcm, Order,
    Reduction, Rowwise, Scope, TargetKind, Targets, Threshold,
};

/// How far GPU and reference may be apart, as a share of the largest number of a tensor: device functions of WGSL may be off
/// by some units in the last place of f32, and so are sums. Numbers that are all small are differences of larger ones.
const TOLERANCE: f32 = 2e-5;
const SMALL: f32 = 0.1;

/// The tree of the constraint module: edges from parent to child.
const TREE: [[u32; 2]; 6] = [[0, 1], [0, 2], [1, 3], [1, 4], [2, 5], [2, 6]];
const NODES: usize = 7;

/// How the losses of the rows become the result, by the names of [`Reduction::name`].
const REDUCTIONS: [Reduction; 3] = [Reduction::None, Reduction::Mean, Reduction::Sum];

/// A loss, its shape of batch.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Rows(&'static Entry),
    Contrastive(&'static str, &'static str, Contrastive),
    Mcm,
}

/// A loss to choose.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Loss(Kind);

/// Every loss, as the crate's own lists have them.
pub fn all() -> Vec<Loss> {
    let rows = CATALOG.iter().map(Kind::Rows);
    let contrastive = Contrastive::CATALOG.iter();
    let contrastive =
        contrastive.map(|(name, summary, loss)| Kind::Contrastive(name, summary, *loss));
    rows.chain(contrastive)
        .chain([Kind::Mcm])
        .map(Loss)
        .collect()
}

fn named(name: &str) -> Result<Kind, Error> {
    let found = all().into_iter().find(|loss| loss.name() == name);
    let found = found.map(|loss| loss.0);
    found.ok_or_else(|| Error::value("loss", "one of the list", name))
}

#[wasm_bindgen]
impl Loss {
    /// What tables and the command call it.
    #[wasm_bindgen(getter)]
    pub fn name(&self) -> String {
        match self.0 {
            Kind::Rows(entry) => entry.name,
            Kind::Contrastive(name, ..) => name,
            Kind::Mcm => "mcm",
        }
        .into()
    }

    /// What it is, in a line.
    #[wasm_bindgen(getter)]
    pub fn summary(&self) -> String {
        match self.0 {
            Kind::Rows(entry) => entry.summary,
            Kind::Contrastive(_, summary, _) => summary,
            Kind::Mcm => "Max constraint loss over a tree (C-HMCNN)",
        }
        .into()
    }

    /// The group under which it stands.
    #[wasm_bindgen(getter)]
    pub fn group(&self) -> String {
        match self.0 {
            Kind::Rows(_) => "Losses of rows",
            Kind::Contrastive(..) => "Contrastive losses of label sets",
            Kind::Mcm => "Hierarchies",
        }
        .into()
    }

    /// What a row is.
    #[wasm_bindgen(getter)]
    pub fn row(&self) -> String {
        match self.0 {
            Kind::Contrastive(..) => "anchor",
            Kind::Rows(_) | Kind::Mcm => "row",
        }
        .into()
    }

    /// What the numbers are.
    #[wasm_bindgen(getter)]
    pub fn values(&self) -> String {
        match self.0 {
            Kind::Contrastive(..) => "embeddings",
            Kind::Rows(_) | Kind::Mcm => "logits",
        }
        .into()
    }

    /// How many numbers a row has, where that is the loss's own.
    #[wasm_bindgen(getter)]
    pub fn cols(&self) -> Option<usize> {
        match self.0 {
            Kind::Mcm => Some(NODES),
            Kind::Rows(_) | Kind::Contrastive(..) => None,
        }
    }

    /// What the targets are: `labels`, `soft labels` or `other logits`.
    #[wasm_bindgen(getter)]
    pub fn targets(&self) -> String {
        match self.0 {
            Kind::Rows(entry) => match entry.loss().target_kind() {
                TargetKind::Soft | TargetKind::Proportions => "soft labels",
                TargetKind::Logits => "other logits",
                _ => "labels",
            },
            Kind::Contrastive(..) | Kind::Mcm => "labels",
        }
        .into()
    }

    /// The name of the one number beside them, where there is one, and what it is at first.
    #[wasm_bindgen(getter)]
    pub fn setting(&self) -> Option<String> {
        match self.0 {
            Kind::Rows(entry) => entry.threshold.then_some("threshold"),
            Kind::Contrastive(..) => Some("temperature"),
            Kind::Mcm => None,
        }
        .map(Into::into)
    }

    /// What the setting is at first.
    #[wasm_bindgen(getter)]
    pub fn setting_default(&self) -> f32 {
        match self.0 {
            Kind::Contrastive(_, _, loss) => loss.temperature,
            Kind::Rows(_) | Kind::Mcm => 0.0,
        }
    }

    /// How the losses of the rows can become the result.
    #[wasm_bindgen(getter)]
    pub fn reductions(&self) -> Vec<String> {
        REDUCTIONS.map(|reduction| reduction.name().into()).into()
    }

    /// The parent of each column's class, -1 of the root; of a loss over a tree.
    #[wasm_bindgen(getter)]
    pub fn parents(&self) -> Vec<i32> {
        let parent = |node: usize| {
            let edge = TREE.iter().find(|[_, child]| *child as usize == node);
            edge.map_or(-1, |[parent, _]| *parent as i32)
        };
        match self.0 {
            Kind::Mcm => (0..NODES).map(parent).collect(),
            Kind::Rows(_) | Kind::Contrastive(..) => Vec::new(),
        }
    }
}

/// A loss with a batch.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Batch {
    loss: String,
    reduction: String,
    rows: usize,
    values: Vec<f32>,
    targets: Vec<f32>,
    setting: f32,
}

#[wasm_bindgen]
impl Batch {
    /// `rows` rows of values and of targets, as many columns as there are.
    #[wasm_bindgen(constructor)]
    pub fn new(
        loss: String,
        reduction: String,
        rows: usize,
        values: Vec<f32>,
        targets: Vec<f32>,
        setting: f32,
    ) -> Batch {
        Batch {
            loss,
            reduction,
            rows,
            values,
            targets,
            setting,
        }
    }
}

/// What came out of a batch.
#[wasm_bindgen]
#[derive(Debug, Default)]
pub struct Found {
    loss: Vec<f32>,
    grad: Vec<f32>,
    more: Vec<f32>,
}

#[wasm_bindgen]
impl Found {
    /// The loss, or one for each row.
    #[wasm_bindgen(getter)]
    pub fn loss(&self) -> Vec<f32> {
        self.loss.clone()
    }

    /// The gradient to the values.
    #[wasm_bindgen(getter)]
    pub fn grad(&self) -> Vec<f32> {
        self.grad.clone()
    }

    /// The other gradients, and the probabilities of the constraint module, one behind the other.
    #[wasm_bindgen(getter)]
    pub fn more(&self) -> Vec<f32> {
        self.more.clone()
    }

    /// The largest difference from the truth; NaN where one has a NaN, or another number of numbers.
    pub fn difference(&self, truth: &Found) -> f32 {
        largest(
            self.pairs(truth)
                .into_iter()
                .map(|(found, truth)| apart(found, truth)),
        )
    }

    /// The same as a share of what is allowed, tensor by tensor.
    pub fn share(&self, truth: &Found) -> f32 {
        let share = |(found, truth): (&[f32], &[f32])| {
            let scale = largest(truth.iter().map(|x| x.abs()));
            apart(found, truth) / (TOLERANCE * scale.max(SMALL))
        };
        largest(self.pairs(truth).into_iter().map(share))
    }

    fn pairs<'a>(&'a self, truth: &'a Found) -> [(&'a [f32], &'a [f32]); 3] {
        [
            (&self.loss, &truth.loss),
            (&self.grad, &truth.grad),
            (&self.more, &truth.more),
        ]
    }
}

/// The largest number; NaN where there is one.
fn largest(numbers: impl Iterator<Item = f32>) -> f32 {
    numbers.fold(0.0, |most, x| if x > most || x.is_nan() { x } else { most })
}

fn apart(found: &[f32], truth: &[f32]) -> f32 {
    if found.len() != truth.len() {
        return f32::NAN;
    }
    largest(found.iter().zip(truth).map(|(f, t)| (f - t).abs()))
}

impl Batch {
    fn cols(&self, numbers: &[f32]) -> usize {
        numbers.len() / self.rows.max(1)
    }

    fn reduction(&self) -> Result<Reduction, Error> {
        let mut all = REDUCTIONS.into_iter();
        let found = all.find(|reduction| reduction.name() == self.reduction);
        found.ok_or_else(|| Error::value("reduction", "one of the list", &self.reduction))
    }

    fn flags(&self) -> Vec<u8> {
        self.targets.iter().map(|y| u8::from(*y > 0.5)).collect()
    }

    /// The loss and every gradient, on a GPU or on the reference.
    ///
    /// # Errors
    /// What wgloss or the device refuses.
    pub async fn compute(&self, engine: &Engine) -> Result<Found, Error> {
        match named(&self.loss)? {
            Kind::Rows(entry) => self.of_rows(engine, entry).await,
            Kind::Contrastive(_, _, loss) => self.of_embeddings(engine, loss).await,
            Kind::Mcm => self.of_tree(engine).await,
        }
    }

    async fn of_rows(&self, engine: &Engine, entry: &Entry) -> Result<Found, Error> {
        let loss: AnyLoss = entry.loss().with_reduction(self.reduction()?);
        let takes = loss.takes();
        let threshold = [self.setting];
        let rows = Rows {
            threshold: entry.threshold.then_some(Threshold::Batch(&threshold)),
            permutation: takes.permutation.then_some(Order::Seeded {
                seed: 0,
                scope: Scope::Batch,
            }),
            ..Rows::new(
                self.rows,
                self.cols(&self.values),
                Values::F32(&self.values),
                Targets::Dense(Dense::Values(Values::F32(&self.targets))),
            )
        };
        let found = engine.rows_async(&loss, &rows, Wanted::Gradients).await?;
        Ok(Found {
            loss: found.loss,
            grad: found.grad_logits,
            more: [found.grad_targets, found.grad_threshold].concat(),
        })
    }

    async fn of_embeddings(&self, engine: &Engine, loss: Contrastive) -> Result<Found, Error> {
        let loss = Contrastive {
            temperature: self.setting,
            reduction: match self.reduction()? {
                Reduction::None => ContrastiveReduction::None,
                Reduction::Sum => ContrastiveReduction::Sum,
                _ => ContrastiveReduction::MeanActive,
            },
            ..loss
        };
        let (dims, classes) = (self.cols(&self.values), self.cols(&self.targets));
        let labels = self.flags();
        // The pairs of InfoNCE: each anchor's key is the anchor itself, seen a little differently.
        let pairs: Vec<i32> = (0..self.rows as i32).collect();
        let seen: Vec<f32> = (self.values.iter().enumerate())
            .map(|(i, x)| x + [0.25, -0.25][i % 2])
            .collect();
        let paired = matches!(loss.weighting, Weighting::Paired);
        let values = Values::F32(&self.values);
        let batch = Embeddings {
            keys: paired.then_some(KeyEmbeddings {
                rows: self.rows,
                embeddings: Values::F32(&seen),
                labels: Targets::Dense(&labels),
            }),
            self_index: paired.then_some(&pairs),
            ..Embeddings::new(self.rows, dims, classes, values, Targets::Dense(&labels))
        };
        let found = engine.contrastive_async(&loss, &batch, Wanted::Gradients);
        let found = found.await?;
        Ok(Found {
            loss: found.loss,
            grad: found.grad_embeddings,
            more: [found.grad_keys, found.grad_temperature].concat(),
        })
    }

    async fn of_tree(&self, engine: &Engine) -> Result<Found, Error> {
        let loss = Mcm::default().with_reduction(self.reduction()?);
        let tree = Hierarchy::from_edges(NODES, &TREE)?;
        let labels = self.flags();
        let targets = Targets::Dense(Dense::Flags(&labels));
        let rows = McmRows::new(self.rows, Values::F32(&self.values), targets);
        let found = engine.mcm_async(&loss, &tree, &rows, Wanted::Gradients);
        let found = found.await?;
        Ok(Found {
            loss: found.loss,
            grad: found.grad_logits,
            more: found.probabilities,
        })
    }
}
