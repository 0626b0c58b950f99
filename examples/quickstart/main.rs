//! Trains the same small network on the Yeast genes twice, with ZLPR and with binary cross-entropy, and compares them.
//!
//!     cargo run --release --example quickstart
//!
//! The network and its optimiser are plain Rust on the CPU; loss and gradient come from this crate's kernels on the
//! best GPU or software driver there is, or from its CPU reference where there is none. Both runs start from the same
//! weights and see the same batches in the same order. At the end a table of test scores is printed, and the learning curves are
//! written to `target/quickstart.svg`, which any browser shows.

mod data;
mod metrics;
mod model;
mod picture;

use data::Set;
use indicatif::{ProgressBar, ProgressStyle};
use metrics::Scores;
use model::{Mlp, Rng};
use std::error::Error;
use std::path::Path;
use std::time::Instant;
use wgloss::host::{Engine, Labels, Rows, RowsResult, Values, Wanted};
use wgloss::{Bce, Rowwise, Zlpr};

const SEED: u64 = 1;
const EPOCHS: usize = 50;
const BATCH: usize = 50;
const HIDDEN: usize = 256;

/// A loss by its name, whatever its type.
struct Candidate {
    name: &'static str,
    gradients: Box<Gradients>,
}

type Gradients = dyn Fn(&Engine, &Rows<'_>) -> Result<RowsResult, wgloss::Error>;

/// What training with one loss gave.
pub struct Run {
    /// Of the loss.
    pub name: &'static str,
    /// Mean loss of a training row, by epoch.
    pub train_loss: Vec<f64>,
    /// Scores on the test set, by epoch.
    pub test: Vec<Scores>,
    /// Median time of an epoch of training; testing is not in it.
    pub seconds_per_epoch: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (train, test) = data::yeast(&root.join("examples/data/yeast.safetensors"))?;
    let engine = Engine::auto();
    announce(&engine);
    println!(
        "data     Yeast: {} genes to train, {} to test, {} features, {} classes",
        train.rows, test.rows, train.features, train.classes
    );

    let candidates = [
        candidate("ZLPR", Zlpr::hard()),
        candidate("BCE", Bce::default()),
    ];
    let bar = ProgressBar::new((candidates.len() * EPOCHS) as u64).with_style(
        ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} epochs")?,
    );
    let mut runs = Vec::new();
    for candidate in &candidates {
        bar.set_message(candidate.name);
        runs.push(fit(&engine, candidate, &train, &test, &bar)?);
    }
    bar.finish_and_clear();

    table(&runs);
    let path = root.join("target/quickstart.svg");
    picture::write(&path, &runs)?;
    println!("\nlearning curves: {}", path.display());
    Ok(())
}

/// Says what computes.
fn announce(engine: &Engine) {
    println!("adapter  {}", engine.adapter());
    if let Some(gpu) = engine.gpu() {
        println!("driver   {}", engine.driver());
        println!("kernels  {}", gpu.context().variant());
    }
    if let Some(notice) = engine.notice() {
        println!("notice   {notice}");
    }
}

fn candidate<L: Rowwise + 'static>(name: &'static str, loss: L) -> Candidate {
    Candidate {
        name,
        gradients: Box::new(move |engine, rows| engine.rows(&loss, rows, Wanted::Gradients)),
    }
}

/// Trains a fresh network with one loss.
fn fit(
    engine: &Engine,
    candidate: &Candidate,
    train: &Set,
    test: &Set,
    bar: &ProgressBar,
) -> Result<Run, Box<dyn Error>> {
    // The same seed for every loss: same first weights, same order of the rows, same dropout.
    let mut rng = Rng::new(SEED);
    let mut model = Mlp::new([train.features, HIDDEN, train.classes], &mut rng);
    let mut order: Vec<usize> = (0..train.rows).collect();
    let (mut train_loss, mut scores, mut seconds) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..EPOCHS {
        let began = Instant::now();
        let mut sum = 0.0;
        rng.shuffle(&mut order);
        for rows in order.chunks(BATCH) {
            let batch = train.pick(rows);
            let activations = model.forward(&batch.x, &mut rng);
            let (logits, labels) = (Values::F32(&activations.logits), Labels::Flags(&batch.y));
            let rows = Rows::new(batch.rows, batch.classes, logits, labels);
            let result = (candidate.gradients)(engine, &rows)?;
            let loss = result.loss.first().copied().unwrap_or(f32::NAN);
            sum += f64::from(loss) * batch.rows as f64;
            model.learn(&batch.x, &activations, &result.grad_logits);
        }
        seconds.push(began.elapsed().as_secs_f64());
        train_loss.push(sum / train.rows as f64);
        let logits = model.predict(&test.x);
        scores.push(Scores::of(&logits, &test.y, test.classes));
        bar.inc(1);
    }
    // The median, since the first epoch also compiles the kernels.
    seconds.sort_by(f64::total_cmp);
    Ok(Run {
        name: candidate.name,
        train_loss,
        test: scores,
        seconds_per_epoch: seconds[EPOCHS / 2],
    })
}

/// Prints the scores after the last epoch.
fn table(runs: &[Run]) {
    println!(
        "\n{:<8} {:>15} {:>8} {:>8} {:>12} {:>17} {:>17}",
        "loss",
        "subset accuracy",
        "micro F1",
        "macro F1",
        "ranking loss",
        "average precision",
        "seconds per epoch"
    );
    for run in runs {
        let Some(s) = run.test.last() else { continue };
        println!(
            "{:<8} {:>15.4} {:>8.4} {:>8.4} {:>12.4} {:>17.4} {:>17.3}",
            run.name,
            s.subset_accuracy,
            s.micro_f1,
            s.macro_f1,
            s.ranking_loss,
            s.average_precision,
            run.seconds_per_epoch
        );
    }
}
