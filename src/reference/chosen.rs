//! How good chosen labels are, as extreme classification measures it.

use crate::error::{Error, check_len};
use crate::reference::sparse::check_sparse;

/// Labels that were chosen for each sample, and those that it has.
#[derive(Clone, Copy, Debug)]
pub struct ChosenInputs<'a> {
    /// Number of samples.
    pub rows: usize,
    /// Number of labels.
    pub cols: usize,
    /// Labels chosen for each sample.
    pub count: usize,
    /// `rows * count` labels, the most likely first, as [`top`](super::top) and the kernels give them; those that are none
    /// (0xffffffff) are right for nobody. No label stands twice in a row.
    pub chosen: &'a [u32],
    /// `rows + 1` offsets of the labels that samples have.
    pub offsets: &'a [u32],
    /// These labels, each once for a sample.
    pub indices: &'a [u32],
    /// `cols` chances that a label which belongs to a sample was noted: [`propensities`].
    pub propensity: Option<&'a [f64]>,
}

/// What they come to: of each, for the first 1, 2, .. `count` labels that were chosen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChosenValues {
    /// P@k: the mean share of the first k that belong to their sample.
    pub precision: Vec<f64>,
    /// `nDCG@k`: `sum 1 / log2(i + 1)` over the right ones among the first k, by their places i, over what it is where the
    /// sample's labels come first; the mean over samples, of which one without labels has 0.
    pub ndcg: Vec<f64>,
    /// PSP@k: `sum 1 / p_l` over the right ones among the first k of all samples, over the most that it can be. Empty without
    /// propensities.
    pub propensity_precision: Vec<f64>,
}

/// The chance that a label is noted which belongs to a sample, by how many of `samples` samples have it:
/// `p = 1 / (1 + C (n + b)^-a)`, `C = (ln N - 1) (b + 1)^a`. Jain, Prabhu and Varma, KDD 2016, use a = 0.55 and b = 1.5, for
/// Wikipedia's data 0.5 and 0.4, for Amazon's 0.6 and 2.6.
pub fn propensities(counts: &[u32], samples: usize, a: f64, b: f64) -> Vec<f64> {
    let c = ((samples.max(1) as f64).ln() - 1.0).max(0.0) * (b + 1.0).powf(a);
    let of = |count: &u32| 1.0 / (1.0 + c * (f64::from(*count) + b).powf(-a));
    counts.iter().map(of).collect()
}

/// Precision, discounted gain, and precision by propensities of chosen labels.
///
/// # Errors
/// Wrong lengths, lists that are none, propensities outside `(0, 1]`.
pub fn chosen_metrics(inputs: &ChosenInputs<'_>) -> Result<ChosenValues, Error> {
    let (rows, cols, count) = (inputs.rows, inputs.cols, inputs.count);
    check_sparse(rows, cols, inputs.offsets, inputs.indices)?;
    check_len("chosen", rows.saturating_mul(count), inputs.chosen.len())?;
    if let Some(propensity) = inputs.propensity {
        check_len("propensity", cols, propensity.len())?;
        if let Some(bad) = propensity.iter().find(|p| !(**p > 0.0 && **p <= 1.0)) {
            return Err(Error::value("propensity", "chances in (0, 1]", bad));
        }
    }
    let gain = |label: u32| inputs.propensity.map_or(1.0, |p| 1.0 / p[label as usize]);
    let mut precision = vec![0.0; count];
    let mut ndcg = vec![0.0; count];
    let (mut scored, mut best) = (vec![0.0; count], vec![0.0; count]);
    for row in 0..rows {
        let span = inputs.offsets[row] as usize..inputs.offsets[row + 1] as usize;
        let labels = &inputs.indices[span];
        let mut gains: Vec<f64> = labels.iter().map(|label| gain(*label)).collect();
        gains.sort_by(|a, b| b.total_cmp(a));
        let (mut right, mut discounted, mut ideal) = (0.0, 0.0, 0.0);
        let (mut own, mut most) = (0.0, 0.0);
        for k in 0..count {
            let label = inputs.chosen[row * count + k];
            let discount = 1.0 / (k as f64 + 2.0).log2();
            if labels.contains(&label) {
                right += 1.0;
                discounted += discount;
                own += gain(label);
            }
            if k < labels.len() {
                ideal += discount;
            }
            most += gains.get(k).copied().unwrap_or(0.0);
            precision[k] += right / (k as f64 + 1.0);
            ndcg[k] += if ideal > 0.0 { discounted / ideal } else { 0.0 };
            scored[k] += own;
            best[k] += most;
        }
    }
    let mean = |sums: Vec<f64>| sums.iter().map(|sum| sum / rows.max(1) as f64).collect();
    let share = scored.iter().zip(&best);
    let share = share.map(|(own, most)| if *most > 0.0 { own / most } else { 0.0 });
    Ok(ChosenValues {
        precision: mean(precision),
        ndcg: mean(ndcg),
        propensity_precision: match inputs.propensity {
            Some(_) => share.collect(),
            None => Vec::new(),
        },
    })
}
