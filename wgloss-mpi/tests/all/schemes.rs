//! Every scheme on several ranks against one: the reference's numbers within a tolerance, and the same loss for any number of
//! ranks in six digits.

use crate::job::{self, Ended};
use crate::{contrastive, hcal, rows};
use libtest_mimic::{Failed, Trial};
use std::time::Duration;
use wgloss::host::Gpu;
use wgloss_mpi::{Error, World};

/// A job on the software driver compiles its kernels first.
const LIMIT: Duration = Duration::from_secs(240);
/// What a line with a loss begins with.
const LOSS: &str = "loss ";

/// One rank's part in a case.
type Case = fn(&World, &Gpu) -> Result<Vec<f32>, Failure>;

/// Why a rank's part failed.
pub enum Failure {
    Job(Error),
    Numbers(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Job(error)
    }
}

impl From<wgloss::Error> for Failure {
    fn from(error: wgloss::Error) -> Failure {
        Failure::Numbers(error.to_string())
    }
}

fn cases() -> Vec<(String, Case)> {
    let contrastive = contrastive::CASES.iter();
    let contrastive = contrastive.map(|(name, case)| (format!("contrastive-{name}"), *case));
    let rows = rows::CASES
        .iter()
        .map(|(name, case)| ((*name).to_owned(), *case));
    let hcal: (String, Case) = ("hcal".to_owned(), hcal::over_ranks);
    rows.chain(contrastive).chain([hcal]).collect()
}

pub fn trials() -> Vec<Trial> {
    let trial = |(name, _): (String, Case)| {
        Trial::test(format!("schemes::{}", name.replace('-', "_")), move || {
            same_on_any_number(&name)
        })
    };
    cases().into_iter().map(trial).collect()
}

/// The losses that the ranks have printed: of each step one, the same on all ranks.
fn losses(ended: &Ended, ranks: usize) -> Result<Vec<String>, Failed> {
    let lines = ended.output.lines();
    let found: Vec<&str> = lines.filter_map(|line| line.strip_prefix(LOSS)).collect();
    if !ended.success || found.len() != ranks || found.iter().any(|line| *line != found[0]) {
        return Err(format!("{ranks} ranks:\n{}", ended.output).into());
    }
    Ok(found[0].split(' ').map(str::to_owned).collect())
}

/// In six digits, but for the last one, which rounding may turn.
fn close(a: &str, b: &str) -> bool {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => (a - b).abs() <= 1.01e-5 * 10_f64.powf(a.abs().log10().floor()),
        _ => false,
    }
}

fn same_on_any_number(case: &str) -> Result<(), Failed> {
    let mut alone: Vec<String> = Vec::new();
    for ranks in [1, 2, 4] {
        let losses = losses(&job::run(case, ranks, LIMIT)?, ranks)?;
        println!("{case}: {ranks} ranks: {}", losses.join(" "));
        if ranks == 1 {
            alone = losses;
        } else if losses.len() != alone.len()
            || !losses.iter().zip(&alone).all(|(a, b)| close(a, b))
        {
            return Err(format!("{ranks} ranks {losses:?}, alone {alone:?}").into());
        }
    }
    Ok(())
}

/// What one rank does.
pub fn rank(case: &str) -> Result<(), Failure> {
    let Some((_, run)) = cases().into_iter().find(|(name, _)| name == case) else {
        return Err(Failure::Numbers(format!("no case {case}")));
    };
    let world = World::open()?;
    world.abort_on_panic();
    let gpu = world.gpu()?;
    let losses = run(&world, &gpu)?;
    world.close()?;
    let losses: Vec<String> = losses.iter().map(|loss| format!("{loss:.5e}")).collect();
    println!("{LOSS}{}", losses.join(" "));
    Ok(())
}

/// Which of so many rows or labels a rank has: none where it is the second of four.
pub fn part(world: &World, all: usize) -> std::ops::Range<usize> {
    part_of(world.size(), world.rank(), all)
}

/// The same of any rank.
pub fn part_of(size: usize, rank: usize, all: usize) -> std::ops::Range<usize> {
    match (size, rank) {
        (1, _) => 0..all,
        (2, 0) => 0..all / 3,
        (2, _) => all / 3..all,
        (_, 0) => 0..all / 4,
        (_, 1) => all / 4..all / 4,
        (_, 2) => all / 4..all / 2 + 1,
        _ => all / 2 + 1..all,
    }
}

/// Numbers that are the same on all ranks, in `[-1, 1)`.
pub fn numbers(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Refuses numbers that are not what they should be: by an absolute and a relative tolerance, and one by the largest.
pub fn compare(name: &str, found: &[f32], truth: &[f32]) -> Result<(), Failure> {
    let most = truth.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let wrong = |(found, truth): (&f32, &f32)| {
        let difference = (found - truth).abs();
        difference.is_nan() || difference > 1e-6 + 2e-5 * truth.abs() + 1e-5 * most
    };
    match found.iter().zip(truth).position(wrong) {
        _ if found.len() != truth.len() => Err(Failure::Numbers(format!(
            "{name}: {} numbers in place of {}",
            found.len(),
            truth.len()
        ))),
        Some(i) => Err(Failure::Numbers(format!(
            "{name}[{i}]: {} in place of {}",
            found[i], truth[i]
        ))),
        None => Ok(()),
    }
}

/// Numbers of a buffer.
pub fn floats(gpu: &Gpu, buffer: &wgloss::wgpu::Buffer, len: usize) -> Result<Vec<f32>, Failure> {
    let bytes = gpu.download(buffer, 4 * len as u64)?;
    let words = bytes.chunks_exact(4);
    Ok(words
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect())
}

/// The bytes of some values.
pub fn bytes<T: Copy>(values: &[T], of: impl Fn(T) -> [u8; 4]) -> Vec<u8> {
    values.iter().flat_map(|value| of(*value)).collect()
}
