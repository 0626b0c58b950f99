//! Metrics of multi-label predictions, counted on the device and added up over an epoch without reading back.
//!
//! A call adds what it counts in `[B, L]` logits `s` and targets to u32 words that stay on the device. To begin, the
//! caller clears them (`encoder.clear_buffer`); once an epoch the caller reads them, and [`Metrics::values`] makes
//! [`MetricValues`] of them on the CPU. In words, P is the set of a row's positives, N that of its others, and a label is
//! predicted where `s >` [`Metrics::threshold`]. The definitions are scikit-learn's:
//!
//! | value | of a row | scikit-learn |
//! |---|---|---|
//! | `f1_micro`, `f1_macro` | `2 tp / (2 tp + fp + fn)` of all labels together; of each label, their mean | `f1_score`, `average="micro"`, `"macro"` |
//! | `f1_samples` | `2 tp / (2 tp + fp + fn)` | `f1_score`, `average="samples"` |
//! | `subset_accuracy` | whether just its positives are predicted | `accuracy_score` |
//! | `hamming_loss` | share of its labels that are wrong; with masks of all labels of all rows | `hamming_loss` |
//! | `ranking_loss` | share of P x N with `s_n >= s_p` | `label_ranking_loss` |
//! | `average_precision` | mean over P of `#{q in P: s_q >= s_p} / #{j: s_j >= s_p}` | `label_ranking_average_precision_score` |
//! | `coverage_error` | `max_P #{j: s_j >= s_p}` | `coverage_error` |
//! | `one_error` | whether its first label is no positive | |
//! | `precision[k - 1]` | share of positives in its first `k` labels | |
//!
//! What is of a row is the mean over the rows. The first labels are those with the largest logits; of labels that tie,
//! those with the lowest numbers.
//!
//! **Edges.** What is divided by 0 is 0 (`zero_division=0`): the F1 of a label or row that has no positive and no
//! prediction, and every mean over no rows. A row without positives, or with positives alone, has a ranking loss of 0 and an
//! average precision of 1. A row without positives has a coverage of 0; its first label is an error, and its precision is
//! 0: [`MetricValues::rows_without_positives`] tells how many there were, for who leaves them out of these two. Precision
//! divides by `k` beyond the last label too. Ties are scikit-learn's worst case: a negative level with a positive counts as
//! above it. `-0` and `0` tie. Infinite logits are the largest and the smallest.
//!
//! **NaN.** A row with a NaN among its logits is counted in [`MetricValues::rows_left_out`], and nowhere else.
//!
//! **Masks.** What a mask by class, by element or by row leaves out might as well not be there, whatever it holds: it is no
//! label of its row, has no rank, and its NaN none sees. A row that is left out is counted nowhere. A label that counts in
//! no row is not in the mean of `f1_macro`. A row of which no label counts is a row without labels: it has no positive, and
//! every label right. There are no weights: whole numbers are counted.
//!
//! **Exact.** Everything that is added is a whole number, so the words do not depend on order, batches or device. Shares of a
//! row are rounded to multiples of `2^-31`: a mean of them is within `1e-9` of the exact one. Words count up to `2^32 - 1`
//! rows.
//!
//! **Words.** [`Metrics::words_len`] of them, a pair having its low word first:
//!
//! | words | what |
//! |---|---|
//! | 0, 1, 2, 3 | rows, rows left out, rows whose every label is right, rows without positives |
//! | 4, 6, 8, 10 | pairs: sums of ranking loss, average precision and F1 of rows, each times `2^31`; sum of coverage |
//! | 12 .. 12 + `top` | for each rank, rows of which the label there is a positive |
//! | 4 `L` more | for each label its true positives, false positives and false negatives, and of those first rows the ones in which a mask leaves it out |
//!
//! **Cost.** Seven dispatches, two more for sparse targets, and one for masks. Each label is met three times, and looked up among its row's
//! positives in the time of a binary search, once for each 1,024 of them; rows that could have very many positives take
//! more dispatches, each of bounded work. Scratch: 28 bytes for each label of a row that could be a positive (with sparse
//! targets no more than there are indices), and 40 a row, with masks two bits for each label, of as many rows as 64 MiB hold; three
//! words of each of a row's labels must fit one storage binding.

use crate::error::{Error, check_len};
use crate::losses::reduction::{check_setting, setters};

/// What is counted. The [module](self) has the definitions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metrics {
    /// A label is predicted where its logit is above this finite number.
    pub threshold: f32,
    /// Ranks of which the label is looked at, 1 to [`Metrics::MOST_RANKS`]: precision is known for `k` up to this.
    pub top: usize,
}

impl Default for Metrics {
    /// Threshold 0, precision up to `k = 5`.
    fn default() -> Self {
        Metrics {
            threshold: 0.0,
            top: 5,
        }
    }
}

setters! {
    Metrics:
    with_threshold, threshold, f32, "another threshold";
    with_top, top, usize, "precision for `k` up to another number";
}

/// What [`Metrics::values`] finds. The [module](self) has the definitions.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct MetricValues {
    /// Rows that everything else is of.
    pub rows: u64,
    /// Rows with a NaN, which nothing else is of.
    pub rows_left_out: u64,
    /// Rows without a positive.
    pub rows_without_positives: u64,
    /// F1 of all labels together.
    pub f1_micro: f64,
    /// Mean of the labels' F1.
    pub f1_macro: f64,
    /// Mean of the rows' F1.
    pub f1_samples: f64,
    /// Share of rows of which every label is right.
    pub subset_accuracy: f64,
    /// Share of labels that are wrong.
    pub hamming_loss: f64,
    /// Pairs of a positive and another label in the wrong order, or level.
    pub ranking_loss: f64,
    /// Label-ranking average precision.
    pub average_precision: f64,
    /// How far down a ranking all positives are met.
    pub coverage_error: f64,
    /// Share of rows whose first label is no positive.
    pub one_error: f64,
    /// Precision among the first 1, 2, .. labels.
    pub precision: Vec<f64>,
}

impl MetricValues {
    /// Every value but the numbers of rows, with its name; that of `precision[k - 1]` is `precision@k`.
    pub fn all(&self) -> impl Iterator<Item = (String, f64)> {
        let scores = [
            ("f1_micro", self.f1_micro),
            ("f1_macro", self.f1_macro),
            ("f1_samples", self.f1_samples),
            ("subset_accuracy", self.subset_accuracy),
            ("hamming_loss", self.hamming_loss),
            ("ranking_loss", self.ranking_loss),
            ("average_precision", self.average_precision),
            ("coverage_error", self.coverage_error),
            ("one_error", self.one_error),
        ];
        let precision = (1..).zip(&self.precision);
        let precision = precision.map(|(k, value): (usize, _)| (format!("precision@{k}"), *value));
        let scores = scores.into_iter();
        scores
            .map(|(name, value)| (name.to_owned(), value))
            .chain(precision)
    }
}

// Where the words of a sum of rows lie; the module's documentation has the same table.
pub(crate) const ROWS: u32 = 0;
pub(crate) const LEFT_OUT: u32 = 1;
pub(crate) const EXACT: u32 = 2;
pub(crate) const WITHOUT: u32 = 3;
pub(crate) const RANKING: u32 = 4;
pub(crate) const PRECISION: u32 = 6;
pub(crate) const F1: u32 = 8;
pub(crate) const COVERAGE: u32 = 10;
pub(crate) const RANKS: u32 = 12;

/// What 1 is in a sum of shares.
pub(crate) const ONE: u32 = 1 << 31;

impl Metrics {
    /// The largest [`Metrics::top`].
    pub const MOST_RANKS: usize = 1 << 16;

    /// Checks the settings alone.
    ///
    /// # Errors
    /// Names the setting.
    pub fn check(&self) -> Result<(), Error> {
        check_setting("threshold", self.threshold, f32::MIN..=f32::MAX)?;
        match self.top {
            1..=Self::MOST_RANKS => Ok(()),
            top => {
                let expected = format!("a number from 1 to {}", Self::MOST_RANKS);
                Err(Error::value("top", expected, top))
            }
        }
    }

    /// How many words a call for `cols` labels adds to.
    pub fn words_len(&self, cols: usize) -> usize {
        let ranks = RANKS as usize + self.top;
        cols.saturating_mul(4).saturating_add(ranks)
    }

    /// The values of `cols` labels, from words that calls have added to and that were 0 before.
    ///
    /// # Errors
    /// Another number of words; settings out of range.
    pub fn values(&self, cols: usize, words: &[u32]) -> Result<MetricValues, Error> {
        self.check()?;
        check_len("words", self.words_len(cols), words.len())?;
        let (of_rows, of_labels) = words.split_at(RANKS as usize + self.top);
        let count = |at: u32| u64::from(of_rows[at as usize]);
        let pair = |at: u32| (count(at) | count(at + 1) << 32) as f64;
        let rows = count(ROWS);
        let mean = |sum: f64| ratio(sum, rows as f64);
        let mean_share = |at: u32| mean(pair(at) / f64::from(ONE));
        let mut totals = [0_u64; 3];
        let (mut of_each, mut labels, mut elements) = (0.0, 0_u64, 0_u64);
        for label in of_labels.chunks_exact(4) {
            let counts = [label[0], label[1], label[2]].map(u64::from);
            let there = rows.saturating_sub(u64::from(label[3]));
            labels += u64::from(there > 0);
            elements = elements.saturating_add(there);
            of_each += f1(counts);
            (totals.iter_mut().zip(counts)).for_each(|(total, count)| *total += count);
        }
        let mut hits = 0.0;
        let precision = of_rows[RANKS as usize..].iter().zip(1..);
        let precision: Vec<f64> = precision
            .map(|(rows_with_it, k)| {
                hits += f64::from(*rows_with_it);
                mean(hits / f64::from(k))
            })
            .collect();
        let wrong_first = rows.saturating_sub(count(RANKS));
        Ok(MetricValues {
            rows,
            rows_left_out: count(LEFT_OUT),
            rows_without_positives: count(WITHOUT),
            f1_micro: f1(totals),
            f1_macro: ratio(of_each, labels as f64),
            f1_samples: mean_share(F1),
            subset_accuracy: mean(count(EXACT) as f64),
            hamming_loss: ratio((totals[1] + totals[2]) as f64, elements as f64),
            ranking_loss: mean_share(RANKING),
            average_precision: mean_share(PRECISION),
            coverage_error: mean(pair(COVERAGE)),
            one_error: mean(wrong_first as f64),
            precision,
        })
    }
}

/// A quotient; 0 where it has no divisor.
pub(crate) fn ratio(a: f64, b: f64) -> f64 {
    if b == 0.0 { 0.0 } else { a / b }
}

/// F1 of true positives, false positives and false negatives.
pub(crate) fn f1([hits, extra, missed]: [u64; 3]) -> f64 {
    ratio(2.0 * hits as f64, (2 * hits + extra + missed) as f64)
}
