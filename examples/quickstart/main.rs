//! Trains a small network on the Yeast genes with losses of this crate and compares them.
//!
//!     cargo run --release --example quickstart                  ZLPR beside binary cross-entropy
//!     cargo run --release --example quickstart -- --loss asl    one other loss
//!     cargo run --release --example quickstart -- compare       all losses
//!
//! The network and its optimiser are plain Rust on the CPU; loss, gradient and scores come from this crate's kernels on the
//! best GPU or software driver there is, or from its CPU reference where there is none. All losses start from the same
//! weights and see the same batches in the same order. At the end a table of test scores is printed, and a picture is
//! written to `target/quickstart.svg` (learning curves) or `target/quickstart-compare.svg` (scores of all losses), which
//! any browser shows.

mod data;
mod losses;
mod metrics;
mod model;
mod picture;

use data::Set;
use indicatif::{ProgressBar, ProgressStyle};
use losses::{Decision, Learner, Loss};
use model::{Mlp, Rng};
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use wgloss::MetricValues;
use wgloss::host::Engine;

const EPOCHS: usize = 50;
const BATCH: usize = 50;
const HIDDEN: usize = 256;
const RATE: f32 = 1e-3;
/// What `compare` chooses from for each loss.
const RATES: [f32; 3] = [3e-4, 1e-3, 3e-3];
/// How many training rows are kept from training where something is chosen after it.
const HELD_OUT: usize = 300;

/// What to do.
#[derive(Debug)]
struct Task {
    mode: Mode,
    seed: Option<u64>,
}

#[derive(Debug)]
enum Mode {
    Pair,
    One(Loss),
    Compare,
    Help,
}

/// What training with one loss gave.
pub struct Run {
    /// Of the loss.
    pub name: &'static str,
    /// Mean loss of a training row, by epoch.
    pub train_loss: Vec<f64>,
    /// Scores on the test set, by epoch.
    pub test: Vec<MetricValues>,
    /// Median time of an epoch of training; testing is not in it.
    pub seconds_per_epoch: f64,
}

/// What `compare` found of one loss.
pub struct Compared {
    /// The loss.
    pub loss: Loss,
    /// Scores on the test set, after the last epoch.
    pub test: MetricValues,
    rate: f32,
    threshold: f32,
    seconds: f64,
}

/// A trained network.
struct Fit {
    model: Mlp,
    learner: Learner,
    train_loss: Vec<f64>,
    seconds_per_epoch: f64,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let task = match Task::parse(std::env::args().skip(1)) {
        Ok(task) => task,
        Err(message) => {
            eprintln!("error: {message}");
            return Ok(ExitCode::from(2));
        }
    };
    if matches!(task.mode, Mode::Help) {
        help();
        return Ok(ExitCode::SUCCESS);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (train, test) = data::yeast(&root.join("examples/data/yeast.safetensors"))?;
    let engine = Engine::auto();
    announce(&engine);
    println!(
        "data     Yeast: {} genes to train, {} to test, {} features, {} classes",
        train.rows, test.rows, train.features, train.classes
    );
    let seed = task.seed.unwrap_or(1);
    if task.seed.is_some() || !matches!(task.mode, Mode::Pair) {
        println!("seed     {seed}");
    }
    let losses = match task.mode {
        Mode::One(loss) => vec![loss],
        Mode::Compare => {
            compare(&engine, seed, &train, &test, root)?;
            return Ok(ExitCode::SUCCESS);
        }
        Mode::Pair | Mode::Help => {
            let pair = [("zlpr", "ZLPR"), ("bce", "BCE")];
            let loss = |(known, name)| named(known).map(|loss| Loss { name, ..loss });
            pair.map(loss).into_iter().collect::<Result<_, _>>()?
        }
    };
    curves(&engine, seed, &losses, train, &test, root)?;
    Ok(ExitCode::SUCCESS)
}

impl Task {
    fn parse(args: impl IntoIterator<Item = String>) -> Result<Task, String> {
        let (mut mode, mut seed) = (Mode::Pair, None);
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            let chosen = match arg.as_str() {
                "--help" | "-h" => {
                    return Ok(Task {
                        mode: Mode::Help,
                        seed,
                    });
                }
                "--seed" => {
                    let text = value()?;
                    let number = text.parse();
                    seed = Some(number.map_err(|_| format!("--seed {text}: no whole number"))?);
                    continue;
                }
                "--loss" => Mode::One(named(&value()?)?),
                "compare" => Mode::Compare,
                _ => return Err(format!("{arg} is not known; --help says what is")),
            };
            if !matches!(mode, Mode::Pair) {
                return Err("one of compare and --loss NAME, once".into());
            }
            mode = chosen;
        }
        Ok(Task { mode, seed })
    }
}

fn named(name: &str) -> Result<Loss, String> {
    let all = losses::all();
    let names: Vec<&str> = all.iter().map(|loss| loss.name).collect();
    let names = names.join(", ");
    (all.into_iter().find(|loss| loss.name == name))
        .ok_or_else(|| format!("no loss {name:?}; there are {names}"))
}

fn help() {
    println!(
        "Trains a small network on the Yeast genes with losses of this crate.\n\n\
         quickstart                compares ZLPR and binary cross-entropy\n\
         quickstart --loss NAME    trains with one loss\n\
         quickstart compare        trains with every loss and prints one table\n\n\
         --seed N   of first weights, order of the rows, dropout, held-out rows [default: 1]\n\n\
         NAME is as in `wgloss run` (wdl-adjacent is its wdl with --seed):"
    );
    for loss in losses::all() {
        println!("  {:<14}{}", loss.name, loss.about);
    }
    println!(
        "zlpr-kl is left out: it compares logits with other logits, which this data set has not."
    );
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

fn progress(epochs: usize) -> Result<ProgressBar, Box<dyn Error>> {
    let style = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} epochs")?;
    Ok(ProgressBar::new(epochs as u64).with_style(style))
}

/// Parts random rows from the others: the others, and `count` of them.
fn hold_out(train: &Set, count: usize, seed: u64) -> (Set, Set) {
    let mut order: Vec<usize> = (0..train.rows).collect();
    Rng::new(seed).shuffle(&mut order);
    let (held_out, rest) = order.split_at(count);
    (train.pick(rest), train.pick(held_out))
}

/// Trains with some losses, prints their scores and draws their learning curves.
fn curves(
    engine: &Engine,
    seed: u64,
    losses: &[Loss],
    train: Set,
    test: &Set,
    root: &Path,
) -> Result<(), Box<dyn Error>> {
    let chosen = losses.iter().any(|loss| loss.decision == Decision::Chosen);
    let (train, held_out) = if chosen {
        println!("held out {HELD_OUT} of the training genes, for the threshold of micro F1");
        hold_out(&train, HELD_OUT, seed)
    } else {
        let none = train.pick(&[]);
        (train, none)
    };
    let bar = progress(losses.len() * EPOCHS)?;
    let mut runs = Vec::new();
    for loss in losses {
        bar.set_message(loss.name);
        let mut scores = Vec::new();
        let fit = fit(engine, *loss, seed, RATE, &train, |model, learner| {
            let threshold = learner.threshold(model, &held_out);
            scores.push(scores_of(engine, model, test, threshold)?);
            bar.inc(1);
            Ok(())
        })?;
        runs.push(Run {
            name: loss.name,
            train_loss: fit.train_loss,
            test: scores,
            seconds_per_epoch: fit.seconds_per_epoch,
        });
    }
    bar.finish_and_clear();

    table(&runs);
    let path = root.join("target/quickstart.svg");
    picture::curves(&path, &runs)?;
    println!("\nlearning curves: {}", path.display());
    Ok(())
}

/// Trains with every loss, prints one table and draws it.
fn compare(
    engine: &Engine,
    seed: u64,
    train: &Set,
    test: &Set,
    root: &Path,
) -> Result<(), Box<dyn Error>> {
    let (train, held_out) = hold_out(train, HELD_OUT, seed);
    println!(
        "held out {HELD_OUT} of the training genes, to choose rates and thresholds; {} are left to train",
        train.rows
    );
    let losses = losses::all();
    let bar = progress(losses.len() * RATES.len() * EPOCHS)?;
    let mut found = Vec::new();
    for loss in losses {
        bar.set_message(loss.name);
        let mut best: Option<(f64, f32, Fit)> = None;
        for rate in RATES {
            let fit = fit(engine, loss, seed, rate, &train, |_, _| {
                bar.inc(1);
                Ok(())
            })?;
            let scores = scores_of(engine, &fit.model, &held_out, 0.0)?;
            let precision = scores.average_precision;
            if best.as_ref().is_none_or(|(most, ..)| precision > *most) {
                best = Some((precision, rate, fit));
            }
        }
        let Some((_, rate, fit)) = best else { continue };
        let threshold = fit.learner.threshold(&fit.model, &held_out);
        found.push(Compared {
            loss,
            test: scores_of(engine, &fit.model, test, threshold)?,
            rate,
            threshold,
            seconds: fit.seconds_per_epoch * EPOCHS as f64,
        });
    }
    bar.finish_and_clear();

    compared_table(&found);
    let path = root.join("target/quickstart-compare.svg");
    picture::scores(&path, &found)?;
    println!("\nscores of all losses: {}", path.display());
    Ok(())
}

/// Scores of what a network predicts of a set.
fn scores_of(
    engine: &Engine,
    model: &Mlp,
    set: &Set,
    threshold: f32,
) -> Result<MetricValues, wgloss::Error> {
    let logits = model.predict(&set.x);
    metrics::scores(engine, &logits, &set.y, set.classes, threshold)
}

/// Trains a fresh network with one loss.
fn fit(
    engine: &Engine,
    loss: Loss,
    seed: u64,
    rate: f32,
    train: &Set,
    mut after_epoch: impl FnMut(&Mlp, &Learner) -> Result<(), wgloss::Error>,
) -> Result<Fit, Box<dyn Error>> {
    // The same seed for every loss: same first weights, same order of the rows, same dropout.
    let mut rng = Rng::new(seed);
    let mut model = Mlp::new([train.features, HIDDEN, train.classes], &mut rng);
    let mut learner = Learner::new(loss, train.classes, seed);
    let mut order: Vec<usize> = (0..train.rows).collect();
    let (mut train_loss, mut seconds) = (Vec::new(), Vec::new());
    for _ in 0..EPOCHS {
        let began = Instant::now();
        let mut sum = 0.0;
        rng.shuffle(&mut order);
        for rows in order.chunks(BATCH) {
            let batch = train.pick(rows);
            let activations = model.forward(&batch.x, &mut rng);
            let result = learner.step(engine, &batch, &activations.logits, rate)?;
            let loss = result.loss.first().copied().unwrap_or(f32::NAN);
            sum += f64::from(loss) * batch.rows as f64;
            model.learn(&batch.x, &activations, &result.grad_logits, rate);
        }
        seconds.push(began.elapsed().as_secs_f64());
        train_loss.push(sum / train.rows as f64);
        after_epoch(&model, &learner)?;
    }
    // The median, since the first epoch also compiles the kernels.
    seconds.sort_by(f64::total_cmp);
    Ok(Fit {
        model,
        learner,
        train_loss,
        seconds_per_epoch: seconds[EPOCHS / 2],
    })
}

/// Prints the scores after the last epoch.
fn table(runs: &[Run]) {
    let names = runs.iter().map(|run| run.name.len());
    let width = names.max().unwrap_or(0).max(8);
    println!(
        "\n{:<width$} {:>15} {:>8} {:>8} {:>12} {:>17} {:>17}",
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
            "{:<width$} {:>15.4} {:>8.4} {:>8.4} {:>12.4} {:>17.4} {:>17.3}",
            run.name,
            s.subset_accuracy,
            s.f1_micro,
            s.f1_macro,
            s.ranking_loss,
            s.average_precision,
            run.seconds_per_epoch
        );
    }
}

/// Prints what `compare` found, and how it was found.
fn compared_table(found: &[Compared]) {
    println!(
        "\n{:<12} {:>6} {:<17} {:>15} {:>8} {:>8} {:>12} {:>17} {:>7}",
        "loss",
        "rate",
        "predicted where",
        "subset accuracy",
        "micro F1",
        "macro F1",
        "ranking loss",
        "average precision",
        "seconds"
    );
    for one in found {
        let (s, t) = (&one.test, one.threshold);
        let rule = match one.loss.decision {
            Decision::Zero => "s > 0".into(),
            Decision::Learnt => format!("s > {t:.3} learnt"),
            Decision::Chosen => format!("s > {t:.3} chosen"),
        };
        println!(
            "{:<12} {:>6} {rule:<17} {:>15.4} {:>8.4} {:>8.4} {:>12.4} {:>17.4} {:>7.1}",
            one.loss.name,
            one.rate,
            s.subset_accuracy,
            s.f1_micro,
            s.f1_macro,
            s.ranking_loss,
            s.average_precision,
            one.seconds
        );
    }
    println!(
        "\nScores are those of the test genes after {EPOCHS} epochs. For every loss the rate is the one of {RATES:?}\n\
         with the best average precision on the held-out genes. A chosen threshold is the one with the best micro F1\n\
         on them, for losses to which 0 means nothing or is no even chance. That favours them in F1. Seconds are of\n\
         training at that rate ({EPOCHS} times the median epoch), network included.\n\
         One seed and one data set do not rank losses. --seed N shows how much the scores move."
    );
}

#[cfg(test)]
mod tests {
    use super::{Mode, Task, hold_out, named};
    use crate::data::Set;

    fn parse(args: &str) -> Result<Task, String> {
        Task::parse(args.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn arguments() {
        let task = parse("").unwrap();
        assert!(matches!(task.mode, Mode::Pair) && task.seed.is_none());
        let task = parse("--seed 7 compare").unwrap();
        assert!(matches!(task.mode, Mode::Compare) && task.seed == Some(7));
        let task = parse("--loss wdl-adjacent").unwrap();
        assert!(matches!(task.mode, Mode::One(loss) if loss.name == "wdl-adjacent"));
        assert!(matches!(parse("compare -h").unwrap().mode, Mode::Help));
    }

    #[test]
    fn wrong_arguments_say_what_is_right() {
        let message = named("zlrp").unwrap_err();
        assert!(message.contains("\"zlrp\""), "{message}");
        assert!(message.contains("zlpr, zlpr-soft, tlpr"), "{message}");
        for (args, part) in [
            ("--loss", "needs a value"),
            ("--loss zlpr-kl", "wdl-adjacent"),
            ("--seed -1", "whole number"),
            ("compare --loss bce", "one of"),
            ("--los bce", "--help"),
        ] {
            let message = parse(args).unwrap_err();
            assert!(message.contains(part), "{args}: {message}");
        }
    }

    #[test]
    fn held_out_rows_are_not_trained_on() {
        let all = Set {
            rows: 10,
            features: 1,
            classes: 1,
            x: (0..10u8).map(f32::from).collect(),
            y: vec![0; 10],
        };
        let (train, held_out) = hold_out(&all, 3, 1);
        assert_eq!((train.rows, held_out.rows), (7, 3));
        let mut x = [train.x, held_out.x].concat();
        x.sort_by(f32::total_cmp);
        assert_eq!(x, all.x);
    }
}
