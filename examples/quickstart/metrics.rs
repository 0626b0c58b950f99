//! Scores of multi-label predictions, by the metrics of the crate; and the threshold that micro F1 likes best.

use wgloss::host::{Dense, Engine, MetricsRows, Values};
use wgloss::{Error, MetricValues, Metrics, Targets};

/// Scores of row-major logits against row-major labels, `cols` to a row.
pub fn scores(
    engine: &Engine,
    logits: &[f32],
    labels: &[u8],
    cols: usize,
    threshold: f32,
) -> Result<MetricValues, Error> {
    let rows = MetricsRows::new(
        labels.len() / cols,
        cols,
        Values::F32(logits),
        Targets::Dense(Dense::Flags(labels)),
    );
    engine.metrics(&Metrics::default().with_threshold(threshold), &rows)
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

#[cfg(test)]
mod tests {
    use super::{best_threshold, scores};
    use wgloss::host::Engine;

    #[test]
    fn threshold_decides_and_does_not_rank() {
        let engine = Engine::reference();
        let (logits, labels) = ([5.0, 3.0, 4.0, 2.0], [1, 0, 1, 0]);
        // 4 is not above 4.
        for (threshold, subset_accuracy) in [(3.5, 1.0), (4.0, 0.5)] {
            let found = scores(&engine, &logits, &labels, 2, threshold).unwrap();
            assert_eq!(found.subset_accuracy, subset_accuracy);
            assert_eq!(found.ranking_loss, 0.0);
        }
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
