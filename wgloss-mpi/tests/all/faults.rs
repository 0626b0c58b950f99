//! Ranks that fail, and what the others say.

use crate::job::{self, CASE};
use libtest_mimic::{Failed, Trial};
use std::process::Command;
use std::time::Duration;
use wgloss::{AnyLoss, Bce, Contrastive, DType, Focal, RowInputs, RowOutputs, Targets, Tensor};
use wgloss_mpi::{Batch, Error, ShardedContrastive, ShardedRows, Transport, World};

const RANKS: usize = 4;
/// The rank that fails, and at which of the sums.
const BAD: usize = 2;
const AT: usize = 3;
/// How long ranks wait for one another here.
const TIMEOUT: Duration = Duration::from_secs(6);
/// Within what a job must have ended: it begins, waits, asks, and is cleared away.
const LIMIT: Duration = Duration::from_secs(30);

/// How a rank fails, and whether it can be known of before the time is up.
const WAYS: [(&str, bool); 8] = [
    ("killed", true),
    ("exits", true),
    ("exits-well", true),
    ("aborts", true),
    ("panics", true),
    ("panics-elsewhere", true),
    ("returns", false),
    ("sleeps", false),
];

/// The same of a rank whose neighbours on a ring wait for what the others have.
const RING_WAYS: [(&str, bool); 3] = [
    ("ring-killed", true),
    ("ring-device", true),
    ("ring-sleeps", false),
];

/// Where the others are when they hear of it.
const PLACES: [&str; 3] = [
    "the opening of devices",
    "ShardedRows",
    "the all-gather of rows' accumulators",
];

/// In what a rank differs, and what the others say of it.
const DIFFERENCES: [(&str, &str); 7] = [
    ("loss", "rank 2 has accumulator bce, others focal"),
    ("setting", "rank 2 has loss {\"Focal\":{\"gamma\":3.0"),
    ("rows", "rank 2 has rows 5, others 4"),
    ("windows", "rank 2 has windows 3, others 2"),
    ("version", "rank 2 has crate version 0.0.9, others "),
    (
        "tensor",
        "rank 2 said that it goes no further: targets: expected [4, 3]",
    ),
    (
        "device",
        "rank 2 said that it goes no further: device: lost or faulted",
    ),
];

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("faults::nobody", || well("nobody", RANKS)),
        Trial::test("faults::nobody_alone", || well("nobody", 1)),
    ];
    for (way, at_once) in WAYS {
        let name = format!("faults::{}", way.replace('-', "_"));
        let place = "the sum of gradients";
        trials.push(Trial::test(name, move || others_say(way, at_once, place)));
    }
    for (way, at_once) in RING_WAYS {
        let name = format!("faults::{}", way.replace('-', "_"));
        let place = "the ring of keys";
        trials.push(Trial::test(name, move || others_say(way, at_once, place)));
    }
    for (what, sentence) in DIFFERENCES {
        let name = format!("faults::another_{what}");
        trials.push(Trial::test(name, move || others_name(what, sentence)));
    }
    trials.push(Trial::test("faults::another_launcher", launcher));
    trials
}

/// All ranks are told what is different, by name, before anything is sent that would not fit.
fn others_name(what: &str, sentence: &str) -> Result<(), Failed> {
    // Devices are opened and kernels compiled first.
    let ended = job::run(&format!("fault-another-{what}"), RANKS, 8 * LIMIT)?;
    let told = |rank: usize| {
        let begins = format!("rank {rank}: ");
        let mut lines = ended.output.lines();
        lines.any(|line| {
            line.starts_with(&begins)
                && line.contains(sentence)
                && PLACES.iter().any(|place| line.contains(place))
        })
    };
    let silent: Vec<usize> = (0..RANKS)
        .filter(|rank| *rank != BAD && !told(*rank))
        .collect();
    if !silent.is_empty() || ended.success {
        return Err(format!("silent: {silent:?}\n{}", ended.output).into());
    }
    println!(
        "{what}: {:.1} s\n{}",
        ended.took.as_secs_f64(),
        ended.output
    );
    Ok(())
}

/// A launcher that the library knows nothing of begins several jobs of one rank.
fn launcher() -> Result<(), Failed> {
    let exe = std::env::current_exe()?;
    // As the other library's launcher has it.
    let size = if mpich() {
        "OMPI_COMM_WORLD_SIZE"
    } else {
        "PMI_SIZE"
    };
    let output = Command::new(exe)
        .env(CASE, "fault-nobody")
        .env(size, "4")
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() || !said.contains("the launcher is that of another library") {
        return Err(said.into_owned().into());
    }
    Ok(())
}

/// Whether jobs are begun by MPICH's launcher.
fn mpich() -> bool {
    std::env::var("WGLOSS_MPIRUN").is_ok_and(|launcher| launcher.contains("mpich"))
}

fn well(case: &str, ranks: usize) -> Result<(), Failed> {
    let ended = job::run(&format!("fault-{case}"), ranks, LIMIT)?;
    if !ended.success {
        return Err(ended.output.into());
    }
    Ok(())
}

/// Every other rank that had to say something has named the rank and the collective.
fn others_say(way: &str, at_once: bool, place: &str) -> Result<(), Failed> {
    // Where there are devices, they are opened and kernels compiled first.
    let ring = way.starts_with("ring-");
    let limit = if ring { 8 * LIMIT } else { LIMIT };
    let ended = job::run(&format!("fault-{way}"), RANKS, limit)?;
    let told = |rank: usize| {
        let begins = format!("rank {rank}: ");
        ended.output.lines().any(|line| {
            line.starts_with(&begins)
                && line.contains(&format!("rank {BAD}"))
                && line.contains(place)
        })
    };
    let mut silent: Vec<usize> = (0..RANKS)
        .filter(|rank| *rank != BAD && !told(*rank))
        .collect();
    // MPICH's launcher kills the others where one was, before they have said a word, though it is told not to.
    if mpich() && way.ends_with("killed") {
        silent.clear();
    }
    if !silent.is_empty() || ended.success || (at_once && !ring && ended.took > TIMEOUT) {
        let reason = format!(
            "silent: {silent:?}, success: {}, took {:?}\n{}",
            ended.success, ended.took, ended.output
        );
        return Err(reason.into());
    }
    println!("{way}: {:.1} s\n{}", ended.took.as_secs_f64(), ended.output);
    Ok(())
}

/// What one rank does.
pub fn rank(case: &str) -> Result<(), Error> {
    if let Some(what) = case.strip_prefix("another-") {
        return another(what);
    }
    if let Some(way) = case.strip_prefix("ring-") {
        return ring(way);
    }
    let world = World::open()?.with_timeout(TIMEOUT);
    world.abort_on_panic();
    for step in 0..10 {
        if world.rank() == BAD && step == AT && case != "nobody" {
            fail(case, &world);
            return Ok(());
        }
        let sum = world.sum(
            "the sum of gradients",
            &[1.0, step as f32, world.rank() as f32],
        )?;
        let size = world.size() as f32;
        assert_eq!(sum, [size, size * step as f32, size * (size - 1.0) / 2.0]);
    }
    world.close()
}

fn fail(way: &str, world: &World) {
    match way {
        "killed" => {
            let me = rustix::process::getpid();
            let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
        }
        "exits" => std::process::exit(1),
        "exits-well" => std::process::exit(0),
        "aborts" => world.abort(9),
        "panics" => panic!("as it was told to"),
        "panics-elsewhere" => {
            std::thread::spawn(|| panic!("as it was told to"));
        }
        "sleeps" => std::thread::sleep(Duration::from_secs(1000)),
        _ => {}
    }
}

/// Sharded rows of which one rank has something else.
fn another(what: &str) -> Result<(), Error> {
    let world = World::open()?.with_timeout(TIMEOUT);
    let is = |name: &str| world.rank() == BAD && what == name;
    let loss: AnyLoss = match () {
        () if is("loss") => Bce::default().into(),
        () if is("setting") => Focal {
            gamma: 3.0,
            ..Focal::default()
        }
        .into(),
        () => Focal::default().into(),
    };
    let rows = if is("rows") { 5 } else { 4 };
    let windows = if is("windows") { 3 } else { 2 };
    let short = if is("tensor") { 1 } else { 0 };
    let other_device = is("device");
    let world = match is("version") {
        true => world.with_version("0.0.9"),
        false => world,
    };
    let gpu = world.gpu()?;
    let here = |error| Error::Here {
        rank: world.rank(),
        error,
    };
    let (logits, targets) = (gpu.zeros(80).map_err(here)?, gpu.zeros(80).map_err(here)?);
    let inputs = RowInputs::new(
        Tensor::matrix(&logits, DType::F32, rows, 3),
        Targets::Dense(Tensor::matrix(&targets, DType::U8, rows, 3 - short)),
    );
    let loss_buffer = gpu.zeros(4).map_err(here)?;
    let outputs = RowOutputs {
        loss: Some(Tensor::vector(&loss_buffer, DType::F32, 1)),
        ..RowOutputs::default()
    };
    let sharded = ShardedRows::prepare(&world, &gpu, loss, (&inputs, &outputs), windows)?;
    sharded.step()?;
    if other_device {
        gpu.context().device().destroy();
    }
    sharded.step()
}

/// Keys on a ring, of which one rank fails before its second step.
fn ring(way: &str) -> Result<(), Error> {
    const DIMS: usize = 4;
    let world = World::open()?.with_timeout(TIMEOUT);
    let gpu = world.gpu()?;
    let here = |error| Error::Here {
        rank: world.rank(),
        error,
    };
    let rows = 3;
    let bytes = 4 * (rows * DIMS) as u64;
    let (x, grad) = (
        gpu.zeros(bytes).map_err(here)?,
        gpu.zeros(bytes).map_err(here)?,
    );
    let labels = gpu.zeros(4 * rows as u64).map_err(here)?;
    let batch = Batch {
        rows,
        dims: DIMS,
        classes: 5,
        dtype: DType::F32,
        embeddings: &x,
        labels: &labels,
        grad_embeddings: &grad,
        keys: None,
    };
    let loss = Contrastive::sim_dis();
    let mut sharded = ShardedContrastive::prepare(&world, &gpu, loss, Transport::Ring, &batch)?;
    sharded.step()?;
    if world.rank() == BAD {
        match way {
            "device" => gpu.context().device().destroy(),
            way => fail(way, &world),
        }
    }
    sharded.step()?;
    world.gather("the end", &[0]).map(drop)
}
