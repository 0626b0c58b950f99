//! Measures what the simulation of `tools/scale.py` begins with, and what it has to reproduce.
//!
//!     mpirun -n 1 target/release/examples/scale phases 4   # the halves of a step of one of 4 ranks, alone on the machine
//!     mpirun -n 2 target/release/examples/scale link       # what the collectives take by themselves
//!     mpirun -n 4 target/release/examples/scale steps      # whole steps
//!
//! Each line has a name, how many ranks the batch or the labels are shared among, wall-clock seconds, and seconds of CPU time of
//! this process; of several runs in turns the shortest, and the mean of its CPU time.

use rustix::time::{ClockId, clock_gettime};
use std::error::Error;
use std::time::Instant;
use wgloss::host::Gpu;
use wgloss::wgpu::Buffer;
use wgloss::{
    AnyLoss, Contrastive, ContrastiveInputs, ContrastiveOutputs, DType, Keys, Linear, LinearInputs,
    LinearOutputs, Mergeable, RowInputs, RowOutputs, Setting, Targets, Tensor, Update, Zlpr,
};
use wgloss_mpi::{Batch, ShardedContrastive, ShardedLinear, ShardedRows, Transport, World};

/// The shapes of all ranks together: rows and labels; rows, labels, components; samples, components, labels.
const ROWS: [usize; 2] = [256, 65_536];
const LINEAR: [usize; 3] = [256, 16_384, 64];
const CONTRASTIVE: [usize; 3] = [2_048, 128, 64];
const RUNS: usize = 9;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let world = World::open()?;
    world.abort_on_panic();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["phases", ranks] => phases(&world.gpu()?, ranks.parse()?)?,
        ["link"] => link(&world)?,
        ["steps"] => steps(&world)?,
        _ => return Err("one of: phases RANKS, link, steps".into()),
    }
    world.close()?;
    Ok(())
}

/// Seconds of CPU time of this process.
fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Runs something some times after once, and prints the shortest.
fn time(
    name: &str,
    ranks: usize,
    loud: bool,
    mut work: impl FnMut() -> Outcome<()>,
) -> Outcome<()> {
    work()?;
    let (mut wall, mut used) = (f64::INFINITY, 0.0);
    for _ in 0..RUNS {
        let (began, before) = (Instant::now(), cpu());
        work()?;
        wall = wall.min(began.elapsed().as_secs_f64());
        used += cpu() - before;
    }
    if loud {
        println!("{name} {ranks} {wall:.6} {:.6}", used / RUNS as f64);
    }
    Ok(())
}

fn up(gpu: &Gpu, to: &Buffer, bytes: usize) {
    if bytes > 0 {
        gpu.queue().write_buffer(to, 0, &vec![0; bytes]);
    }
}

fn random(gpu: &Gpu, len: usize) -> Outcome<Buffer> {
    let mut state = 1_u64;
    let mut bytes = Vec::with_capacity(4 * len);
    for _ in 0..len {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let x = (state >> 40) as f32 / 8_388_608.0 - 1.0;
        bytes.extend(x.to_le_bytes());
    }
    Ok(gpu.upload(&bytes)?)
}

/// Buffers of each scheme, for a share of its labels or samples.
struct Buffers {
    big: Buffer,
    small: Buffer,
    flags: Buffer,
    grad: Buffer,
    loss: Buffer,
    offsets: Buffer,
}

fn rows_tensors<'a>(b: &'a Buffers, cols: usize) -> (RowInputs<'a>, RowOutputs<'a>) {
    let inputs = RowInputs::new(
        Tensor::matrix(&b.big, DType::F32, ROWS[0], cols),
        Targets::Dense(Tensor::matrix(&b.flags, DType::U8, ROWS[0], cols)),
    );
    let outputs = RowOutputs {
        loss: Some(Tensor::vector(&b.loss, DType::F32, 1)),
        grad_logits: Some(Tensor::matrix(&b.grad, DType::F32, ROWS[0], cols).into()),
        ..RowOutputs::default()
    };
    (inputs, outputs)
}

fn linear_tensors<'a>(b: &'a Buffers, cols: usize) -> (LinearInputs<'a>, LinearOutputs<'a>) {
    let [rows, _, dims] = LINEAR;
    let inputs = LinearInputs {
        targets: Some(Targets::Sparse {
            offsets: Tensor::vector(&b.offsets, DType::U32, rows + 1),
            indices: Tensor::vector(&b.offsets, DType::U32, 1),
        }),
        ..LinearInputs::new(
            Tensor::matrix(&b.small, DType::F32, rows, dims),
            Tensor::matrix(&b.big, DType::F32, cols, dims),
        )
    };
    let outputs = LinearOutputs {
        loss: Some(Tensor::vector(&b.loss, DType::F32, 1)),
        ..LinearOutputs::default()
    };
    (inputs, outputs)
}

fn layer() -> Linear<AnyLoss> {
    Linear::new(AnyLoss::from(Zlpr::hard())).with_update(Update::sgd(1e-6), 0)
}

fn rows_buffers(gpu: &Gpu, cols: usize) -> Outcome<Buffers> {
    Ok(Buffers {
        big: random(gpu, ROWS[0] * cols)?,
        small: gpu.zeros(4)?,
        flags: gpu.zeros((ROWS[0] * cols) as u64)?,
        grad: gpu.zeros(4 * (ROWS[0] * cols) as u64)?,
        loss: gpu.zeros(4)?,
        offsets: gpu.zeros(4)?,
    })
}

fn linear_buffers(gpu: &Gpu, cols: usize) -> Outcome<Buffers> {
    let [rows, _, dims] = LINEAR;
    Ok(Buffers {
        big: random(gpu, cols * dims)?,
        small: random(gpu, rows * dims)?,
        flags: gpu.zeros(4)?,
        grad: gpu.zeros(4 * (rows * dims) as u64)?,
        loss: gpu.zeros(4)?,
        offsets: gpu.zeros(4 * (rows + 1) as u64)?,
    })
}

/// The halves of one rank's step, with the copies between host and device that belong to them.
fn phases(gpu: &Gpu, ranks: usize) -> Outcome<()> {
    let cx = gpu.context();
    let words = Zlpr::hard().accumulator()?.words;

    let b = rows_buffers(gpu, ROWS[1] / ranks)?;
    let (inputs, outputs) = rows_tensors(&b, ROWS[1] / ranks);
    let own = 4 * ROWS[0] * words;
    let (made, all) = (gpu.zeros(own as u64)?, gpu.zeros((ranks * own) as u64)?);
    let to = Tensor::matrix(&made, DType::F32, ROWS[0], words);
    let from = Tensor::matrix(&all, DType::F32, ranks, ROWS[0] * words);
    let first = Zlpr::hard().prepare_partial(cx, &inputs, to)?;
    let second = Zlpr::hard().prepare_merged(cx, &inputs, from, &outputs)?;
    time("rows-first", ranks, true, || {
        gpu.run(&[&first])?;
        gpu.download(&made, own as u64)?;
        Ok(())
    })?;
    time("rows-second", ranks, true, || {
        up(gpu, &all, ranks * own);
        Ok(gpu.run(&[&second])?)
    })?;

    let [rows, labels, dims] = LINEAR;
    let b = linear_buffers(gpu, labels / ranks)?;
    let (inputs, outputs) = linear_tensors(&b, labels / ranks);
    let own = 4 * rows * words;
    let (made, all) = (gpu.zeros(own as u64)?, gpu.zeros((ranks * own) as u64)?);
    let to = Tensor::matrix(&made, DType::F32, rows, words);
    let from = Tensor::matrix(&all, DType::F32, ranks, rows * words);
    let outputs = LinearOutputs {
        grad_hidden: Some(Tensor::matrix(&b.grad, DType::F32, rows, dims).into()),
        ..outputs
    };
    let first = layer().prepare_partial(cx, &inputs, to)?;
    let second = layer().prepare_merged(cx, &inputs, from, &outputs)?;
    time("linear-first", ranks, true, || {
        gpu.run(&[&first])?;
        gpu.download(&made, own as u64)?;
        Ok(())
    })?;
    time("linear-second", ranks, true, || {
        up(gpu, &all, ranks * own);
        gpu.run(&[&second])?;
        gpu.download(&b.grad, 4 * (rows * dims) as u64)?;
        Ok(())
    })?;

    contrastive_phases(gpu, ranks)
}

/// What a rank does with the gathered keys of all, and with blocks of them that come along a ring.
fn contrastive_phases(gpu: &Gpu, ranks: usize) -> Outcome<()> {
    let cx = gpu.context();
    let [n, dims, classes] = CONTRASTIVE;
    let (rows, words) = (n / ranks, classes.div_ceil(32));
    let (x, keys) = (random(gpu, rows * dims)?, random(gpu, n * dims)?);
    let (sets, key_sets) = (random(gpu, rows * words)?, random(gpu, n * words)?);
    let (to_x, to_keys) = (
        gpu.zeros(4 * (rows * dims) as u64)?,
        gpu.zeros(4 * (n * dims) as u64)?,
    );
    let (loss, count) = (gpu.zeros(4)?, gpu.zeros(4)?);
    let one = gpu.upload(bytemuck::bytes_of(&1.0_f32))?;
    let settings = [Setting {
        name: "count",
        value: Tensor::vector(&one, DType::F32, 1),
    }];
    let bits = |buffer, rows| Targets::Bits(Tensor::matrix(buffer, DType::U32, rows, words));
    let sim_dis = Contrastive::sim_dis();
    let inputs = |count: usize, first: u32| ContrastiveInputs {
        keys: Some(Keys {
            embeddings: Tensor::matrix(&keys, DType::F32, count, dims),
            labels: bits(&key_sets, count),
        }),
        self_offset: Some(0_u32.wrapping_sub(first)),
        settings: &settings,
        ..ContrastiveInputs::new(
            Tensor::matrix(&x, DType::F32, rows, dims),
            classes,
            bits(&sets, rows),
        )
    };
    let own = ContrastiveInputs {
        keys: None,
        self_offset: None,
        ..inputs(0, 0)
    };
    let sums = |inputs| ContrastiveInputs {
        settings: &[],
        ..inputs
    };
    let outputs = |to_keys| ContrastiveOutputs {
        loss: Some(Tensor::vector(&loss, DType::F32, 1)),
        count: Some(Tensor::vector(&count, DType::F32, 1)),
        grad_embeddings: Some(Tensor::matrix(&to_x, DType::F32, rows, dims).into()),
        grad_keys: to_keys,
        ..ContrastiveOutputs::default()
    };
    let to = |count| Some(Tensor::matrix(&to_keys, DType::F32, count, dims).into());
    let call = sim_dis.prepare(cx, &inputs(n, 0), &outputs(to(n)))?;
    time("contrastive-first", ranks, true, || {
        gpu.download(&x, 4 * (rows * dims) as u64)?;
        Ok(())
    })?;
    time("contrastive-second", ranks, true, || {
        up(gpu, &keys, 4 * n * dims);
        gpu.run(&[&call])?;
        gpu.download(&to_keys, 4 * (n * dims) as u64)?;
        gpu.download(&to_x, 4 * (rows * dims) as u64)?;
        Ok(())
    })?;
    time("contrastive-third", ranks, true, || {
        up(gpu, &to_x, 4 * rows * dims);
        Ok(gpu.run(&[])?)
    })?;

    let width = sim_dis.accumulator()?.words;
    let all = gpu.zeros(4 * (n * width) as u64)?;
    let met = Tensor::matrix(&all, DType::F32, ranks, rows * width);
    let one = Tensor::matrix(&all, DType::F32, rows, width);
    let block = inputs(rows, rows as u32);
    let calls = [
        sim_dis.prepare_partial(cx, &sums(own), one)?,
        sim_dis.prepare_merged(cx, &own, met, &outputs(None))?,
        sim_dis.prepare_partial(cx, &sums(block), one)?,
        sim_dis.prepare_merged(cx, &block, met, &outputs(to(rows)))?,
    ];
    time("ring-own-first", ranks, true, || Ok(gpu.run(&[&calls[0]])?))?;
    time(
        "ring-own-second",
        ranks,
        true,
        || Ok(gpu.run(&[&calls[1]])?),
    )?;
    time("ring-block-first", ranks, true, || {
        up(gpu, &keys, 4 * rows * dims);
        Ok(gpu.run(&[&calls[2]])?)
    })?;
    time("ring-block-second", ranks, true, || {
        up(gpu, &keys, 4 * rows * dims);
        gpu.run(&[&calls[3]])?;
        gpu.download(&to_keys, 4 * (rows * dims) as u64)?;
        Ok(())
    })
}

/// What a gather of a word takes, and one of 4 MiB of each rank; a sum of 4 MiB. Each several times in a row, since a rank may
/// find what it waits for.
fn link(world: &World) -> Outcome<()> {
    let loud = world.rank() == 0;
    let many = vec![1_u32; 1 << 20];
    let floats = vec![1.0_f32; 1 << 20];
    time("50-gathers-4", world.size(), loud, || {
        (0..50).try_for_each(|_| Ok(world.gather("a word", &[1]).map(drop)?))
    })?;
    time("5-gathers-4194304", world.size(), loud, || {
        (0..5).try_for_each(|_| Ok(world.gather("words", &many).map(drop)?))
    })?;
    time("5-sums-4194304", world.size(), loud, || {
        (0..5).try_for_each(|_| Ok(world.sum("numbers", &floats).map(drop)?))
    })
}

/// Whole steps, from when all ranks are ready to when all are done.
fn steps(world: &World) -> Outcome<()> {
    let (gpu, ranks, loud) = (world.gpu()?, world.size(), world.rank() == 0);
    let ready = || world.gather("ready", &[0]).map(drop);
    let timed = |name: &str, step: &mut dyn FnMut() -> Outcome<()>| -> Outcome<()> {
        step()?;
        let mut wall = f64::INFINITY;
        for _ in 0..RUNS {
            ready()?;
            let began = Instant::now();
            step()?;
            ready()?;
            wall = wall.min(began.elapsed().as_secs_f64());
        }
        if loud {
            println!("{name} {ranks} {wall:.6} 0");
        }
        Ok(())
    };

    let cols = ROWS[1] / ranks;
    let b = rows_buffers(&gpu, cols)?;
    let (inputs, outputs) = rows_tensors(&b, cols);
    let sharded = ShardedRows::prepare(world, &gpu, Zlpr::hard(), (&inputs, &outputs), 1)?;
    timed("rows", &mut || Ok(sharded.step()?))?;

    let [_, labels, _] = LINEAR;
    let b = linear_buffers(&gpu, labels / ranks)?;
    let (inputs, outputs) = linear_tensors(&b, labels / ranks);
    let tensors = (&inputs, &outputs);
    let sharded = ShardedLinear::prepare(world, &gpu, &layer(), tensors, Some(&b.grad), 1)?;
    timed("linear", &mut || Ok(sharded.step()?))?;

    let [n, dims, classes] = CONTRASTIVE;
    let rows = n / ranks;
    let (x, sets) = (
        random(&gpu, rows * dims)?,
        random(&gpu, rows * classes.div_ceil(32))?,
    );
    let grad = gpu.zeros(4 * (rows * dims) as u64)?;
    let batch = Batch {
        rows,
        dims,
        classes,
        dtype: DType::F32,
        embeddings: &x,
        labels: &sets,
        grad_embeddings: &grad,
        keys: None,
    };
    let loss = Contrastive::sim_dis();
    for (name, transport) in [
        ("contrastive", Transport::AllGather),
        ("ring", Transport::Ring),
    ] {
        let mut sharded = ShardedContrastive::prepare(world, &gpu, loss, transport, &batch)?;
        timed(name, &mut || Ok(sharded.step().map(drop)?))?;
    }
    Ok(())
}
