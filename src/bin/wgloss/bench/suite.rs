//! All losses over shapes that people have, within a time.

use super::csv;
use super::measured::{Effort, Limits, Measured, on_device};
use super::progress::Progress;
use super::record::{self, Machine};
use crate::report::{self, Field};
use crate::subject::Subject;
use clap::Command;
use std::path::Path;
use std::time::{Duration, Instant};
use wgloss::host::{Engine, Gpu};
use wgloss::{CATALOG, Entry, Error, ErrorKind, Rowwise as _, TargetKind, wgpu};

/// Most elements on a CPU adapter, unless the user says otherwise.
const MOST_ON_CPU: u64 = 1 << 23;

/// So long each case runs before it is measured, also where there is little time: a card that has idled is slow at first.
const WARM_UP: Duration = Duration::from_millis(50);

/// Batches of Yeast, COCO, delicious, a large vocabulary, MIMIC's codes, pairs of tokens, and extreme
/// classification.
const ROWS: [&str; 8] = [
    "65536x14",
    "8192x80",
    "1024x983",
    "1024x8192",
    "512x8921",
    "64x65536",
    "512x131072",
    "256x670091",
];
/// Embeddings, dimensions, labels.
const EMBEDDINGS: [(&str, &str); 5] = [
    ("256x128", "80"),
    ("1024x128", "80"),
    ("4096x128", "80"),
    ("8192x768", "8921"),
    ("65536x768", "1000"),
];

/// Last layers of extreme classification, with the logits above.
const LAYERS: [&str; 2] = [ROWS[6], ROWS[7]];

/// How a suite is run.
pub struct Options<'a> {
    pub time: Duration,
    /// Most elements of a case.
    pub most: Option<u64>,
    /// Cases whose names contain this alone.
    pub only: &'a str,
    pub json: bool,
    pub csv: Option<&'a Path>,
}

/// A case as a user would name it: the loss with its settings, and the rest of the line.
struct Case {
    loss: String,
    rest: String,
}

/// All cases, the most important first: where the time ends, the rest is left out.
fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    let mut add = |loss: &str, shapes: &[&str], rest: &str| {
        let case = |shape: &&str| Case {
            loss: loss.to_owned(),
            rest: format!("--shape {shape} {rest}"),
        };
        all.extend(shapes.iter().map(case));
    };
    let middle = [ROWS[1], ROWS[2], ROWS[3], ROWS[5]];
    add("zlpr", &ROWS, "");
    add("bce", &ROWS, "");
    for (shape, labels) in EMBEDDINGS {
        add("contrastive", &[shape], &format!("--labels {labels}"));
    }
    add("mcm", &["64x499", "64x4130", "4x82192"], "");
    add("hcal", &["128x216", "256x10000"], "");
    for loss in ["bce", "zlpr"] {
        add(&format!("linear --loss {loss}"), &["128x50000"], "--dim 64");
        let of = |dtype: &str| format!("--dim 768 --dtype {dtype}");
        for dtype in ["f32", "bf16"] {
            add(&format!("linear --loss {loss}"), &LAYERS, &of(dtype));
        }
    }
    for (dtype, targets) in [("bf16", "u8"), ("f16", "u8"), ("f16", "bits")] {
        let rest = format!("--dtype {dtype} --targets {targets} --outputs both-same");
        add("zlpr", &ROWS, &rest);
    }
    for targets in ["bits", "sparse"] {
        add("zlpr", &ROWS, &format!("--targets {targets}"));
    }
    let others = CATALOG
        .iter()
        .filter(|e| !["zlpr", "bce"].contains(&e.name));
    for entry in others {
        let real = entry.loss().target_kind() == TargetKind::Proportions;
        add(entry.name, &ROWS, if real { "--targets float" } else { "" });
    }
    add("wdl --form adjacent", &ROWS, "--targets float");
    add("zlpr-kl --kl excess", &middle, "");
    for (loss, targets) in [("bce", "bits"), ("asl", "bits"), ("zlpr-soft", "float")] {
        let rest = format!("--dtype f16 --targets {targets} --outputs both-same");
        add(loss, &middle, &rest);
    }
    add("zlpr", &middle, "--outputs loss");
    add("zlpr", &middle, "--outputs in-place");
    for (shape, labels) in EMBEDDINGS {
        let labels = format!("--labels {labels}");
        add("contrastive", &[shape], &format!("{labels} --dtype bf16"));
        add("contrastive", &[shape], &format!("{labels} --outputs loss"));
    }
    for (shape, labels) in &EMBEDDINGS[..4] {
        let rest = format!("--labels {labels}");
        add("contrastive --weighting mulsupcon", &[shape], &rest);
    }
    add("mcm", &["64x4130", "4x82192"], "--dtype bf16");
    add("metrics", &middle, "");
    all
}

/// Runs the suite. False where a case failed for another reason than its size.
pub fn run(
    command: impl Fn(Option<&'static Entry>) -> Command,
    engine: &Engine,
    options: &Options<'_>,
) -> Result<bool, Error> {
    let Some(gpu) = engine.gpu() else {
        let reason = "it measures kernels, and there is no adapter for them";
        return Err(Error::because(ErrorKind::Unsupported, "--suite", reason));
    };
    let mut subjects = Vec::new();
    for Case { loss, rest } in cases() {
        let subject = Subject::named(&command, &format!("{loss} {rest}"))?;
        let name = format!("{loss} {}", subject.name());
        if name.contains(options.only) {
            subjects.push((name, subject));
        }
    }
    if subjects.is_empty() {
        return Err(Error::refused("--only", "no case has this in its name"));
    }
    let machine = Machine::of(engine);
    let software = gpu.info().device_type == wgpu::DeviceType::Cpu;
    let most = options
        .most
        .unwrap_or(if software { MOST_ON_CPU } else { u64::MAX });
    if let Some(path) = options.csv {
        let nothing = Measured::default();
        csv::header(path, &record::fields(&subjects[0].1, &nothing, &machine))?;
    }
    if !options.json {
        let seconds = options.time.as_secs_f64();
        let mut lines = machine.lines();
        lines.push(format!(
            "cases    {}, within {seconds} s (--time)",
            subjects.len()
        ));
        if most < u64::MAX {
            let why = if options.most.is_none() {
                "on a CPU adapter "
            } else {
                ""
            };
            lines.push(format!("         {why}of at most {most} elements (--most)"));
        }
        lines.extend([String::new(), record::heading()]);
        report::print(&lines.join("\n"))?;
    }
    let end = Instant::now() + options.time;
    let (mut limits, mut good, mut skipped) = (Limits::default(), true, 0);
    let count = subjects.len();
    for (i, (name, subject)) in subjects.iter().enumerate() {
        let progress = Progress::new();
        let left = end.saturating_duration_since(Instant::now());
        let share = left / (count - i) as u32;
        let measured = measure(gpu, subject, (left, share), most, &mut limits, &progress);
        drop(progress);
        let measured = measured.unwrap_or_else(|error| {
            let beyond = [ErrorKind::Unsupported, ErrorKind::OutOfMemory];
            good &= beyond.contains(&error.kind());
            Measured {
                skipped: Some(error.to_string()),
                ..Measured::default()
            }
        });
        skipped += usize::from(measured.skipped.is_some());
        say(options, (name, subject), &measured, &machine)?;
    }
    if !options.json {
        let done = count - skipped;
        report::print(&format!(
            "{done} of {count} cases measured, {skipped} skipped"
        ))?;
    }
    Ok(good)
}

/// Measures a case in about its `share` of the time that is `left`.
fn measure(
    gpu: &Gpu,
    subject: &Subject,
    (left, share): (Duration, Duration),
    most: u64,
    limits: &mut Limits,
    progress: &Progress,
) -> Result<Measured, Error> {
    let elements = subject.workload.elements();
    let skipped = match (elements > most, left.is_zero()) {
        (true, _) => Some(format!("{elements} elements are more than {most} (--most)")),
        (_, true) => Some("no time was left (--time)".into()),
        _ => None,
    };
    if skipped.is_some() {
        return Ok(Measured {
            skipped,
            ..Measured::default()
        });
    }
    // The other half is for data and kernels.
    let effort = Effort {
        warm_up: WARM_UP,
        budget: (share / 8).min(Duration::from_millis(300)),
        least: 1,
        sets: None,
    };
    Ok(Measured {
        device: Some(on_device(gpu, subject, effort, limits, progress)?),
        ..Measured::default()
    })
}

fn say(
    options: &Options<'_>,
    (name, subject): (&str, &Subject),
    measured: &Measured,
    machine: &Machine,
) -> Result<(), Error> {
    let fields: Vec<Field> = record::fields(subject, measured, machine);
    if let Some(path) = options.csv {
        csv::append(path, &fields)?;
    }
    report::print(&match options.json {
        true => report::json_object(&fields),
        false => record::row(name, measured),
    })
}
