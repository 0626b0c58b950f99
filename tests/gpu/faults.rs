//! Whatever goes wrong on a device comes out as the one error, and the next call works: on a fresh device where the old one
//! is lost, else on the same.

use crate::embed::{Problem, computes};
use crate::{Test, adapter_of};
use libtest_mimic::Failed;
use std::time::Duration;
use wgloss::host::{Dense, Engine, Gpu, Rows, Values, Wanted};
use wgloss::{
    Contrastive, ContrastiveInputs, ContrastiveOutputs, DType, Error, ErrorKind, Keys, Prepared,
    Targets, Tensor, Zlpr, wgpu,
};

pub const TESTS: &[Test] = &[
    ("faults/a_device_lost_at_each_stage", lost),
    ("faults/a_device_lost_while_it_works", lost_at_work),
    ("faults/out_of_memory", out_of_memory),
    ("faults/errors_that_reach_nobody_else", uncaptured),
    ("faults/wrong_usages_and_overlaps", usages),
];

/// An error of this kind whose text has all of these.
fn expect<T>(
    what: &str,
    found: Result<T, Error>,
    kind: ErrorKind,
    texts: &[&str],
) -> Result<(), Failed> {
    match found {
        Err(error)
            if error.kind() == kind && texts.iter().all(|t| error.to_string().contains(t)) =>
        {
            Ok(())
        }
        Err(error) => Err(format!("{what}: {:?}: {error}", error.kind()).into()),
        Ok(_) => Err(format!("{what}: no error").into()),
    }
}

fn encoder(gpu: &Gpu) -> wgpu::CommandEncoder {
    let device = gpu.context().device();
    device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
}

/// Before a call is prepared, recorded, submitted, read.
fn lost(gpu: &Gpu) -> Result<(), Failed> {
    let adapter = adapter_of(gpu)?;
    let stages = ["prepare", "encode", "submit", "read"];
    for stage in stages {
        let lost = Gpu::from_adapter(&adapter)?;
        let destroy_at = |at: &str| {
            if at == stage {
                lost.context().device().destroy();
            }
        };
        let problem = Problem::new(&lost, 4, 10, 6)?;
        let device = |what: &str, found: Result<(), Error>| {
            let what = format!("lost before {stage}: {what}");
            expect(&what, found, ErrorKind::Device, &["device: ", "lost"])
        };
        destroy_at("prepare");
        let prepared = problem.call(&lost, Zlpr::hard());
        if stage == "prepare" {
            device("prepare", prepared.map(|_| ()))?;
        } else {
            let call = prepared?;
            destroy_at("encode");
            let mut recorded = encoder(&lost);
            call.encode(&mut recorded);
            destroy_at("submit");
            let submitted = lost.finish(recorded);
            if stage == "read" {
                submitted?;
                destroy_at("read");
            } else {
                device("submit", submitted)?;
            }
            // What was prepared, and perhaps run, before.
            device("run again", lost.run(&[&call]))?;
        }
        device("read", lost.download(&problem.loss, 4).map(|_| ()))?;
        device("verify", lost.verify().map(|_| ()))?;
        let slices = Rows::new(
            1,
            3,
            Values::F32(&[1.0, 2.0, 3.0]),
            Targets::Dense(Dense::Flags(&[0, 1, 0])),
        );
        let engine = Engine::on(lost.clone()).rows(&Zlpr::hard(), &slices, Wanted::Loss);
        device("slices", engine.map(|_| ()))?;
        computes(&Gpu::from_adapter(&adapter)?)?;
    }
    Ok(())
}

/// A call that takes a while, and how long.
fn long_call(gpu: &Gpu) -> Result<(Problem, Vec<Prepared>), Failed> {
    let problem = Problem::new(gpu, 512, 4096, 3)?;
    let calls = (0..20).map(|_| problem.prepare(gpu, Zlpr::hard()));
    let calls = calls.collect::<Result<Vec<_>, _>>()?;
    Ok((problem, calls))
}

/// Another thread ends the device while one waits for it: the wait ends, with the work done or with the error.
fn lost_at_work(gpu: &Gpu) -> Result<(), Failed> {
    let adapter = adapter_of(gpu)?;
    let lost = Gpu::from_adapter(&adapter)?.with_timeout(Duration::from_secs(60));
    let (problem, calls) = long_call(&lost)?;
    let ended = std::thread::scope(|scope| {
        let device = lost.context().device().clone();
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(10));
            device.destroy();
        });
        lost.run(&calls.iter().collect::<Vec<_>>())
    });
    if let Err(error) = ended {
        expect("the wait", Err::<(), _>(error), ErrorKind::Device, &[])?;
    }
    let read = lost.download(&problem.loss, 4);
    expect("what comes then", read, ErrorKind::Device, &["device"])?;
    computes(&Gpu::from_adapter(&adapter)?)
}

/// The adapter that a device is on, of an instance that lets a share of the memory be taken.
fn limited(gpu: &Gpu, percent: u8) -> Option<wgpu::Adapter> {
    let backends = wgpu::Backends::from(gpu.info().backend);
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends,
        memory_budget_thresholds: wgpu::MemoryBudgetThresholds {
            for_resource_creation: Some(percent),
            for_device_loss: None,
        },
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let all = pollster::block_on(instance.enumerate_adapters(backends));
    all.into_iter()
        .find(|adapter| adapter.get_info() == *gpu.info())
}

/// Embeddings and keys whose call takes half a gigabyte of scratch, four times what one of the two has. Their memory is
/// never touched.
struct Large {
    z: [wgpu::Buffer; 2],
    sets: wgpu::Buffer,
    loss: wgpu::Buffer,
}

impl Large {
    const ROWS: usize = 15_360;
    const WIDTH: usize = 4096;

    fn new(gpu: &Gpu) -> Result<Large, Error> {
        let embeddings = || gpu.zeros((2 * Large::ROWS * Large::WIDTH) as u64);
        Ok(Large {
            z: [embeddings()?, embeddings()?],
            sets: gpu.zeros(4 * Large::ROWS as u64)?,
            loss: gpu.upload(&[0xff; 4])?,
        })
    }

    fn call(&self, gpu: &Gpu) -> Result<Prepared, Error> {
        let matrix = |buffer| Tensor::matrix(buffer, DType::F16, Large::ROWS, Large::WIDTH);
        let [own, keys] = &self.z;
        let labels = Targets::Bits(Tensor::matrix(&self.sets, DType::U32, Large::ROWS, 1));
        let inputs = ContrastiveInputs {
            keys: Some(Keys {
                embeddings: matrix(keys),
                labels,
            }),
            ..ContrastiveInputs::new(matrix(own), 32, labels)
        };
        let outputs = ContrastiveOutputs {
            loss: Some(Tensor::vector(&self.loss, DType::F32, 1)),
            ..ContrastiveOutputs::default()
        };
        Contrastive::default().prepare(gpu.context(), &inputs, &outputs)
    }
}

/// Whether a share of the memory suffices.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Room {
    /// For nothing, or other programs took what was there.
    None,
    /// For all but the scratch.
    Small,
    All,
}

/// What a share of the memory is enough for. Any other error than that of memory is a failure, and so is a call that has
/// written something, or a context that does not go on.
fn room(adapter: &wgpu::Adapter) -> Result<Room, Failed> {
    let full = |error: &Error| error.kind() == ErrorKind::OutOfMemory;
    let gpu = match Gpu::from_adapter(adapter) {
        Ok(gpu) => gpu,
        // Not even a device.
        Err(error) if full(&error) || error.kind() == ErrorKind::Device => return Ok(Room::None),
        Err(error) => return Err(format!("{:?}: {error}", error.kind()).into()),
    };
    let found = || -> Result<Room, Error> {
        let large = Large::new(&gpu)?;
        computes_small(&gpu)?;
        for _ in 0..2 {
            match large.call(&gpu) {
                Ok(_) => return Ok(Room::All),
                Err(error) if full(&error) => {}
                Err(error) => return Err(error),
            }
            computes_small(&gpu)?;
        }
        match gpu.download(&large.loss, 4)?[..] {
            [0xff, 0xff, 0xff, 0xff] => Ok(Room::Small),
            _ => Err(Error::refused("loss", "was written")),
        }
    };
    match found() {
        Ok(room) => Ok(room),
        Err(error) if full(&error) => Ok(Room::None),
        Err(error) => Err(format!("{:?}: {error}", error.kind()).into()),
    }
}

/// As [`computes`], with the crate's own error.
fn computes_small(gpu: &Gpu) -> Result<(), Error> {
    computes(gpu).map_err(|failed| {
        let message = failed.message().unwrap_or_default();
        let kind = match message.contains("out of memory") {
            true => ErrorKind::OutOfMemory,
            false => ErrorKind::Device,
        };
        Error::because(kind, "a small call", message)
    })
}

/// Where the memory does not suffice for a call's scratch, `prepare` says so, nothing is written and the context goes on;
/// where it suffices for nothing, whatever is asked for says so.
fn out_of_memory(gpu: &Gpu) -> Result<(), Failed> {
    let mut rooms = Vec::new();
    for percent in 1..=99 {
        let adapter = limited(gpu, percent).ok_or("the adapter has gone")?;
        let room = room(&adapter)?;
        rooms.push(room);
        if room == Room::All {
            break;
        }
    }
    eprintln!("out of memory: {rooms:?}");
    // Mesa's software driver tells of its budget; others need not. Where there is so much memory that a hundredth of it is
    // more than the scratch, a share may be enough for nothing or for everything.
    match (rooms.contains(&Room::Small), rooms.len() > 1) {
        (true, _) => {}
        (false, true) => eprintln!("SKIPPED: no share is enough for all but the scratch"),
        (false, false) if gpu.info().driver != "llvmpipe" => {
            eprintln!("SKIPPED: this driver tells of no budget");
        }
        (false, false) => return Err("a hundredth of the memory is enough for all".into()),
    }
    computes(&Gpu::from_adapter(&adapter_of(gpu)?)?)
}

/// An error of the user's own on a device of the host layer reaches no scope: what comes then says it.
fn uncaptured(gpu: &Gpu) -> Result<(), Failed> {
    let adapter = adapter_of(gpu)?;
    let own = Gpu::from_adapter(&adapter)?;
    let problem = Problem::new(&own, 4, 10, 6)?;
    let call = problem.prepare(&own, Zlpr::hard())?;
    own.run(&[&call])?;
    // No device has buffers of that size.
    let _ = own
        .context()
        .device()
        .create_buffer(&wgpu::BufferDescriptor {
            label: Some("the user's"),
            size: u64::MAX / 2,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        });
    let told = &["device: lost or faulted: ", "the user's"][..];
    expect("run", own.run(&[&call]), ErrorKind::Device, told)?;
    expect(
        "download",
        own.download(&problem.loss, 4),
        ErrorKind::Device,
        told,
    )?;
    expect("verify", own.verify(), ErrorKind::Device, told)?;
    computes(&Gpu::from_adapter(&adapter)?)
}

/// What a problem is made of instead.
type Change<'a> = &'a dyn Fn(&mut Problem);

/// Buffers that cannot be what they are named for, and outputs over each other: the device goes on.
fn usages(gpu: &Gpu) -> Result<(), Failed> {
    let adapter = adapter_of(gpu)?;
    let own = Gpu::from_adapter(&adapter)?;
    let device = own.context().device();
    let buffer = |usage, mapped| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 160,
            usage,
            mapped_at_creation: mapped,
        })
    };
    let (storage, copy) = (wgpu::BufferUsages::STORAGE, wgpu::BufferUsages::COPY_DST);
    let problem = || Problem::new(&own, 4, 10, 6);
    let with = |change: &dyn Fn(&mut Problem)| -> Result<Result<Prepared, Error>, Failed> {
        let mut problem = problem()?;
        change(&mut problem);
        Ok(problem.call(&own, Zlpr::hard()))
    };
    let cases: [(&str, Change<'_>); 3] = [
        ("logits", &|p| p.logits = buffer(copy, false)),
        ("targets", &|p| p.targets = buffer(copy, false)),
        ("grad_logits", &|p| {
            p.grad = buffer(wgpu::BufferUsages::UNIFORM, false);
        }),
    ];
    for (name, change) in cases {
        expect(
            name,
            with(change)?,
            ErrorKind::Buffer,
            &[name, "usage STORAGE"],
        )?;
        computes(&own)?;
    }
    let cases: [(&str, Change<'_>); 3] = [
        ("the loss in the gradient", &|p| p.loss = p.grad.clone()),
        ("the gradient over logits", &|p| p.grad = p.logits.clone()),
        ("the loss over targets", &|p| p.loss = p.targets.clone()),
    ];
    for (what, change) in cases {
        expect(
            what,
            with(change)?,
            ErrorKind::Buffer,
            &["memory apart from", "overlap"],
        )?;
        computes(&own)?;
    }
    // Mapped while it is submitted; a buffer that nothing can be copied from.
    let mapped = Problem {
        logits: buffer(storage, true),
        ..problem()?
    };
    let call = mapped.call(&own, Zlpr::hard())?;
    expect(
        "a mapped buffer",
        own.run(&[&call]),
        ErrorKind::Device,
        &["map"],
    )?;
    computes(&own)?;
    mapped.logits.unmap();
    own.run(&[&call])?;
    let unread = own.download(&buffer(storage, false), 4);
    expect(
        "a buffer without COPY_SRC",
        unread,
        ErrorKind::Device,
        &["COPY_SRC"],
    )?;
    computes(&own)
}
