//! Metrics, against scikit-learn and by hand.

#[path = "../fixtures/metrics.rs"]
mod fixture;

use fixture::golden;
use wgloss::reference::{MetricsInputs, metrics};
use wgloss::{MetricValues, Metrics};

fn close(what: &str, found: f64, expected: f64) {
    let good = (found - expected).abs() <= 1e-12 * expected.abs().max(1.0);
    assert!(good, "{what} is {found}, expected {expected}");
}

/// Metrics of `cols` labels a row.
fn of(config: &Metrics, cols: usize, logits: &[f64], targets: &[u8]) -> MetricValues {
    let targets: Vec<bool> = targets.iter().map(|y| *y != 0).collect();
    let inputs = MetricsInputs {
        rows: targets.len() / cols,
        cols,
        logits,
        targets: &targets,
        ..MetricsInputs::default()
    };
    metrics(config, &inputs).unwrap()
}

#[test]
fn scikit_learn_has_the_same() {
    let cases = golden();
    assert_eq!(cases.len(), 6);
    for case in cases {
        let logits: Vec<f64> = case.logits.iter().map(|s| f64::from(*s)).collect();
        let found = of(&case.config, case.cols, &logits, &case.targets);
        assert_eq!(found.rows, case.rows as u64);
        let expected = case.values.as_object().unwrap();
        assert_eq!(found.all().count(), expected.len());
        for (name, value) in found.all() {
            close(&name, value, expected[&name].as_f64().unwrap());
        }
    }
}

#[test]
fn worked_by_hand() {
    // Row 1: predicted {0, 2}, positive {0, 1}. Row 2: predicted and positive {3}.
    let found = of(
        &Metrics::default().with_top(2),
        4,
        &[2.0, -1.0, 1.0, -3.0, -0.5, -2.0, -1.0, 0.5],
        &[1, 1, 0, 0, 0, 0, 0, 1],
    );
    close("subset accuracy", found.subset_accuracy, 0.5);
    close("Hamming loss", found.hamming_loss, 2.0 / 8.0);
    close("micro F1", found.f1_micro, 2.0 * 2.0 / (3.0 + 3.0));
    // Labels 0 and 3 are right; 1 is positive alone, 2 predicted alone.
    close("macro F1", found.f1_macro, 2.0 / 4.0);
    close("samples F1", found.f1_samples, (0.5 + 1.0) / 2.0);
    // Row 1: of the pairs (0,2) (0,3) (1,2) (1,3) only (1,2) is wrong.
    close("ranking loss", found.ranking_loss, 0.25 / 2.0);
    // Row 1: label 0 has rank 1 and precision 1/1, label 1 rank 3 and precision 2/3. Row 2: 1.
    let first = (1.0 + 2.0 / 3.0) / 2.0;
    close("precision", found.average_precision, (first + 1.0) / 2.0);
    close("coverage", found.coverage_error, (3.0 + 1.0) / 2.0);
    close("one-error", found.one_error, 0.0);
    close("precision@1", found.precision[0], 1.0);
    close("precision@2", found.precision[1], (0.5 + 0.5) / 2.0);
}

#[test]
fn level_labels_count_against_the_model() {
    let all = [0.0, -0.0, 0.0, 0.0];
    let found = of(&Metrics::default(), 4, &all, &[0, 1, 0, 0]);
    close("ranking loss", found.ranking_loss, 1.0);
    close("precision", found.average_precision, 0.25);
    close("coverage", found.coverage_error, 4.0);
    // 0 is not above 0.
    close("micro F1", found.f1_micro, 0.0);
    // The first of them is label 0.
    close("one-error", found.one_error, 1.0);
    assert_eq!(found.precision[..2], [0.0, 0.5]);
    // There are no five labels, and the divisor is 5 all the same.
    close("precision@5", found.precision[4], 1.0 / 5.0);
}

#[test]
fn rows_without_positives_or_with_positives_alone() {
    let found = of(
        &Metrics::default(),
        2,
        &[-1.0, -2.0, 3.0, 1.0],
        &[0, 0, 1, 1],
    );
    assert_eq!((found.rows, found.rows_without_positives), (2, 1));
    close("subset accuracy", found.subset_accuracy, 1.0);
    close("samples F1", found.f1_samples, 0.5);
    close("macro F1", found.f1_macro, 1.0);
    close("ranking loss", found.ranking_loss, 0.0);
    close("precision", found.average_precision, 1.0);
    close("coverage", found.coverage_error, (0.0 + 2.0) / 2.0);
    close("one-error", found.one_error, 0.5);
    close("precision@1", found.precision[0], 0.5);
}

#[test]
fn a_row_with_a_nan_is_nowhere() {
    let (logits, targets) = ([1.0, -1.0, 0.5, 2.0], [1, 0, 0, 1]);
    let alone = of(&Metrics::default(), 2, &logits, &targets);
    let logits = [&[f64::NAN, 3.0], &logits[..], &[-3.0, f64::NAN]].concat();
    let targets = [&[1, 0], &targets[..], &[1, 1]].concat();
    let found = of(&Metrics::default(), 2, &logits, &targets);
    assert_eq!((found.rows, found.rows_left_out), (2, 2));
    assert!(found.all().eq(alone.all()));
}

/// What masks leave out might as well not be there.
#[test]
fn masked_is_taken_out() {
    let nan = f64::NAN;
    let logits = [
        nan, 1.0, -1.0, 2.0, //
        0.5, nan, 0.5, 3.0, //
        -1.0, 4.0, 0.0, -2.0, //
        1.0, 1.0, 1.0, nan,
    ];
    let flags = |flags: [u8; 16]| flags.map(|flag| flag != 0);
    let targets = flags([1, 1, 0, 1, 0, 1, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1]);
    let mask = flags([1, 1, 1, 0, 1, 0, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1]);
    let row_mask = [true, true, true, false];
    let inputs = MetricsInputs {
        rows: 4,
        cols: 4,
        logits: &logits,
        targets: &targets,
        class_mask: Some(&[false, true, true, true]),
        mask: Some(&mask),
        row_mask: Some(&row_mask),
    };
    let found = metrics(&Metrics::default().with_top(1), &inputs).unwrap();
    // Rows of labels {1, 2}, {2, 3} and none.
    assert_eq!((found.rows, found.rows_left_out), (3, 0));
    assert_eq!(found.rows_without_positives, 1);
    close("subset accuracy", found.subset_accuracy, 1.0);
    close("Hamming loss", found.hamming_loss, 0.0);
    close("micro F1", found.f1_micro, 1.0);
    close("macro F1", found.f1_macro, 1.0);
    close("coverage", found.coverage_error, (1.0 + 2.0) / 3.0);
    close("precision@1", found.precision[0], 2.0 / 3.0);
    // Of label 0 there is nothing, and of label 1 one row.
    let mask = flags([0, 1, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0]);
    let inputs = MetricsInputs {
        class_mask: None,
        mask: Some(&mask),
        ..inputs
    };
    let found = metrics(&Metrics::default(), &inputs).unwrap();
    // Label 2: right, and a positive at 0 that is not predicted. Label 3: right in all three.
    close("Hamming loss", found.hamming_loss, 1.0 / 7.0);
    close("macro F1", found.f1_macro, (1.0 + 2.0 / 3.0 + 1.0) / 3.0);
}

#[test]
fn nothing_gives_zeros() {
    let none = of(&Metrics::default(), 3, &[], &[]);
    assert!(none.all().all(|(_, value)| value == 0.0));
    let inputs = MetricsInputs {
        cols: usize::MAX,
        ..MetricsInputs::default()
    };
    assert_eq!(metrics(&Metrics::default(), &inputs).unwrap().rows, 0);
    let words = vec![0; Metrics::default().words_len(3)];
    assert_eq!(Metrics::default().values(3, &words).unwrap(), none);
}

#[test]
fn values_of_words() {
    let config = Metrics::default().with_top(2);
    let half = 1 << 30;
    let mut words = vec![
        4, 1, 1, 2, // of 4 rows one is right, two have no positive
        half, 0, 0, 1, half, 1, // ranking loss 1/2, precision 2, F1 2 and 1/2
        7, 1, // coverage 2^32 and 7
        3, 1, // three rows have their first label right, one the second
        1, 0, 0, 0, 2, 1, 1, 1, // the labels; one row does not have the second
    ];
    let found = config.values(2, &words).unwrap();
    assert_eq!(
        (
            found.rows,
            found.rows_left_out,
            found.rows_without_positives
        ),
        (4, 1, 2)
    );
    close("subset accuracy", found.subset_accuracy, 0.25);
    close("ranking loss", found.ranking_loss, 0.5 / 4.0);
    close("precision", found.average_precision, 2.0 / 4.0);
    close("samples F1", found.f1_samples, 2.5 / 4.0);
    let coverage = (f64::from(u32::MAX) + 8.0) / 4.0;
    close("coverage", found.coverage_error, coverage);
    close("one-error", found.one_error, 0.25);
    assert_eq!(found.precision, [3.0 / 4.0, 4.0 / 8.0]);
    close("micro F1", found.f1_micro, 6.0 / 8.0);
    close("macro F1", found.f1_macro, (1.0 + 4.0 / 6.0) / 2.0);
    close("Hamming loss", found.hamming_loss, 2.0 / 7.0);
    // A label that no row has is in no mean.
    words[21] = 4;
    let found = config.values(2, &words).unwrap();
    close("macro F1", found.f1_macro, 1.0 + 4.0 / 6.0);
    words.pop();
    let error = config.values(2, &words).unwrap_err().to_string();
    assert_eq!(error, "words: expected [22], found [21]");
}

#[test]
fn wrong_settings_and_lengths_are_named() {
    let inputs = MetricsInputs {
        rows: 1,
        cols: 2,
        logits: &[0.0; 2],
        targets: &[true; 2],
        ..MetricsInputs::default()
    };
    let plain = Metrics::default();
    for (config, inputs, expected) in [
        (
            plain.with_threshold(f32::NAN),
            inputs,
            "threshold: expected a finite number",
        ),
        (
            plain.with_top(0),
            inputs,
            "top: expected a number from 1 to 65536, found 0",
        ),
        (
            plain,
            MetricsInputs {
                logits: &[0.0],
                ..inputs
            },
            "logits: expected [2], found [1]",
        ),
        (
            plain,
            MetricsInputs {
                targets: &[],
                ..inputs
            },
            "targets: expected [2], found [0]",
        ),
        (
            plain,
            MetricsInputs {
                class_mask: Some(&[]),
                ..inputs
            },
            "class_mask: expected [2], found [0]",
        ),
        (
            plain,
            MetricsInputs {
                row_mask: Some(&[true; 2]),
                ..inputs
            },
            "row_mask: expected [1], found [2]",
        ),
    ] {
        let error = metrics(&config, &inputs).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}
