//! Ranks that fail, and what the others say.

use crate::job;
use libtest_mimic::{Failed, Trial};
use std::time::Duration;
use wgloss_mpi::{Error, World};

const RANKS: usize = 4;
/// The rank that fails, and at which of the sums.
const BAD: usize = 2;
const AT: usize = 3;
/// How long ranks wait for one another here.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Within what a job must have ended: it begins, waits, asks, and is cleared away.
const LIMIT: Duration = Duration::from_secs(15);

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

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("faults::nobody", || well("nobody", RANKS)),
        Trial::test("faults::nobody_alone", || well("nobody", 1)),
    ];
    for (way, at_once) in WAYS {
        let name = format!("faults::{}", way.replace('-', "_"));
        trials.push(Trial::test(name, move || others_say(way, at_once)));
    }
    trials
}

fn well(case: &str, ranks: usize) -> Result<(), Failed> {
    let ended = job::run(&format!("fault-{case}"), ranks, LIMIT)?;
    if !ended.success {
        return Err(ended.output.into());
    }
    Ok(())
}

/// Every other rank that had to say something has named the rank and the collective.
fn others_say(way: &str, at_once: bool) -> Result<(), Failed> {
    let ended = job::run(&format!("fault-{way}"), RANKS, LIMIT)?;
    let told = |rank: usize| {
        let begins = format!("rank {rank}: ");
        ended.output.lines().any(|line| {
            line.starts_with(&begins)
                && line.contains(&format!("rank {BAD}"))
                && line.contains("the sum of gradients")
        })
    };
    let silent: Vec<usize> = (0..RANKS)
        .filter(|rank| *rank != BAD && !told(*rank))
        .collect();
    if !silent.is_empty() || ended.success || (at_once && ended.took > TIMEOUT) {
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
            let thread = std::thread::spawn(|| panic!("as it was told to"));
            let _ = thread.join();
        }
        "sleeps" => std::thread::sleep(Duration::from_secs(1000)),
        _ => {}
    }
}
