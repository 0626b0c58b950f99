//! Predicts what the nouns and verbs of WordNet are kinds of, from their glosses, with the 20,484 labels over the ranks of a job:
//! the example `extreme` of wgloss, each rank with the weights of its own labels.
//!
//!     mpirun -n 4 target/release/examples/shards [STEPS]
//!
//! The encoder, a vector for each word on the CPU, is the same on all ranks and stays so: the gradient to the hidden states,
//! which is all that it learns from, has the same bits on all of them. Weights, their state, bias and targets are on the
//! device of the rank that has the labels, and never leave it.
//!
//! The losses are those of one rank in six digits (`run.sh` compares them), and so are the predictions. The table at the end has
//! what a rank sends for a step, as the library was asked to and as the formula has it.

#[path = "../../../examples/glosses/ancestors.rs"]
mod ancestors;
#[path = "../../../examples/glosses/model.rs"]
mod model;
#[path = "../../../examples/glosses/words.rs"]
mod words;

use ancestors::{Glosses, lists, read};
use model::{Rng, Weights, encode, learn};
use std::error::Error;
use std::path::Path;
use std::time::Instant;
use wgloss::host::Gpu;
use wgloss::wgpu::Buffer;
use wgloss::{AnyLoss, DType, Linear, LinearInputs, LinearOutputs, Targets, Tensor, Update, Zlpr};
use wgloss_mpi::{ShardedLinear, World};

const SEED: u64 = 1;
const STEPS: usize = 40;
const BATCH: usize = 256;
const DIM: usize = 64;
const RATE: f32 = 0.05;
/// Batches of test glosses.
const TESTS: usize = 4;
/// Labels that are predicted.
const TOP: usize = 5;
/// Windows of a batch: the accumulators of one are sent while the next one's are made.
const WINDOWS: usize = 2;

/// What lies on the device.
struct Shard {
    /// The rank's labels.
    labels: std::ops::Range<u32>,
    hidden: Buffer,
    grad_hidden: Buffer,
    weights: Buffer,
    state: Buffer,
    bias: Buffer,
    grad_bias: Buffer,
    offsets: Buffer,
    indices: Buffer,
    /// How many indices there may be.
    most: usize,
    loss: Buffer,
    best: [Buffer; 2],
}

fn main() -> Result<(), Box<dyn Error>> {
    let steps = match std::env::args().nth(1) {
        Some(steps) => steps.parse()?,
        None => STEPS,
    };
    let world = World::open()?;
    world.abort_on_panic();
    let gpu = world.gpu()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let glosses = read(&root.join("../examples/data/ancestors.tsv"))?;
    let (rank, size, all) = (world.rank(), world.size(), glosses.counts.len());
    let labels = all * rank / size..all * (rank + 1) / size;
    if rank == 0 {
        let info = gpu.info();
        println!(
            "device   {} {} {}",
            info.name, info.driver, info.driver_info
        );
        println!("ranks    {size}, {} on this machine", world.local_size());
        println!(
            "data     {} glosses to train, {} to test, {all} labels",
            glosses.train.len(),
            glosses.test.len()
        );
    }
    let shard = Shard::new(&gpu, &glosses, labels.start as u32..labels.end as u32)?;
    let layer = Linear::new(AnyLoss::from(Zlpr::hard())).with_update(Update::adagrad(RATE), SEED);
    let (inputs, outputs) = (shard.inputs(), shard.outputs());
    let tensors = (&inputs, &outputs);
    let to_hidden = Some(&shard.grad_hidden);
    let sharded = ShardedLinear::prepare(&world, &gpu, &layer, tensors, to_hidden, WINDOWS)?;

    let mut rng = Rng(SEED);
    let mut table = Weights::random(&mut rng, glosses.bags.vocabulary * DIM, 0.5, RATE);
    // At first a label is as likely as it is frequent.
    let odds = |count: &u32| ((*count as f32 + 0.5) / glosses.train.len() as f32).ln();
    let mut bias = Weights::new(glosses.counts[labels].iter().map(odds).collect(), RATE);
    put(&gpu, &shard.bias, &bias.values);
    let order = rng.shuffled(glosses.train.len());
    let before = world.traffic();
    let began = Instant::now();
    for (step, batch) in order.chunks_exact(BATCH).cycle().take(steps).enumerate() {
        let samples: Vec<usize> = batch.iter().map(|i| glosses.train[*i]).collect();
        put(
            &gpu,
            &shard.hidden,
            &encode(&table, DIM, &glosses.bags.of, &samples),
        );
        let (offsets, indices) = lists(&glosses, &samples, shard.labels.clone());
        put(&gpu, &shard.offsets, &offsets);
        put(&gpu, &shard.indices, &indices);
        sharded.step()?;
        let grad_hidden = get(&gpu, &shard.grad_hidden, BATCH * DIM)?;
        learn(&mut table, DIM, &glosses.bags.of, &samples, &grad_hidden);
        let grad_bias = get(&gpu, &shard.grad_bias, bias.values.len())?;
        bias.step(0, grad_bias.into_iter());
        put(&gpu, &shard.bias, &bias.values);
        if rank == 0 && (step + 1) % (steps / 8).max(1) == 0 {
            let loss = get(&gpu, &shard.loss, 1)?;
            println!("step {:>4} loss {:.5e}", step + 1, loss[0]);
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let after = world.traffic();

    let mut right = 0;
    for samples in glosses.test.chunks_exact(BATCH).take(TESTS) {
        put(
            &gpu,
            &shard.hidden,
            &encode(&table, DIM, &glosses.bags.of, samples),
        );
        let found = shard.predict(&world, &gpu)?;
        for (sample, best) in samples.iter().zip(found.chunks_exact(TOP)) {
            let is_right = |label: &&u32| glosses.labels[*sample].contains(label);
            right += best.iter().filter(is_right).count();
        }
    }
    if rank == 0 {
        let share = 100.0 * right as f64 / (TESTS * BATCH * TOP) as f64;
        println!("P@5      {share:.1} % of {} test glosses", TESTS * BATCH);
        println!("time     {:.3} s a step", seconds / steps as f64);
        println!(
            "\n{:<40}{:>12}{:>12}{:>10}",
            "a rank sends for a step", "bytes", "formula", "messages"
        );
        let words = layer.accumulator()?.words;
        let others = size - 1;
        for (what, formula) in [
            (
                "the all-gather of rows' accumulators",
                4 * words * BATCH * others,
            ),
            (
                "the sum of gradients to hidden states",
                2 * 4 * BATCH * DIM * others / size,
            ),
        ] {
            let of = |all: &std::collections::BTreeMap<String, wgloss_mpi::Traffic>| {
                all.get(what).copied().unwrap_or_default()
            };
            let (before, after) = (of(&before), of(&after));
            let each = |a: u64, b: u64| (b - a) / steps.max(1) as u64;
            let bytes = each(before.bytes, after.bytes);
            let messages = each(before.messages, after.messages);
            println!("{what:<40}{bytes:>12}{formula:>12}{messages:>10}");
        }
    }
    world.close()?;
    Ok(())
}

fn put<T: bytemuck::Pod>(gpu: &Gpu, to: &Buffer, values: &[T]) {
    if !values.is_empty() {
        gpu.queue()
            .write_buffer(to, 0, bytemuck::cast_slice(values));
    }
}

fn get(gpu: &Gpu, from: &Buffer, len: usize) -> Result<Vec<f32>, wgloss::Error> {
    let bytes = gpu.download(from, 4 * len as u64)?;
    Ok(bytemuck::pod_collect_to_vec(&bytes))
}

impl Shard {
    fn new(
        gpu: &Gpu,
        glosses: &Glosses,
        labels: std::ops::Range<u32>,
    ) -> Result<Shard, wgloss::Error> {
        let floats = |len: usize| gpu.zeros(4 * len as u64);
        let (cols, hidden) = (labels.len(), BATCH * DIM);
        let most = glosses.labels.iter().map(Vec::len).max().unwrap_or(0) * BATCH;
        Ok(Shard {
            hidden: floats(hidden)?,
            grad_hidden: floats(hidden)?,
            weights: floats(cols * DIM)?,
            state: floats(cols)?,
            bias: floats(cols)?,
            grad_bias: floats(cols)?,
            offsets: floats(BATCH + 1)?,
            indices: floats(most)?,
            most,
            loss: floats(1)?,
            best: [floats(BATCH * TOP)?, floats(BATCH * TOP)?],
            labels,
        })
    }

    fn inputs(&self) -> LinearInputs<'_> {
        let cols = self.labels.len();
        LinearInputs {
            bias: Some(Tensor::vector(&self.bias, DType::F32, cols)),
            targets: Some(Targets::Sparse {
                offsets: Tensor::vector(&self.offsets, DType::U32, BATCH + 1),
                indices: Tensor::vector(&self.indices, DType::U32, self.most),
            }),
            state: Some(Tensor::vector(&self.state, DType::F32, cols)),
            ..LinearInputs::new(
                Tensor::matrix(&self.hidden, DType::F32, BATCH, DIM),
                Tensor::matrix(&self.weights, DType::F32, cols, DIM),
            )
        }
    }

    fn outputs(&self) -> LinearOutputs<'_> {
        LinearOutputs {
            loss: Some(Tensor::vector(&self.loss, DType::F32, 1)),
            grad_bias: Some(Tensor::vector(&self.grad_bias, DType::F32, self.labels.len()).into()),
            ..LinearOutputs::default()
        }
    }

    /// The most likely labels of each sample: the best of the ranks' best, of equal ones the lowest.
    fn predict(&self, world: &World, gpu: &Gpu) -> Result<Vec<u32>, Box<dyn Error>> {
        let inputs = LinearInputs {
            targets: None,
            state: None,
            ..self.inputs()
        };
        let outputs = LinearOutputs {
            top_labels: Some(Tensor::matrix(&self.best[0], DType::U32, BATCH, TOP)),
            top_scores: Some(Tensor::matrix(&self.best[1], DType::F32, BATCH, TOP)),
            ..LinearOutputs::default()
        };
        let layer = Linear::new(AnyLoss::from(Zlpr::hard()));
        gpu.run(&[&layer.prepare(gpu.context(), &inputs, &outputs)?])?;
        let len = BATCH * TOP;
        let mut words = Vec::new();
        for buffer in &self.best {
            let bytes = gpu.download(buffer, 4 * len as u64)?;
            words.extend(bytemuck::pod_collect_to_vec::<u8, u32>(&bytes));
        }
        for label in &mut words[..len] {
            *label += self.labels.start;
        }
        let all = world.gather("the all-gather of predictions", &words)?;
        let mut found = Vec::new();
        for first in (0..len).step_by(TOP) {
            let mut best = Vec::new();
            for rank in all.chunks_exact(2 * len) {
                let (labels, scores) = (&rank[first..], &rank[len + first..]);
                let pairs = scores.iter().zip(labels).take(TOP);
                best.extend(pairs.map(|(score, label)| (f32::from_bits(*score), *label)));
            }
            best.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            found.extend(best.into_iter().take(TOP).map(|(_, label)| label));
        }
        Ok(found)
    }
}
