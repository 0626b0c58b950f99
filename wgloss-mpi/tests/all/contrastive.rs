//! Contrastive losses over ranks.

use crate::schemes::{Failure, bytes, compare, floats, numbers, part, part_of};
use wgloss::host::{Embeddings, Engine, Gpu, KeyEmbeddings, Values, Wanted};
use wgloss::{Contrastive, ContrastiveReduction, DType, Denominator, Targets};
use wgloss_mpi::{Batch, OwnKeys, ShardedContrastive, Transport, World};

type Case = fn(&World, &Gpu) -> Result<Vec<f32>, Failure>;

/// Each with some of the settings.
pub const CASES: &[(&str, Case)] = &[
    ("gather", |world, gpu| {
        let loss = Contrastive::sim_dis();
        batch(world, gpu, loss, Transport::AllGather, DType::F32)
    }),
    ("bf16", |world, gpu| {
        let loss = Contrastive {
            denominator: Denominator::Negatives,
            ..Contrastive::sup_con_any()
        };
        batch(world, gpu, loss, Transport::Ring, DType::Bf16)
    }),
    ("ring", |world, gpu| {
        let loss = Contrastive {
            reduction: ContrastiveReduction::MeanLabels,
            ..Contrastive::mul_sup_con()
        };
        batch(world, gpu, loss, Transport::Ring, DType::F32)
    }),
    ("threshold", |world, gpu| {
        let loss = Contrastive::jaccard();
        batch(world, gpu, loss, Transport::Ring, DType::F32)
    }),
    ("one-positive", |world, gpu| {
        let loss = Contrastive {
            denominator: Denominator::OnePositive,
            ..Contrastive::jaccard()
        };
        batch(world, gpu, loss, Transport::AllGather, DType::F32)
    }),
    ("pairs", |world, gpu| pairs(world, gpu, Transport::Ring)),
    ("pairs-gather", |world, gpu| {
        pairs(world, gpu, Transport::AllGather)
    }),
    ("queue", |world, gpu| {
        queue(world, gpu, Contrastive::sup_con_any(), Transport::AllGather)
    }),
    ("queue-ring", |world, gpu| {
        queue(world, gpu, Contrastive::mul_sup_con(), Transport::Ring)
    }),
];

const N: usize = 37;
const D: usize = 24;
const CLASSES: usize = 40;
const WORDS: usize = CLASSES.div_ceil(32);

/// About one label in eight.
fn labels(seed: u64) -> Vec<u32> {
    let mut words = vec![0; N * WORDS];
    for (i, x) in numbers(seed, N * CLASSES).iter().enumerate() {
        let (row, label) = (i / CLASSES, i % CLASSES);
        // The last sample has none.
        if *x > 0.75 && row + 1 < N {
            words[row * WORDS + label / 32] |= 1 << (label % 32);
        }
    }
    words
}

fn whole<'a>(embeddings: &'a [f32], labels: &'a [u32]) -> Embeddings<'a> {
    Embeddings {
        rows: N,
        dims: D,
        classes: CLASSES,
        embeddings: Values::F32(embeddings),
        labels: Targets::Bits(labels),
        keys: None,
        self_index: None,
        row_mask: None,
        key_mask: None,
        positives: None,
        pair_mask: None,
        label_weight: None,
        grad_loss: None,
    }
}

/// The anchors are the keys: two steps, the second with other embeddings in the same buffers.
fn batch(
    world: &World,
    gpu: &Gpu,
    loss: Contrastive,
    transport: Transport,
    dtype: DType,
) -> Result<Vec<f32>, Failure> {
    let mine = part(world, N);
    let sets = labels(7);
    let here = bytes(
        &sets[mine.start * WORDS..mine.end * WORDS],
        u32::to_le_bytes,
    );
    let (x, grad) = (
        gpu.zeros(dtype.size() * (mine.len() * D) as u64)?,
        gpu.zeros(4 * (mine.len() * D) as u64)?,
    );
    let label_buffer = gpu.upload(&here)?;
    let part = Batch {
        rows: mine.len(),
        dims: D,
        classes: CLASSES,
        dtype,
        embeddings: &x,
        labels: &label_buffer,
        grad_embeddings: &grad,
        keys: None,
    };
    let mut sharded = ShardedContrastive::prepare(world, gpu, loss, transport, &part)?;
    let mut losses = Vec::new();
    for step in 0..2 {
        let mut all = numbers(step, N * D);
        // Numbers that 16 bits have, too.
        all.iter_mut().for_each(|x| *x = (64.0 * *x).round() / 64.0);
        let own = &all[mine.start * D..mine.end * D];
        let own: Vec<u8> = match dtype {
            DType::F32 => bytes(own, f32::to_le_bytes),
            _ => (own.iter())
                .flat_map(|x| ((x.to_bits() >> 16) as u16).to_le_bytes())
                .collect(),
        };
        gpu.queue().write_buffer(&x, 0, &own);
        let totals = sharded.step()?;
        let truth =
            Engine::reference().contrastive(&loss, &whole(&all, &sets), Wanted::Gradients)?;
        compare("loss", &[totals.loss], &truth.loss)?;
        compare(
            "temperature",
            &[totals.grad_temperature],
            &truth.grad_temperature,
        )?;
        let found = floats(gpu, &grad, mine.len() * D)?;
        compare(
            "embeddings",
            &found,
            &truth.grad_embeddings[mine.start * D..mine.end * D],
        )?;
        losses.push(totals.loss);
    }
    sent(world, transport, (dtype, 2))?;
    Ok(losses)
}

/// That a rank has sent as many bytes in so many steps as the README says.
fn sent(world: &World, transport: Transport, (dtype, steps): (DType, u64)) -> Result<(), Failure> {
    let (size, rank) = (world.size(), world.rank());
    let rows = |rank| part_of(size, rank, N).len() as u64;
    let each = D as u64 * dtype.size() + 4 * WORDS as u64;
    let others = size as u64 - 1;
    let gradients = 4 * D as u64 * (N as u64 - rows(rank));
    // On a ring the next rank's block does not come to it again.
    let round = each * (N as u64 - rows((rank + 1) % size));
    let expected = match transport {
        Transport::AllGather => vec![
            ("the all-gather of keys", each * rows(rank) * others),
            ("the reduce-scatter of gradients to keys", gradients),
            ("the all-gather of losses", 16 * others),
        ],
        Transport::Ring => vec![
            ("the ring of keys", round),
            ("the second ring of keys", round),
            ("the return of gradients to keys", gradients),
            ("the all-gather of losses", 16 * others),
        ],
    };
    let traffic = world.traffic();
    for (what, bytes) in expected {
        let found = traffic.get(what).map_or(0, |traffic| traffic.bytes);
        if found != steps * bytes {
            let due = steps * bytes;
            let told = format!("{what}: {found} bytes in place of {due}");
            return Err(Failure::Numbers(told));
        }
    }
    Ok(())
}

/// Keys of another encoder, `SigLIP`'s loss.
fn pairs(world: &World, gpu: &Gpu, transport: Transport) -> Result<Vec<f32>, Failure> {
    let loss = Contrastive {
        denominator: Denominator::Sigmoid,
        bias: -2.0,
        reduction: ContrastiveReduction::MeanAll,
        ..Contrastive::info_nce()
    };
    let mine = part(world, N);
    let (all, others, sets) = (numbers(1, N * D), numbers(2, N * D), labels(3));
    let own = |values: &[f32]| bytes(&values[mine.start * D..mine.end * D], f32::to_le_bytes);
    let (x, y) = (gpu.upload(&own(&all))?, gpu.upload(&own(&others))?);
    let size = 4 * (mine.len() * D) as u64;
    let (to_x, to_y) = (gpu.zeros(size)?, gpu.zeros(size)?);
    let here = bytes(
        &sets[mine.start * WORDS..mine.end * WORDS],
        u32::to_le_bytes,
    );
    let label_buffer = gpu.upload(&here)?;
    let part = Batch {
        rows: mine.len(),
        dims: D,
        classes: CLASSES,
        dtype: DType::F32,
        embeddings: &x,
        labels: &label_buffer,
        grad_embeddings: &to_x,
        keys: Some(OwnKeys {
            embeddings: &y,
            grad: Some(&to_y),
        }),
    };
    let mut sharded = ShardedContrastive::prepare(world, gpu, loss, transport, &part)?;
    let totals = sharded.step()?;
    let index: Vec<i32> = (0..N as i32).collect();
    let truth = Embeddings {
        keys: Some(KeyEmbeddings {
            rows: N,
            embeddings: Values::F32(&others),
            labels: Targets::Bits(&sets),
        }),
        self_index: Some(&index),
        ..whole(&all, &sets)
    };
    let truth = Engine::reference().contrastive(&loss, &truth, Wanted::Gradients)?;
    compare("loss", &[totals.loss], &truth.loss)?;
    compare("bias", &[totals.grad_bias], &truth.grad_bias)?;
    for (name, grad, truth) in [
        ("embeddings", &to_x, &truth.grad_embeddings),
        ("keys", &to_y, &truth.grad_keys),
    ] {
        let found = floats(gpu, grad, mine.len() * D)?;
        compare(name, &found, &truth[mine.start * D..mine.end * D])?;
    }
    Ok(vec![totals.loss])
}

/// With the keys of earlier steps, of which the queue holds one batch and a half.
fn queue(
    world: &World,
    gpu: &Gpu,
    loss: Contrastive,
    transport: Transport,
) -> Result<Vec<f32>, Failure> {
    const MOST: usize = N + N / 2;
    let mine = part(world, N);
    let size = 4 * (mine.len() * D) as u64;
    let (x, grad) = (gpu.zeros(size)?, gpu.zeros(size)?);
    let label_buffer = gpu.zeros(4 * (mine.len() * WORDS) as u64)?;
    let part = Batch {
        rows: mine.len(),
        dims: D,
        classes: CLASSES,
        dtype: DType::F32,
        embeddings: &x,
        labels: &label_buffer,
        grad_embeddings: &grad,
        keys: None,
    };
    let sharded = ShardedContrastive::prepare(world, gpu, loss, transport, &part)?;
    let mut sharded = sharded.with_queue(MOST)?;
    // What the queue holds, the newest last.
    let (mut old, mut old_sets): (Vec<f32>, Vec<u32>) = (Vec::new(), Vec::new());
    let mut losses = Vec::new();
    for step in 0..4 {
        let (all, sets) = (numbers(10 + step, N * D), labels(20 + step));
        let own = &all[mine.start * D..mine.end * D];
        gpu.queue()
            .write_buffer(&x, 0, &bytes(own, f32::to_le_bytes));
        let own = &sets[mine.start * WORDS..mine.end * WORDS];
        gpu.queue()
            .write_buffer(&label_buffer, 0, &bytes(own, u32::to_le_bytes));
        let totals = sharded.step()?;
        let keys = [all.as_slice(), &old].concat();
        let key_sets = [sets.as_slice(), &old_sets].concat();
        let index: Vec<i32> = (0..N as i32).collect();
        let truth = Embeddings {
            keys: Some(KeyEmbeddings {
                rows: keys.len() / D,
                embeddings: Values::F32(&keys),
                labels: Targets::Bits(&key_sets),
            }),
            self_index: Some(&index),
            ..whole(&all, &sets)
        };
        let truth = Engine::reference().contrastive(&loss, &truth, Wanted::Gradients)?;
        compare("loss", &[totals.loss], &truth.loss)?;
        let both = truth.grad_embeddings.iter().zip(&truth.grad_keys);
        let both: Vec<f32> = both.map(|(a, b)| a + b).collect();
        let found = floats(gpu, &grad, mine.len() * D)?;
        compare("embeddings", &found, &both[mine.start * D..mine.end * D])?;
        losses.push(totals.loss);
        old.extend(&all);
        old_sets.extend(&sets);
        let gone = (old.len() / D).saturating_sub(MOST);
        old.drain(..gone * D);
        old_sets.drain(..gone * WORDS);
    }
    Ok(losses)
}
