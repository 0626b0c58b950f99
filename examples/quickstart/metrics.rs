//! Scores of multi-label predictions, with scikit-learn's definitions. A label is predicted where its logit is above a
//! threshold; ranks come from the logits.

/// Scores of a set of samples.
#[derive(Clone, Copy, Debug)]
pub struct Scores {
    /// Samples of which every label is right (`accuracy_score`).
    pub subset_accuracy: f64,
    /// F1 of all decisions together (`f1_score`, micro).
    pub micro_f1: f64,
    /// Mean of the labels' F1; 0 for a label neither present nor predicted (`f1_score`, macro).
    pub macro_f1: f64,
    /// Pairs of a present and an absent label ranked the wrong way or level, by sample (`label_ranking_loss`).
    pub ranking_loss: f64,
    /// Of the labels ranked no lower than a present one, the share that is present; mean over the present ones, then
    /// over the samples (`label_ranking_average_precision_score`).
    pub average_precision: f64,
}

impl Scores {
    /// Scores of row-major logits against row-major labels, `cols` to a row.
    pub fn of(logits: &[f32], labels: &[u8], cols: usize, threshold: f32) -> Scores {
        let rows = (labels.len() / cols) as f64;
        let mut counts = vec![[0u32; 3]; cols]; // of each label: right, predicted, present
        let (mut exact, mut ranking, mut precision) = (0.0, 0.0, 0.0);
        for (s, y) in logits.chunks_exact(cols).zip(labels.chunks_exact(cols)) {
            let mut all_right = true;
            for ((s, y), count) in s.iter().zip(y).zip(&mut counts) {
                let (predicted, present) = (*s > threshold, *y != 0);
                all_right &= predicted == present;
                count[0] += u32::from(predicted && present);
                count[1] += u32::from(predicted);
                count[2] += u32::from(present);
            }
            exact += f64::from(u8::from(all_right));
            ranking += row_ranking_loss(s, y);
            precision += row_average_precision(s, y);
        }
        let total = counts.iter().fold([0; 3], |sum, count| {
            [sum[0] + count[0], sum[1] + count[1], sum[2] + count[2]]
        });
        Scores {
            subset_accuracy: exact / rows,
            micro_f1: f1(total),
            macro_f1: counts.iter().copied().map(f1).sum::<f64>() / cols as f64,
            ranking_loss: ranking / rows,
            average_precision: precision / rows,
        }
    }
}

/// The threshold with the best micro F1 on these rows, halfway between two logits; 0 where nothing is to be found.
pub fn best_threshold(logits: &[f32], labels: &[u8]) -> f32 {
    let mut falling: Vec<(f32, bool)> = (logits.iter().zip(labels))
        .map(|(s, y)| (*s, *y != 0))
        .collect();
    falling.sort_by(|a, b| b.0.total_cmp(&a.0));
    let present = falling.iter().filter(|(_, present)| *present).count() as u32;
    let (mut right, mut best) = (0, (0.0, 0.0));
    for (i, (s, is_present)) in falling.iter().enumerate() {
        right += u32::from(*is_present);
        let next = falling.get(i + 1).map_or(*s - 1.0, |(next, _)| *next);
        let score = f1([right, i as u32 + 1, present]);
        if next < *s && score > best.0 {
            let middle = s.midpoint(next);
            // Of neighbouring numbers the middle may be the upper one.
            best = (score, if middle < *s { middle } else { next });
        }
    }
    best.1
}

fn f1([right, predicted, present]: [u32; 3]) -> f64 {
    match predicted + present {
        0 => 0.0,
        both => 2.0 * f64::from(right) / f64::from(both),
    }
}

/// Labels of a row whose flag is `present` and whose logit is at least `least`.
fn count(s: &[f32], y: &[u8], present: bool, least: f32) -> usize {
    let counts = |(s, y): &(&f32, &u8)| (**y != 0) == present && **s >= least;
    s.iter().zip(y).filter(counts).count()
}

/// 0 for a row without present or without absent labels.
fn row_ranking_loss(s: &[f32], y: &[u8]) -> f64 {
    let present = y.iter().filter(|y| **y != 0).count();
    let pairs = present * (y.len() - present);
    let wrong: usize = (s.iter().zip(y).filter(|(_, y)| **y != 0))
        .map(|(s_present, _)| count(s, y, false, *s_present))
        .sum();
    if pairs == 0 {
        0.0
    } else {
        wrong as f64 / pairs as f64
    }
}

/// 1 for a row without present labels.
fn row_average_precision(s: &[f32], y: &[u8]) -> f64 {
    let present = y.iter().filter(|y| **y != 0).count();
    if present == 0 {
        return 1.0;
    }
    let sum: f64 = (s.iter().zip(y).filter(|(_, y)| **y != 0))
        .map(|(s_present, _)| {
            let above = count(s, y, true, *s_present) as f64;
            above / (above + count(s, y, false, *s_present) as f64)
        })
        .sum();
    sum / present as f64
}

#[cfg(test)]
mod tests {
    use super::{Scores, best_threshold};

    fn close(found: f64, expected: f64) {
        assert!(
            (found - expected).abs() < 1e-12,
            "{found} instead of {expected}"
        );
    }

    #[test]
    fn worked_by_hand() {
        // Row 1: predicted {0, 2}, present {0, 1}. Row 2: predicted and present {3}.
        let scores = Scores::of(
            &[2.0, -1.0, 1.0, -3.0, -0.5, -2.0, -1.0, 0.5],
            &[1, 1, 0, 0, 0, 0, 0, 1],
            4,
            0.0,
        );
        close(scores.subset_accuracy, 0.5);
        close(scores.micro_f1, 2.0 * 2.0 / (3.0 + 3.0));
        // Labels 0 and 3 are right; 1 is only present, 2 only predicted.
        close(scores.macro_f1, 2.0 / 4.0);
        // Row 1: of the pairs (0,2) (0,3) (1,2) (1,3) only (1,2) is wrong. Row 2: none.
        close(scores.ranking_loss, (0.25 + 0.0) / 2.0);
        // Row 1: label 0 has rank 1 and precision 1/1, label 1 rank 3 and precision 2/3. Row 2: 1.
        close(
            scores.average_precision,
            ((1.0 + 2.0 / 3.0) / 2.0 + 1.0) / 2.0,
        );
    }

    #[test]
    fn level_labels_count_against_the_model() {
        let scores = Scores::of(&[0.0, 0.0, 0.0, 0.0], &[1, 0, 0, 0], 4, 0.0);
        close(scores.ranking_loss, 1.0);
        close(scores.average_precision, 0.25);
        close(scores.micro_f1, 0.0); // 0 is not positive: nothing is predicted
    }

    #[test]
    fn rows_with_no_label_or_all() {
        let scores = Scores::of(&[-1.0, -2.0, 3.0, 1.0], &[0, 0, 1, 1], 2, 0.0);
        close(scores.subset_accuracy, 1.0);
        close(scores.ranking_loss, 0.0);
        close(scores.average_precision, 1.0);
        close(scores.micro_f1, 1.0);
        close(scores.macro_f1, 1.0);
        let none = Scores::of(&[-1.0, -2.0], &[0, 0], 2, 0.0);
        close(none.micro_f1, 0.0);
        close(none.macro_f1, 0.0);
    }
    #[test]
    fn threshold_decides_and_does_not_rank() {
        let (logits, labels) = ([5.0, 3.0, 4.0, 2.0], [1, 0, 1, 0]);
        let scores = Scores::of(&logits, &labels, 2, 3.5);
        close(scores.subset_accuracy, 1.0);
        close(scores.ranking_loss, 0.0);
        let scores = Scores::of(&logits, &labels, 2, 4.0); // 4 is not above 4
        close(scores.subset_accuracy, 0.5);
        close(scores.ranking_loss, 0.0);
    }

    #[test]
    fn best_threshold_by_hand() {
        // F1 by how many of the largest logits are predicted: 2/4, 4/5, 4/6, 6/7, 6/8.
        let (logits, labels) = ([1.0, 9.0, 3.0, 7.0, 5.0], [0, 1, 1, 1, 0]);
        assert_eq!(best_threshold(&logits, &labels), 2.0);
        // Level logits are predicted together or not at all: 2/3 beats the 1/2 of the first alone.
        assert_eq!(best_threshold(&[4.0, 0.0, 2.0, 2.0], &[0, 0, 1, 1]), 1.0);
        // All predicted.
        assert_eq!(best_threshold(&[-2.0, -3.0], &[1, 1]), -3.5);
        let above = 1.0_f32.next_up();
        assert_eq!(best_threshold(&[above, 1.0], &[1, 0]), 1.0);
        assert_eq!(best_threshold(&[], &[]), 0.0);
        assert_eq!(best_threshold(&[1.0, 2.0], &[0, 0]), 0.0);
    }
}
