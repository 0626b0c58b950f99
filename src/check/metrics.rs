//! Metrics: their cases (element type x target form, the rest running through its values beside them).

use crate::check::case::{Case, Data, Depth, Layout, Output};
use crate::check::measure::{Reference, Work, Workload, check_shape};
use crate::check::numbers::{
    Numbers, SPARSE, TargetForm, form_name, from_flags, in_words, rounded,
};
use crate::check::rng::Rng;
use crate::check::tensors::Tensors;
use crate::device::context::Context;
use crate::device::prepared::Prepared;
use crate::device::tensor::DType;
use crate::error::Error;
use crate::host::Gpu;
use crate::kernels::metrics::{MetricsInputs, MetricsOutputs};
use crate::losses::labels::{TargetNames, Targets};
use crate::losses::metrics;
use crate::losses::metrics::{MetricValues, Metrics};
use crate::reference;
use std::fmt;
use std::hint::black_box;

/// One case of the metrics: two calls on the same rows, adding to words that were not 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MetricsCase {
    /// Settings.
    pub config: Metrics,
    /// Element type of the logits.
    pub dtype: DType,
    /// Form of the targets.
    pub form: TargetForm,
    /// Which of a mask by class, by element and by row there are.
    pub masks: [bool; 3],
    /// How the tensors lie.
    pub layout: Layout,
    /// What the numbers are like.
    pub data: Data,
    /// Share of labels that are positive, in the rows that have some of both.
    pub positives: f64,
    /// Rows.
    pub rows: usize,
    /// Labels.
    pub cols: usize,
    /// Seed of the numbers.
    pub seed: u64,
}

impl fmt::Display for MetricsCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "metrics {} targets={} masks={:?} threshold={} top={} {:?} {:?} positives={} {}x{} seed={}",
            self.dtype,
            form_name(self.form),
            self.masks.map(u8::from),
            self.config.threshold,
            self.config.top,
            self.layout,
            self.data,
            self.positives,
            self.rows,
            self.cols,
            self.seed
        )
    }
}

/// Shapes: the reason beside each.
const SHAPES: &[(usize, usize)] = &[
    (3, 1),    // one label
    (7, 5),    // fewer labels than ranks
    (5, 32),   // one portion and one word
    (9, 33),   // one more
    (130, 65), // several rows a lane of `labels`
    (3, 2100), // several slabs of positives
    (4, 700),  // lists longer than a workgroup
];

/// Masks: none, all, each alone.
const MASKED: &[[bool; 3]] = &[
    [false; 3],
    [true; 3],
    [false; 3],
    [true, false, false],
    [false, true, false],
    [false, false, true],
];
/// What they are called.
const MASKS: [&str; 3] = ["class_mask", "mask", "row_mask"];

/// The call on tensors of those names.
fn prepare(config: &Metrics, cx: &Context, tensors: &Tensors) -> Result<Prepared, Error> {
    let [class_mask, mask, row_mask] = MASKS.map(|name| tensors.find(name));
    let inputs = MetricsInputs {
        logits: tensors.get("logits")?,
        targets: tensors.labels(TargetNames::TARGETS)?,
        class_mask,
        mask,
        row_mask,
    };
    let outputs = MetricsOutputs {
        words: tensors.get("words")?,
    };
    config.prepare(cx, &inputs, &outputs)
}

/// The cases.
pub fn metrics_cases(depth: Depth) -> Vec<MetricsCase> {
    let repeats = match depth {
        Depth::Sample => 1,
        Depth::Every => 2,
        Depth::Full => 8,
    };
    let mut cases = Vec::new();
    let mut turn = 0;
    for dtype in [DType::F32, DType::F16, DType::Bf16] {
        for form in [
            Targets::Dense(DType::U8),
            Targets::Bits(()),
            SPARSE,
            Targets::Dense(DType::F32),
            Targets::Dense(DType::F16),
            Targets::Dense(DType::U32),
        ] {
            for _ in 0..repeats {
                let (rows, cols) = SHAPES[(turn * 3) % SHAPES.len()];
                cases.push(MetricsCase {
                    config: Metrics {
                        threshold: [0.0, 0.5, -1.25][turn % 3],
                        top: [5, 1, 40][(turn / 2) % 3],
                    },
                    dtype,
                    form,
                    masks: MASKED[turn % MASKED.len()],
                    layout: [Layout::Apart, Layout::Together][(turn / 3) % 2],
                    data: [Data::Edges, Data::Normal, Data::Large][(turn / 5) % 3],
                    positives: [0.3, 0.04][turn % 2],
                    rows,
                    cols,
                    seed: 9000 + turn as u64,
                });
                turn += 1;
            }
        }
    }
    cases
}

/// What the words hold before: sums of rows that carry with the next, counts that do not.
fn before(config: &Metrics, cols: usize) -> Vec<u32> {
    let mut words: Vec<u32> = (0..config.words_len(cols) as u32).collect();
    for low in [
        metrics::RANKING,
        metrics::PRECISION,
        metrics::F1,
        metrics::COVERAGE,
    ] {
        words[low as usize] = u32::MAX;
    }
    words
}

/// What was added to words.
fn added(before: &[u32], after: &[u32]) -> Vec<u32> {
    let pairs = metrics::RANKING as usize..metrics::RANKS as usize;
    let mut words: Vec<u32> = (after.iter().zip(before))
        .map(|(after, before)| after.wrapping_sub(*before))
        .collect();
    for low in pairs.step_by(2) {
        let pair = |words: &[u32]| u64::from(words[low]) | u64::from(words[low + 1]) << 32;
        let sum = pair(after).wrapping_sub(pair(before));
        (words[low], words[low + 1]) = (sum as u32, (sum >> 32) as u32);
    }
    words
}

impl MetricsCase {
    fn logit(&self, rng: &mut Rng, row: usize, col: usize) -> f64 {
        let normal = self.data.scale(self.dtype) * rng.normal();
        let first = col == row % self.cols;
        let logit = match (self.data, row % 8) {
            (Data::Edges, 0) => 0.5,
            (Data::Edges, 1) => [0.0, -0.0][col % 2],
            (Data::Edges, 2) if first => f64::NAN,
            (Data::Edges, 3) => [f64::INFINITY, 1.0, f64::NEG_INFINITY][rng.below(3)],
            // Few values: ties between all kinds of labels.
            (Data::Edges | Data::Normal, _) => (2.0 * normal).round() / 4.0,
            (Data::Large, _) => normal,
        };
        rounded(self.dtype, logit)
    }
}

impl Case for MetricsCase {
    fn name(&self) -> &'static str {
        "metrics"
    }

    fn layout(&self) -> Layout {
        self.layout
    }

    fn numbers(&self) -> Result<Numbers, Error> {
        let mut rng = Rng(self.seed);
        let (rows, cols) = (self.rows, self.cols);
        let mut logits = Vec::new();
        let mut targets = Vec::new();
        for row in 0..rows {
            for col in 0..cols {
                logits.push(self.logit(&mut rng, row, col));
                targets.push(rng.chance([self.positives, 0.0, 1.0, self.positives][row % 4]));
            }
        }
        let shapes = [(1, cols), (rows, cols), (1, rows)];
        let mut targets = from_flags(&targets);
        let mut n = Numbers::default();
        let mut counts = vec![true; rows * cols];
        for (which, (name, shape)) in MASKS.into_iter().zip(shapes).enumerate() {
            if self.masks[which] {
                let flags: Vec<bool> = (0..shape.0 * shape.1).map(|_| rng.chance(0.7)).collect();
                for (i, counts) in counts.iter_mut().enumerate() {
                    *counts &= flags[[i % cols, i, i / cols][which]];
                }
                n.put(name, DType::U8, shape, from_flags(&flags));
            }
        }
        // What does not count may be anything.
        for i in (0..rows * cols).filter(|i| !counts[*i]) {
            logits[i] = [logits[i], f64::NAN, f64::INFINITY][i % 3];
            targets[i] = match self.form {
                Targets::Dense(dtype) if dtype.is_float() => [f64::NAN, 1.0, -1.0][i % 3],
                Targets::Dense(_) => [255.0, 1.0][i % 2],
                Targets::Bits(()) | Targets::Sparse { .. } => targets[i],
            };
        }
        n.put("logits", self.dtype, (rows, cols), logits);
        let names = TargetNames::TARGETS;
        let targets = in_words(self.form, targets);
        n.put_labels(names, self.form, (rows, cols), targets);
        Ok(n)
    }

    fn outputs(&self, _numbers: &Numbers) -> Result<Vec<Output>, Error> {
        let before = before(&self.config, self.cols);
        Ok(vec![Output::words("words", (1, before.len()), &before)])
    }

    fn prepare(
        &self,
        cx: &Context,
        _numbers: &Numbers,
        tensors: &Tensors,
    ) -> Result<Vec<Prepared>, Error> {
        let call = || prepare(&self.config, cx, tensors);
        Ok(vec![call()?, call()?])
    }

    fn judge(&self, numbers: &Numbers, found: &Numbers) -> Result<(), String> {
        let [class_mask, mask, row_mask] = MASKS.map(|name| numbers.flags(name));
        let inputs = reference::MetricsInputs {
            rows: self.rows,
            cols: self.cols,
            logits: numbers.get("logits"),
            targets: &numbers.flags("targets").unwrap_or_default(),
            class_mask: class_mask.as_deref(),
            mask: mask.as_deref(),
            row_mask: row_mask.as_deref(),
        };
        let truth = reference::metrics(&self.config, &inputs).map_err(|e| e.to_string())?;
        let words = found.words("words").unwrap_or_default();
        let words = added(&before(&self.config, self.cols), &words);
        let found = self.config.values(self.cols, &words);
        compare(&found.map_err(|e| e.to_string())?, &truth)
    }
}

/// Compares the values of two equal calls with those that one should have.
fn compare(found: &MetricValues, truth: &MetricValues) -> Result<(), String> {
    let rows = |v: &MetricValues| [v.rows, v.rows_left_out, v.rows_without_positives];
    let twice = rows(truth).map(|count| 2 * count);
    if rows(found) != twice {
        return Err(format!("rows: {:?}, expected {twice:?}", rows(found)));
    }
    for ((name, found), (_, truth)) in found.all().zip(truth.all()) {
        let off = (found - truth).abs();
        if off.is_nan() || off > 1e-9 * truth.abs().max(1.0) {
            return Err(format!("{name}: {found}, expected {truth}"));
        }
    }
    Ok(())
}

/// Metrics at a shape: normal logits times 3, up to 16 positives a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MetricsWorkload {
    /// Settings.
    pub config: Metrics,
    /// Element type of the logits.
    pub dtype: DType,
    /// Form of the targets.
    pub form: TargetForm,
    /// Rows.
    pub rows: usize,
    /// Labels.
    pub cols: usize,
}

impl MetricsWorkload {
    fn data(&self) -> Result<(Vec<f64>, Vec<bool>), Error> {
        self.config.check()?;
        check_shape(self.rows, self.cols)?;
        let mut rng = Rng(1);
        let logit = |_| rounded(self.dtype, 3.0 * rng.normal());
        let logits = (0..self.rows * self.cols).map(logit).collect();
        let mut targets = vec![false; self.rows * self.cols];
        for row in targets.chunks_mut(self.cols) {
            for _ in 0..(self.cols / 4).clamp(1, 16) {
                row[rng.below(self.cols)] = true;
            }
        }
        Ok((logits, targets))
    }
}

impl Workload for MetricsWorkload {
    fn settings(&self) -> String {
        format!("{:?}", self.config)
    }

    fn elements(&self) -> u64 {
        self.rows as u64 * self.cols as u64
    }

    fn input_bytes(&self) -> u64 {
        self.elements() * self.dtype.size()
    }

    fn on_gpu(&self, gpu: &Gpu) -> Result<Work, Error> {
        let (logits, targets) = self.data()?;
        let (config, shape) = (self.config, (self.rows, self.cols));
        let len = config.words_len(self.cols);
        let mut n = Numbers::default();
        n.put("logits", self.dtype, shape, logits);
        n.put_labels(TargetNames::TARGETS, self.form, shape, from_flags(&targets));
        n.put_words("words", (1, len), &vec![0; len]);
        let none: [(&str, (usize, usize)); 0] = [];
        Work::new(gpu, &n, &none, move |cx, tensors| {
            prepare(&config, cx, tensors)
        })
    }

    /// Gives a metric in place of a loss.
    fn on_host(&self) -> Result<Reference, Error> {
        let (logits, targets) = self.data()?;
        let (config, rows, cols) = (self.config, self.rows, self.cols);
        Ok(Box::new(move || {
            let inputs = reference::MetricsInputs {
                rows,
                cols,
                logits: &logits,
                targets: &targets,
                ..reference::MetricsInputs::default()
            };
            Ok(black_box(reference::metrics(&config, &inputs)?).f1_micro)
        }))
    }
}
