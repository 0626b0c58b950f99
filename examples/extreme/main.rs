//! Predicts what the nouns and verbs of WordNet are kinds of, from their glosses: 20,484 labels, of which a gloss has eight.
//!
//!     cargo run --release --example extreme
//!
//! The encoder is a vector for each word, in plain Rust on the CPU. The last layer is this crate's: logits live in tiles,
//! each step updates the weights in the sweep that makes their gradient, and the five most likely labels come from the
//! same tiles; on the best GPU or software driver there is, or on the CPU reference (slowly) where there is none. Both
//! losses start from the same numbers and see the same batches in the same order.
//!
//! P@k is the share of the first k labels that are right. One label in three has a single gloss to learn from, one in fifteen
//! none, and seven have more than 10,000: PSP@k weighs a right label by how rare it is. `most frequent` predicts the same
//! labels for all.

#[path = "../glosses/model.rs"]
mod model;
#[path = "../glosses/words.rs"]
mod words;

use indicatif::{ProgressBar, ProgressStyle};
use model::{Rng, Weights, encode, learn};
use std::error::Error;
use std::path::Path;
use std::time::Instant;
use wgloss::host::{Engine, LinearRows, Values, Wanted};
use wgloss::reference::{ChosenInputs, ChosenValues, chosen_metrics, propensities};
use wgloss::{AnyLoss, Bce, Linear, Targets, Update, Zlpr};
use words::{Bags, is_test};

const SEED: u64 = 1;
const EPOCHS: usize = 4;
const BATCH: usize = 256;
const DIM: usize = 64;
const RATE: f32 = 0.05;
/// Labels that are predicted.
const TOP: usize = 5;

/// Glosses and what they are kinds of.
struct Glosses {
    bags: Bags,
    /// Of each gloss its labels, in rising order.
    labels: Vec<Vec<u32>>,
    /// Numbers of those to train and to test with.
    train: Vec<usize>,
    test: Vec<usize>,
    /// How many training glosses each label has.
    counts: Vec<u32>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let glosses = read(&root.join("examples/data/ancestors.tsv"))?;
    let engine = Engine::auto();
    println!("device   {} {}", engine.adapter(), engine.driver());
    if let Some(notice) = engine.notice() {
        eprintln!("{notice}");
    }
    println!(
        "data     WordNet: {} glosses to train, {} to test, {} words, {} labels",
        glosses.train.len(),
        glosses.test.len(),
        glosses.bags.vocabulary,
        glosses.counts.len()
    );
    let steps = glosses.train.len().div_ceil(BATCH);
    let bar = ProgressBar::new((2 * EPOCHS * steps) as u64).with_style(
        ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} steps")?,
    );
    let mut order: Vec<u32> = (0..glosses.counts.len() as u32).collect();
    order.sort_by_key(|label| std::cmp::Reverse(glosses.counts[*label as usize]));
    let same = order[..TOP].repeat(glosses.test.len());
    let mut all = vec![("most frequent", scores(&glosses, &same)?, None)];
    for (name, loss) in [
        ("BCE", AnyLoss::from(Bce::default())),
        ("ZLPR", Zlpr::hard().into()),
    ] {
        bar.set_message(name);
        let began = Instant::now();
        let chosen = trained(&engine, &glosses, loss, &bar)?;
        let seconds = began.elapsed().as_secs_f64();
        all.push((name, scores(&glosses, &chosen)?, Some(seconds)));
    }
    bar.finish_and_clear();
    println!(
        "\n{:<16}{:>7}{:>7}{:>7}{:>8}{:>7}{:>7}{:>9}",
        "%", "P@1", "P@3", "P@5", "PSP@1", "PSP@3", "PSP@5", "seconds"
    );
    for (name, values, seconds) in all {
        print!("{name:<16}");
        for shares in [values.precision, values.propensity_precision] {
            for k in [0, 2, 4] {
                print!("{:>7.1}", 100.0 * shares[k]);
            }
            print!(" ");
        }
        println!(
            "{:>8}",
            seconds.map_or(String::new(), |s| format!("{s:.0}"))
        );
    }
    Ok(())
}

/// Trains from the start, and gives the labels that are most likely for each test gloss.
fn trained(
    engine: &Engine,
    glosses: &Glosses,
    loss: AnyLoss,
    bar: &ProgressBar,
) -> Result<Vec<u32>, wgloss::Error> {
    let cols = glosses.counts.len();
    let mut rng = Rng(SEED);
    let mut table = Weights::random(&mut rng, glosses.bags.vocabulary * DIM, 0.5, RATE);
    let mut weights = vec![0.0; cols * DIM];
    let mut state = vec![0.0; cols];
    // At first a label is as likely as it is frequent.
    let odds = |count: &u32| ((*count as f32 + 0.5) / glosses.train.len() as f32).ln();
    let mut bias = Weights::new(glosses.counts.iter().map(odds).collect(), RATE);
    let layer = Linear::new(loss).with_update(Update::adagrad(RATE), SEED);
    for _ in 0..EPOCHS {
        for order in rng.shuffled(glosses.train.len()).chunks(BATCH) {
            let samples: Vec<usize> = order.iter().map(|i| glosses.train[*i]).collect();
            let hidden = encode(&table, DIM, &glosses.bags.of, &samples);
            let (offsets, indices) = lists(glosses, &samples);
            let rows = LinearRows {
                bias: Some(&bias.values),
                state: Some(&state),
                targets: Some(Targets::Sparse {
                    offsets: &offsets,
                    indices: &indices,
                }),
                ..LinearRows::new(
                    (samples.len(), cols, DIM),
                    Values::F32(&hidden),
                    Values::F32(&weights),
                )
            };
            let result = engine.linear(&layer, &rows, Wanted::Gradients, 0)?;
            learn(
                &mut table,
                DIM,
                &glosses.bags.of,
                &samples,
                &result.grad_hidden,
            );
            bias.step(0, result.grad_bias.into_iter());
            (weights, state) = (result.weights, result.state);
            bar.inc(1);
        }
    }
    let mut chosen = Vec::new();
    for samples in glosses.test.chunks(BATCH) {
        let hidden = encode(&table, DIM, &glosses.bags.of, samples);
        let rows = LinearRows {
            bias: Some(&bias.values),
            ..LinearRows::new(
                (samples.len(), cols, DIM),
                Values::F32(&hidden),
                Values::F32(&weights),
            )
        };
        let layer = Linear::new(loss);
        chosen.extend(engine.linear(&layer, &rows, Wanted::Loss, TOP)?.top_labels);
    }
    Ok(chosen)
}

/// How good labels are that were chosen for the test glosses.
fn scores(glosses: &Glosses, chosen: &[u32]) -> Result<ChosenValues, wgloss::Error> {
    let (offsets, indices) = lists(glosses, &glosses.test);
    chosen_metrics(&ChosenInputs {
        rows: glosses.test.len(),
        cols: glosses.counts.len(),
        count: TOP,
        chosen,
        offsets: &offsets,
        indices: &indices,
        propensity: Some(&propensities(
            &glosses.counts,
            glosses.train.len(),
            0.55,
            1.5,
        )),
    })
}

/// The labels of some glosses, as the losses take them.
fn lists(glosses: &Glosses, samples: &[usize]) -> (Vec<u32>, Vec<u32>) {
    let (mut offsets, mut indices) = (vec![0], Vec::new());
    for sample in samples {
        indices.extend(&glosses.labels[*sample]);
        offsets.push(indices.len() as u32);
    }
    (offsets, indices)
}

/// Reads `ancestors.tsv`; examples/data/README.md says what stands in it.
fn read(path: &Path) -> Result<Glosses, Box<dyn Error>> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let (mut parents, mut texts) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let (direct, gloss) = line
            .split_once('\t')
            .ok_or_else(|| format!("no tab: {line:?}"))?;
        let direct = direct.split(',').filter(|number| !number.is_empty());
        parents.push(direct.map(str::parse).collect::<Result<Vec<usize>, _>>()?);
        texts.push(gloss);
    }
    let ancestors: Vec<Vec<usize>> = (0..parents.len())
        .map(|start| above(&parents, start))
        .collect::<Result<_, _>>()?;
    // What is an ancestor of anything is a label.
    let mut number = vec![None; parents.len()];
    let mut some = vec![false; parents.len()];
    ancestors.iter().flatten().for_each(|at| some[*at] = true);
    let labels = (0..parents.len()).filter(|at| some[*at]);
    let mut counts = Vec::new();
    for at in labels {
        number[at] = Some(counts.len() as u32);
        counts.push(0);
    }
    let (train, test) = (0..parents.len()).partition(|i| !is_test(*i));
    let mut glosses = Glosses {
        bags: Bags::new(&texts),
        labels: Vec::new(),
        train,
        test,
        counts,
    };
    for (i, found) in ancestors.iter().enumerate() {
        let mut labels: Vec<u32> = found.iter().filter_map(|at| number[*at]).collect();
        labels.sort_unstable();
        if !is_test(i) {
            labels
                .iter()
                .for_each(|label| glosses.counts[*label as usize] += 1);
        }
        glosses.labels.push(labels);
    }
    Ok(glosses)
}

/// All that can be reached upwards, each once.
fn above(parents: &[Vec<usize>], start: usize) -> Result<Vec<usize>, String> {
    let (mut found, mut open) = (Vec::new(), parents[start].clone());
    while let Some(at) = open.pop() {
        if !found.contains(&at) {
            open.extend(parents.get(at).ok_or_else(|| format!("no line {at}"))?);
            found.push(at);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::above;

    #[test]
    fn an_ancestor_by_two_ways_is_found_once() {
        let parents = [vec![], vec![0], vec![0], vec![1, 2]];
        let mut found = above(&parents, 3).unwrap();
        found.sort_unstable();
        assert_eq!(found, [0, 1, 2]);
        assert!(above(&[vec![7]], 0).is_err());
    }
}
