//! What was measured, as fields for programs and as text for people.

use super::measured::{Limit, Measured, OnDevice};
use crate::engine;
use crate::options::value_name;
use crate::report::Field;
use crate::subject::Subject;
use serde_json::{Value, json};
use std::time::Duration;
use wgloss::check::{Clock, Quantiles};
use wgloss::host::Engine;

/// Where it was measured.
#[derive(Clone, Default)]
pub struct Machine {
    pub backend: Value,
    pub adapter: Value,
    pub driver: Value,
    pub variant: Value,
}

impl Machine {
    pub fn of(engine: &Engine) -> Self {
        Machine {
            backend: json!(engine.backend()),
            adapter: json!(engine.adapter()),
            driver: json!(engine.driver()),
            variant: json!(engine::variant(engine)),
        }
    }

    /// A line each.
    pub fn lines(&self) -> Vec<String> {
        let line = |name: &str, value: &Value| {
            let text = value.as_str().filter(|text| !text.is_empty())?;
            Some(format!("{name:<9}{text}"))
        };
        let lines = [
            line("adapter", &self.adapter),
            line("driver", &self.driver),
            line("variant", &self.variant),
        ];
        lines.into_iter().flatten().collect()
    }
}

/// All results. Without those of the machine and of the device, the names at least.
pub fn fields(subject: &Subject, measured: &Measured, machine: &Machine) -> Vec<Field> {
    let device = measured.device.as_ref();
    let of = |get: &dyn Fn(&OnDevice) -> Value| device.map_or(Value::Null, get);
    let mut fields = vec![
        ("loss", json!(subject.loss)),
        ("rows", json!(subject.rows)),
        ("cols", json!(subject.cols)),
        ("labels", json!(subject.labels)),
        ("dims", json!(subject.dims)),
        ("dtype", json!(value_name(subject.dtype))),
        ("targets", json!(subject.targets)),
        ("outputs", json!(subject.outputs)),
        ("reduction", json!(subject.reduction)),
        ("settings", json!(subject.workload.settings())),
        ("backend", machine.backend.clone()),
        ("adapter", machine.adapter.clone()),
        ("driver", machine.driver.clone()),
        ("variant", machine.variant.clone()),
        ("dispatches", of(&|d| json!(d.dispatches))),
        ("scratch_bytes", of(&|d| json!(d.scratch))),
        ("bytes", of(&|d| json!(d.bytes))),
        ("sets", of(&|d| json!(d.sets))),
        ("set_bytes", of(&|d| json!(d.set_bytes))),
        ("prepare_us", of(&|d| json!(micros(d.start[1])))),
        ("prepare_warm_us", of(&|d| json!(micros(d.warm)))),
        ("first_loss_us", of(&|d| json!(micros(d.first())))),
    ];
    let clock = match (device, measured.reference) {
        (Some(device), _) => json!(clock(device.clock)),
        (None, Some(_)) => json!("reference"),
        (None, None) => Value::Null,
    };
    fields.push(("clock", clock));
    let clocks = [
        (
            device.and_then(|d| d.gpu),
            ["gpu_us", "gpu_p20_us", "gpu_p80_us", "gpu_samples"],
        ),
        (
            device.map(|d| d.wall),
            ["wall_us", "wall_p20_us", "wall_p80_us", "wall_samples"],
        ),
        (
            measured.reference,
            [
                "reference_us",
                "reference_p20_us",
                "reference_p80_us",
                "reference_samples",
            ],
        ),
    ];
    for (spread, [median, p20, p80, samples]) in clocks {
        fields.extend([
            (median, json!(spread.map(|s| micros(s.median)))),
            (p20, json!(spread.map(|s| micros(s.p20)))),
            (p80, json!(spread.map(|s| micros(s.p80)))),
            (samples, json!(spread.map(|s| s.samples))),
        ]);
    }
    let first = clocks.iter().find_map(|(spread, _)| *spread);
    let seconds = first.map(|spread| spread.median.as_secs_f64());
    let rows_per_s = seconds.map(|s| rounded(subject.rows as f64 / s));
    fields.push(("rows_per_s", json!(rows_per_s)));
    let gb_per_s = |d: &OnDevice| json!(rounded(d.bytes as f64 / seconds_of(d) / 1e9));
    fields.push(("gb_per_s", of(&gb_per_s)));
    fields.extend(limits(device));
    fields.extend([
        ("skipped", json!(measured.skipped)),
        ("version", json!(env!("CARGO_PKG_VERSION"))),
    ]);
    fields
}

fn seconds_of(device: &OnDevice) -> f64 {
    device.time().median.as_secs_f64()
}

/// What the call reaches of what the device can do.
fn limits(device: Option<&OnDevice>) -> Vec<Field> {
    let copy = device.and_then(|d| match d.limit {
        Limit::Copy { time, .. } => Some((d, time)),
        Limit::Peak { .. } => None,
    });
    let peak = device.and_then(|d| match d.limit {
        Limit::Peak { flops, .. } => Some((d, flops)),
        Limit::Copy { .. } => None,
    });
    let speed = |d: &OnDevice| rounded(d.limit.speed() / 1e9);
    let times = |(d, time): (&OnDevice, Duration)| rounded(seconds_of(d) / time.as_secs_f64());
    let reached = |(d, flops): (&OnDevice, u64)| rounded(flops as f64 / seconds_of(d) / 1e9);
    vec![
        ("copy_us", json!(copy.map(|(_, time)| micros(time)))),
        ("copy_gb_per_s", json!(copy.map(|(d, _)| speed(d)))),
        ("copy_share", json!(copy.map(|(d, _)| rounded(share(d))))),
        ("copy_times", json!(copy.map(times))),
        ("flops", json!(peak.map(|(_, flops)| flops))),
        ("gflop_per_s", json!(peak.map(reached))),
        ("peak_gflop_per_s", json!(peak.map(|(d, _)| speed(d)))),
        ("peak_share", json!(peak.map(|(d, _)| rounded(share(d))))),
    ]
}

/// The call's speed divided by that of its limit.
fn share(device: &OnDevice) -> f64 {
    let work = match device.limit {
        Limit::Copy { .. } => device.bytes,
        Limit::Peak { flops, .. } => flops,
    };
    work as f64 / seconds_of(device) / device.limit.speed()
}

fn clock(clock: Clock) -> &'static str {
    match clock {
        Clock::Timestamps => "timestamps",
        Clock::SubmitAndWait => "submit-and-wait",
    }
}

fn micros(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1e6)
}

/// Four digits: a measurement has no more.
fn rounded(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

/// The results of one subject for a person.
pub fn table(subject: &Subject, measured: &Measured, machine: &Machine) -> String {
    let Subject { rows, cols, .. } = *subject;
    let labels = subject.labels.map(|n| format!(", {n} labels"));
    let dims = subject.dims.map(|n| format!(", {n} components"));
    let mut lines = vec![format!(
        "{} {rows}x{cols} {}{}, targets {}, outputs {}, reduction {}",
        subject.loss,
        value_name(subject.dtype),
        labels.or(dims).unwrap_or_default(),
        subject.targets,
        subject.outputs,
        subject.reduction
    )];
    let device = measured.device.as_ref();
    let machine = machine.lines();
    // The reference has neither driver nor variant.
    lines.extend(
        machine
            .into_iter()
            .take(if device.is_some() { 3 } else { 1 }),
    );
    if let Some(device) = device {
        let [context, prepare, run] = device.start.map(time);
        lines.extend([
            format!(
                "call     {} dispatches, {} bytes of scratch, moves {} bytes",
                device.dispatches, device.scratch, device.bytes,
            ),
            format!(
                "start    first loss after {} (context {context}, prepare {prepare}, run {run}); prepared again in {}",
                time(device.first()),
                time(device.warm),
            ),
            format!(
                "data     {} sets of {} bytes in turn",
                device.sets, device.set_bytes
            ),
            format!("limit    {}", limit(device)),
            format!("clock    {}", clock(device.clock)),
        ]);
    }
    lines.push(String::new());
    lines.push(format!(
        "{:<10}{:>11}{:>11}{:>11}{:>9}{:>12}{:>9}",
        "", "median", "p20", "p80", "samples", "rows/s", "GB/s"
    ));
    let clocks = [
        ("gpu", device.and_then(|d| d.gpu)),
        ("wall", device.map(|d| d.wall)),
        ("reference", measured.reference),
    ];
    for (clock, spread) in clocks {
        let Some(spread) = spread else {
            continue;
        };
        let seconds = spread.median.as_secs_f64();
        let bytes = device.filter(|_| clock != "reference").map(|d| d.bytes);
        let line = format!(
            "{clock:<10}{:>11}{:>11}{:>11}{:>9}{:>12}{:>9}",
            time(spread.median),
            time(spread.p20),
            time(spread.p80),
            spread.samples,
            format!("{:.3e}", rows as f64 / seconds),
            bytes.map_or(String::new(), |b| format!(
                "{:.2}",
                b as f64 / seconds / 1e9
            )),
        );
        lines.push(line.trim_end().into());
    }
    if device.is_some_and(|d| d.gpu.is_none()) {
        lines.push("no gpu clock: the device has no timestamps, or wrong ones".into());
    }
    lines.join("\n")
}

/// The limit in words, and what the call reaches of it.
fn limit(device: &OnDevice) -> String {
    let percent = 100.0 * share(device);
    let speed = device.limit.speed() / 1e9;
    match device.limit {
        Limit::Copy { time: copy, .. } => format!(
            "a copy of the input takes {} ({speed:.2} GB/s); the call takes {:.2} times that, at {percent:.1}% of its \
             speed",
            time(copy),
            seconds_of(device) / copy.as_secs_f64(),
        ),
        Limit::Peak { flops, .. } => format!(
            "multiply-adds in registers reach {speed:.1} GFLOP/s; the call's {flops} are done at {percent:.1}% of that",
        ),
    }
}

/// The columns of a suite.
pub fn heading() -> String {
    format!(
        "{NAME:<62}{:>10}{:>10}{:>10}{:>10}{:>8}{:>8}{:>11}{:>10}{:>10}{:>10}",
        "median",
        "p20",
        "p80",
        "GB/s",
        "of copy",
        "copies",
        "scratch",
        "cold",
        "warm",
        "first",
        NAME = "loss, shape, type, targets, outputs",
    )
}

/// One line of a suite. Products have GFLOP/s and their share of the peak where the others have GB/s and copies.
pub fn row(name: &str, measured: &Measured) -> String {
    let Some(device) = &measured.device else {
        let reason = measured.skipped.as_deref().unwrap_or("nothing measured");
        return format!("{name:<62}  skipped: {reason}");
    };
    let Quantiles {
        median, p20, p80, ..
    } = device.time();
    let percent = format!("{:.1}%", 100.0 * share(device));
    let (speed, copies) = match device.limit {
        Limit::Copy { time, .. } => (
            format!("{:.2}", device.bytes as f64 / seconds_of(device) / 1e9),
            format!("{:.2}", seconds_of(device) / time.as_secs_f64()),
        ),
        Limit::Peak { flops, .. } => (
            format!("{:.1}GF", flops as f64 / seconds_of(device) / 1e9),
            "peak".into(),
        ),
    };
    format!(
        "{name:<62}{:>10}{:>10}{:>10}{speed:>10}{percent:>8}{copies:>8}{:>11}{:>10}{:>10}{:>10}",
        time(median),
        time(p20),
        time(p80),
        device.scratch,
        time(device.start[1]),
        time(device.warm),
        time(device.first()),
    )
}

/// A time with three or four digits.
fn time(time: Duration) -> String {
    let us = time.as_secs_f64() * 1e6;
    match us {
        us if us < 1e3 => format!("{us:.1} us"),
        us if us < 1e6 => format!("{:.2} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_of_a_measurement() {
        assert_eq!(rounded(1_234_567.0), 1_235_000.0);
        assert_eq!(rounded(0.012_345_6), 0.012_35);
        assert_eq!(time(Duration::from_nanos(1_500)), "1.5 us");
        assert_eq!(time(Duration::from_micros(1_500)), "1.50 ms");
        assert_eq!(time(Duration::from_millis(1_500)), "1.50 s");
    }
}
