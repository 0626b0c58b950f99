//! The driver's probes: they pass here, and whatever word is wrong, the probe that it belongs to is named.

use crate::Test;
use libtest_mimic::Failed;
use std::collections::BTreeMap;
use wgloss::host::Gpu;
use wgloss::{DType, ErrorKind, Probe, Tensor, Verification};

pub const TESTS: &[Test] = &[
    ("verify/passes_in_every_variant", every_variant),
    ("verify/names_the_probe_of_every_wrong_word", every_word),
    ("verify/names_drivers_that_are_known", known_faults),
];

/// What words outside of those of the probes hold.
const APART: u32 = 0xffff_ffff;
/// The element at which the words begin.
const FIRST: usize = 3;

/// The probes of a device, and the words that they wrote; nothing else was written.
fn probed(gpu: &Gpu) -> Result<(Verification, Vec<u32>), Failed> {
    let len = gpu.context().verify_words();
    let memory = gpu.upload(bytemuck::cast_slice(&vec![APART; FIRST + len + 8]))?;
    let words = Tensor::vector(&memory, DType::U32, len).with_offset(FIRST as u64);
    let probes = gpu.context().verify(&words)?;
    gpu.run(&[probes.call()])?;
    let bytes = gpu.download(&memory, 4 * (FIRST + len + 8) as u64)?;
    let all: Vec<u32> = bytemuck::pod_collect_to_vec(&bytes);
    let (before, rest) = all.split_at(FIRST);
    let (words, behind) = rest.split_at(len);
    if before.iter().chain(behind).any(|word| *word != APART) {
        return Err("a probe wrote outside of its words".into());
    }
    Ok((probes, words.to_vec()))
}

/// The probes that fail with these words.
fn names(probes: &Verification, words: &[u32]) -> Vec<Probe> {
    let faults = probes.faults(words).into_iter();
    faults.map(|fault| fault.probe).collect()
}

fn every_variant(gpu: &Gpu) -> Result<(), Failed> {
    for variant in gpu.context().caps().variants() {
        let gpu = gpu.with_variant(variant)?;
        let (probes, words) = probed(&gpu)?;
        let faults = probes.faults(&words);
        if !faults.is_empty() {
            return Err(format!("{variant}: {faults:?}").into());
        }
    }
    let (qualified, around) = gpu.qualified()?;
    if qualified.context().variant() != gpu.context().variant() || !around.is_empty() {
        return Err(format!("gone round for {around:?}").into());
    }
    Ok(())
}

fn every_word(gpu: &Gpu) -> Result<(), Failed> {
    let (probes, mut words) = probed(gpu)?;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for i in 0..words.len() {
        // Both halves of a word of two.
        words[i] ^= 0x4040_4040;
        let faults = probes.faults(&words);
        words[i] ^= 0x4040_4040;
        match &faults[..] {
            [fault] => *counts.entry(fault.probe.to_string()).or_default() += 1,
            _ => return Err(format!("word {i}: {faults:?}").into()),
        }
    }
    // Missing words are wrong too.
    for len in [0, 1, words.len() / 2, words.len() - 1] {
        if probes.faults(&words[..len]).is_empty() {
            return Err(format!("{len} words of {}", words.len()).into());
        }
    }
    let variant = gpu.context().variant().to_string();
    let expected = 6
        + 2 * usize::from(variant.starts_with("subgroup"))
        + usize::from(variant.ends_with("native"));
    if counts.len() != expected {
        return Err(format!("{variant}: {counts:?}").into());
    }
    Ok(())
}

/// What drivers have been seen to do, or may do.
fn known_faults(gpu: &Gpu) -> Result<(), Failed> {
    let (probes, good) = probed(gpu)?;
    let lanes = 2 * gpu.context().variant().workgroup as usize;
    // Mesa 22.3.6.
    let mut words = good.clone();
    words[5] = 98_302;
    let faults = probes.faults(&words);
    let told = faults.first().map(|fault| fault.error());
    let told = told.ok_or("a loop cut short is not found")?;
    let text = told.to_string();
    if names(&probes, &words) != [Probe::Loops]
        || told.kind() != ErrorKind::Unsupported
        || !(text.starts_with("long loops: ") && text.contains("found 98302"))
        || !text.contains("Mesa 22.3.6")
    {
        return Err(text.into());
    }
    // f16 by cutting digits off, where the kernels round.
    let mut words = good.clone();
    let halves = 11 * lanes;
    let cut = |word: &mut u32| *word = word.saturating_sub(1);
    words[halves..][..24].iter_mut().for_each(cut);
    if names(&probes, &words) != [Probe::Halves] {
        return Err(format!("f16 that is cut: {:?}", probes.faults(&words)).into());
    }
    if !gpu.context().variant().to_string().starts_with("subgroup") {
        return Ok(());
    }
    // Subgroups of which every other lane is empty: twice as many.
    let first = good.len() - 15 * lanes;
    let size = good[first + lanes];
    let workgroup = (lanes / 2) as u32;
    let mut words = good.clone();
    for (w, word) in words[first..][..lanes].iter_mut().enumerate() {
        let lane = w as u32 % workgroup;
        let (subgroup, index) = (lane / (size / 2), 2 * (lane % (size / 2)));
        *word = (subgroup + 1) | ((index + 1) << 16);
    }
    let faults = probes.faults(&words);
    let told = faults.first().map(ToString::to_string).unwrap_or_default();
    if names(&probes, &words) != [Probe::Subgroups] || !told.contains("to be full") {
        return Err(format!("half-empty subgroups: {faults:?}").into());
    }
    // Two sizes in one workgroup.
    let mut words = good.clone();
    words[first + lanes + 1] = 2 * size;
    if names(&probes, &words) != [Probe::Subgroups] {
        return Err(format!("two sizes: {:?}", probes.faults(&words)).into());
    }
    // A shuffle that gives a lane its own.
    let mut words = good;
    let own: Vec<u32> = words[first + 8 * lanes..][..lanes].to_vec();
    words[first + 2 * lanes..][..lanes].copy_from_slice(&own);
    if names(&probes, &words) != [Probe::Shuffles] {
        return Err(format!("shuffles: {:?}", probes.faults(&words)).into());
    }
    Ok(())
}
