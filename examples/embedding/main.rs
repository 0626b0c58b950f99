//! Trains embeddings of the Yeast genes with Similarity-Dissimilarity and with SupCon, and asks the nearest neighbours.
//!
//!     cargo run --release --example embedding
//!
//! The same small network (plain Rust on the CPU, that of the quickstart) is trained twice, from the same weights on the
//! same batches; loss, gradient and scores come from this crate's kernels on the best GPU or software driver there is, or
//! from its CPU reference. A gene of the test part then gets the classes that its nearest genes of the train part have, by
//! the raw features, by the network before training, and by what each loss has made of it. At the end a table is printed,
//! and `target/embedding.svg` shows the embeddings in two dimensions, before and after.

#[path = "../quickstart/data.rs"]
mod data;
#[allow(
    dead_code,
    reason = "the search for a threshold is the quickstart's alone"
)]
#[path = "../quickstart/metrics.rs"]
mod metrics;
#[path = "../quickstart/model.rs"]
mod model;
mod plane;

use data::Set;
use indicatif::{ProgressBar, ProgressStyle};
use model::{Mlp, Rng};
use std::error::Error;
use std::path::Path;
use wgloss::host::{Embeddings, Engine, LabelSets, Values, Wanted};
use wgloss::{Contrastive, MetricValues};

const SEED: u64 = 1;
const EPOCHS: usize = 40;
const BATCH: usize = 250;
const HIDDEN: usize = 256;
const DIMS: usize = 32;
const NEIGHBOURS: usize = 15;
const TEMPERATURE: f32 = 0.1;
/// Learning rate.
const RATE: f32 = 1e-3;

/// Rows in some space: those of the train and those of the test part.
pub struct Space {
    /// What made them.
    pub name: &'static str,
    /// Of a row.
    pub dims: usize,
    train: Vec<f32>,
    /// Of the test part.
    pub test: Vec<f32>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (train, test) = data::yeast(&root.join("examples/data/yeast.safetensors"))?;
    let engine = Engine::auto();
    println!("adapter  {}", engine.adapter());
    if let Some(notice) = engine.notice() {
        println!("notice   {notice}");
    }
    println!(
        "data     Yeast: {} genes to train, {} to test, {} features, {} classes",
        train.rows, test.rows, train.features, train.classes
    );
    let network = || Mlp::new([train.features, HIDDEN, DIMS], &mut Rng::new(SEED));
    let embedded = |name, model: &Mlp| Space {
        name,
        dims: DIMS,
        train: model.predict(&train.x),
        test: model.predict(&test.x),
    };
    let mut spaces = vec![
        Space {
            name: "raw features",
            dims: train.features,
            train: train.x.clone(),
            test: test.x.clone(),
        },
        embedded("before training", &network()),
    ];
    let losses = [
        ("SupCon ANY", Contrastive::sup_con_any()),
        ("Sim-Dis", Contrastive::sim_dis()),
    ];
    let bar = ProgressBar::new((losses.len() * EPOCHS) as u64).with_style(
        ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} epochs")?,
    );
    for (name, loss) in losses {
        bar.set_message(name);
        let loss = loss.with_temperature(TEMPERATURE);
        let mut model = network();
        fit(&engine, &loss, &mut model, &train, &bar)?;
        spaces.push(embedded(name, &model));
    }
    bar.finish_and_clear();

    println!(
        "\n{:<16} {:>15} {:>8} {:>8} {:>12} {:>17}",
        format!("{NEIGHBOURS} neighbours"),
        "subset accuracy",
        "micro F1",
        "macro F1",
        "ranking loss",
        "average precision"
    );
    for space in &spaces {
        let s = probe(&engine, space, &train, &test)?;
        println!(
            "{:<16} {:>15.4} {:>8.4} {:>8.4} {:>12.4} {:>17.4}",
            space.name,
            s.subset_accuracy,
            s.f1_micro,
            s.f1_macro,
            s.ranking_loss,
            s.average_precision
        );
    }
    let path = root.join("target/embedding.svg");
    plane::write(&path, &spaces[1..], &test)?;
    println!("\nembeddings in two dimensions: {}", path.display());
    Ok(())
}

/// Trains the network with one loss.
fn fit(
    engine: &Engine,
    loss: &Contrastive,
    model: &mut Mlp,
    train: &Set,
    bar: &ProgressBar,
) -> Result<(), Box<dyn Error>> {
    // The same seed for every loss: same order of the rows, same dropout.
    let mut rng = Rng::new(SEED + 1);
    let mut order: Vec<usize> = (0..train.rows).collect();
    for _ in 0..EPOCHS {
        rng.shuffle(&mut order);
        for rows in order.chunks(BATCH) {
            let batch = train.pick(rows);
            let activations = model.forward(&batch.x, &mut rng);
            let (values, sets) = (Values::F32(&activations.logits), LabelSets::Dense(&batch.y));
            let embeddings = Embeddings::new(batch.rows, DIMS, batch.classes, values, sets);
            let result = engine.contrastive(loss, &embeddings, Wanted::Gradients)?;
            model.learn(&batch.x, &activations, &result.grad_embeddings, RATE);
        }
        bar.inc(1);
    }
    Ok(())
}

/// What the nearest neighbours say of the test part: a class is there where half of them have it.
fn probe(
    engine: &Engine,
    space: &Space,
    train: &Set,
    test: &Set,
) -> Result<MetricValues, wgloss::Error> {
    let (known, asked) = (
        unit(&space.train, space.dims),
        unit(&space.test, space.dims),
    );
    let mut votes = Vec::new();
    for row in asked.chunks_exact(space.dims) {
        let mut near: Vec<(f32, usize)> = known
            .chunks_exact(space.dims)
            .map(|other| row.iter().zip(other).map(|(a, b)| a * b).sum())
            .zip(0..)
            .collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        for class in 0..train.classes {
            let have = near[..NEIGHBOURS]
                .iter()
                .filter(|(_, at)| train.y[at * train.classes + class] == 1);
            votes.push(have.count() as f32 / NEIGHBOURS as f32 - 0.5);
        }
    }
    metrics::scores(engine, &votes, &test.y, test.classes, 0.0)
}

/// The rows divided by their norms.
fn unit(rows: &[f32], dims: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(rows.len());
    for row in rows.chunks_exact(dims) {
        let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
        out.extend(row.iter().map(|x| x / norm));
    }
    out
}
