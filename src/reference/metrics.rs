//! Metrics of predictions, by their definitions: every positive is compared with every label.

use crate::error::{Error, check_len};
use crate::losses::metrics::{MetricValues, Metrics, f1, ratio};

/// What metrics read; matrices are row-major.
#[derive(Clone, Copy, Debug, Default)]
pub struct MetricsInputs<'a> {
    /// Rows (samples).
    pub rows: usize,
    /// Columns (labels).
    pub cols: usize,
    /// `rows * cols` logits.
    pub logits: &'a [f64],
    /// `rows * cols` targets.
    pub targets: &'a [bool],
    /// `cols` flags, false where a label counts in no row.
    pub class_mask: Option<&'a [bool]>,
    /// `rows * cols` flags, false where an element does not count.
    pub mask: Option<&'a [bool]>,
    /// `rows` flags, false where a row is left out.
    pub row_mask: Option<&'a [bool]>,
}

impl MetricsInputs<'_> {
    /// The labels of a row that count.
    fn counted(&self, row: usize) -> Vec<usize> {
        let has = |mask: Option<&[bool]>, i: usize| mask.is_none_or(|mask| mask[i]);
        let counts = |j: &usize| has(self.class_mask, *j) && has(self.mask, row * self.cols + j);
        (0..self.cols).filter(counts).collect()
    }
}

/// The values of a set of rows; see [`crate::losses::metrics`].
///
/// # Errors
/// Wrong lengths; settings out of range.
pub fn metrics(config: &Metrics, inputs: &MetricsInputs<'_>) -> Result<MetricValues, Error> {
    config.check()?;
    let (rows, cols) = (inputs.rows, inputs.cols);
    let all = rows.saturating_mul(cols);
    check_len("logits", all, inputs.logits.len())?;
    check_len("targets", all, inputs.targets.len())?;
    for (name, len, mask) in [
        ("class_mask", cols, inputs.class_mask),
        ("mask", all, inputs.mask),
        ("row_mask", rows, inputs.row_mask),
    ] {
        check_len(name, len, mask.map_or(len, <[bool]>::len))?;
    }
    let threshold = f64::from(config.threshold);
    let mut out = MetricValues {
        precision: vec![0.0; config.top],
        ..MetricValues::default()
    };
    // However many labels nothing has.
    let mut by_label = vec![[0; 3]; if rows == 0 { 0 } else { cols }];
    let mut is_there = vec![false; by_label.len()];
    let (mut wrong_elements, mut elements) = (0, 0);
    for row in (0..rows).filter(|row| inputs.row_mask.is_none_or(|mask| mask[*row])) {
        // From here on as if there were no other labels.
        let labels = inputs.counted(row);
        let cols = labels.len();
        let places = labels.iter().map(|j| row * inputs.cols + j);
        let s: Vec<f64> = places.clone().map(|i| inputs.logits[i]).collect();
        let y: Vec<bool> = places.map(|i| inputs.targets[i]).collect();
        if s.iter().any(|s| s.is_nan()) {
            out.rows_left_out += 1;
            continue;
        }
        out.rows += 1;
        let mut counts = [0; 3];
        for j in 0..cols {
            let here = outcome(s[j] > threshold, y[j]);
            add(&mut counts, here);
            add(&mut by_label[labels[j]], here);
            is_there[labels[j]] = true;
        }
        out.f1_samples += f1(counts);
        out.subset_accuracy += f64::from(u8::from(counts[1] + counts[2] == 0));
        wrong_elements += counts[1] + counts[2];
        elements += cols;

        let positives: Vec<usize> = (0..cols).filter(|j| y[*j]).collect();
        let negatives = cols - positives.len();
        let (mut wrong, mut precision, mut coverage) = (0, 0.0, 0);
        for p in &positives {
            let level = (0..cols).filter(|j| s[*j] >= s[*p]).count();
            let of_positives = positives.iter().filter(|q| s[**q] >= s[*p]).count();
            wrong += level - of_positives;
            precision += of_positives as f64 / level as f64;
            coverage = coverage.max(level);
        }
        let pairs = positives.len() as f64 * negatives as f64;
        out.ranking_loss += ratio(wrong as f64, pairs);
        out.coverage_error += coverage as f64;
        out.average_precision += match positives.len() {
            0 => 1.0,
            count => precision / count as f64,
        };
        out.rows_without_positives += u64::from(positives.is_empty());

        // Stable: of labels that tie the lowest number is first.
        let mut order: Vec<usize> = (0..cols).collect();
        order.sort_by(|a, b| {
            s[*b]
                .partial_cmp(&s[*a])
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        let first_is_right = order.first().is_some_and(|j| y[*j]);
        out.one_error += f64::from(u8::from(!first_is_right));
        for (sum, k) in out.precision.iter_mut().zip(1..) {
            let hits = order.iter().take(k).filter(|j| y[**j]).count();
            *sum += hits as f64 / k as f64;
        }
    }
    let mut totals = [0; 3];
    for counts in by_label {
        add(&mut totals, counts);
        out.f1_macro += f1(counts);
    }
    out.f1_micro = f1(totals);
    let labels = is_there.iter().filter(|there| **there).count();
    out.f1_macro = ratio(out.f1_macro, labels as f64);
    out.hamming_loss = ratio(wrong_elements as f64, elements as f64);
    let rows = out.rows as f64;
    for sum in [
        &mut out.f1_samples,
        &mut out.subset_accuracy,
        &mut out.ranking_loss,
        &mut out.average_precision,
        &mut out.coverage_error,
        &mut out.one_error,
    ]
    .into_iter()
    .chain(&mut out.precision)
    {
        *sum = ratio(*sum, rows);
    }
    Ok(out)
}

/// Whether one decision is a true positive, a false positive, a false negative.
fn outcome(predicted: bool, positive: bool) -> [u64; 3] {
    [
        predicted && positive,
        predicted && !positive,
        !predicted && positive,
    ]
    .map(u64::from)
}

fn add(sums: &mut [u64; 3], counts: [u64; 3]) {
    for (sum, count) in sums.iter_mut().zip(counts) {
        *sum += count;
    }
}
