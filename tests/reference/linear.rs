//! The fused last layer: finite differences through both products, updates, chosen labels and what they are worth.

use wgloss::reference::{
    ChosenInputs, LinearInputs, bf16_by_chance, chosen_metrics, f16_by_chance, propensities, top,
};
use wgloss::{AnyLoss, Bce, Error, Linear, Reduction, SoftmaxCe, Update, Zlpr};

const ROWS: usize = 3;
const COLS: usize = 4;
const DIMS: usize = 2;

fn inputs<'a>(hidden: &'a [f64], weights: &'a [f64], bias: &'a [f64]) -> LinearInputs<'a, f64> {
    LinearInputs {
        rows: ROWS,
        cols: COLS,
        dims: DIMS,
        hidden,
        weights,
        bias: Some(bias),
        targets: &[1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0],
        class_weight: Some(&[1.0, 2.0, 0.5, 1.5]),
        sample_weight: Some(&[1.0, 0.5, 2.0]),
        grad_loss: Some(&[0.75]),
        ..LinearInputs::default()
    }
}

const HIDDEN: [f64; 6] = [0.5, -1.0, 2.0, 0.25, -0.75, 1.5];
const WEIGHTS: [f64; 8] = [1.0, 0.5, -0.5, 0.25, 0.75, -1.25, 0.1, 0.9];
const BIAS: [f64; 4] = [0.1, -0.2, 0.3, 0.0];

#[test]
fn gradients_are_differences_of_the_loss() -> Result<(), Error> {
    let losses: [AnyLoss; 4] = [
        Zlpr::hard().into(),
        Zlpr::lsep().with_reduction(Reduction::Sum).into(),
        Bce::default().into(),
        SoftmaxCe::default().into(),
    ];
    for loss in losses {
        let layer = Linear::new(loss);
        let value = |h: &[f64], w: &[f64], b: &[f64]| -> Result<f64, Error> {
            Ok(0.75 * layer.reference(&inputs(h, w, b))?.loss[0])
        };
        let out = layer.reference(&inputs(&HIDDEN, &WEIGHTS, &BIAS))?;
        let step = 1e-6;
        let check = |found: &[f64], at: &dyn Fn(usize, f64) -> Result<f64, Error>| {
            for (i, slope) in found.iter().enumerate() {
                let difference = (at(i, step)? - at(i, -step)?) / (2.0 * step);
                assert!(
                    (slope - difference).abs() < 1e-8,
                    "{loss:?} {i}: {slope} {difference}"
                );
            }
            Ok::<(), Error>(())
        };
        let moved = |of: &[f64], i: usize, by: f64| {
            let mut all = of.to_vec();
            all[i] += by;
            all
        };
        assert_eq!(out.grad_hidden.len(), HIDDEN.len());
        assert_eq!(out.grad_weights.len(), WEIGHTS.len());
        assert_eq!(out.grad_bias.len(), BIAS.len());
        check(&out.grad_hidden, &|i, by| {
            value(&moved(&HIDDEN, i, by), &WEIGHTS, &BIAS)
        })?;
        check(&out.grad_weights, &|i, by| {
            value(&HIDDEN, &moved(&WEIGHTS, i, by), &BIAS)
        })?;
        check(&out.grad_bias, &|i, by| {
            value(&HIDDEN, &WEIGHTS, &moved(&BIAS, i, by))
        })?;
    }
    Ok(())
}

#[test]
fn updates_are_steps_against_the_gradient() -> Result<(), Error> {
    let inputs = inputs(&HIDDEN, &WEIGHTS, &BIAS);
    let plain = Linear::new(Bce::default());
    let slopes = plain.reference(&inputs)?.grad_weights;
    let sgd = plain.with_update(Update::sgd(0.5), 0).reference(&inputs)?;
    for (i, after) in sgd.weights.iter().enumerate() {
        assert!((after - (WEIGHTS[i] - 0.5 * slopes[i])).abs() < 1e-12);
    }
    assert!(sgd.state.is_empty());
    let state = [0.0, 1.0, 0.25, 4.0];
    let with_state = LinearInputs {
        state: Some(&state),
        ..inputs
    };
    let layer = plain.with_update(Update::adagrad(0.5), 0);
    let adagrad = layer.reference(&with_state)?;
    for label in 0..COLS {
        let own = &slopes[label * DIMS..][..DIMS];
        let squares = own.iter().map(|g| g * g).sum::<f64>() / DIMS as f64;
        let after = state[label] + squares;
        assert!((adagrad.state[label] - after).abs() < 1e-12);
        for (d, slope) in own.iter().enumerate() {
            let expected = WEIGHTS[label * DIMS + d] - 0.5 * slope / (after.sqrt() + 1e-8);
            assert!((adagrad.weights[label * DIMS + d] - expected).abs() < 1e-9);
        }
    }
    Ok(())
}

#[test]
fn the_greatest_logits_come_first_and_of_equal_ones_the_smaller_label() -> Result<(), Error> {
    let inputs = LinearInputs {
        rows: 2,
        cols: 6,
        dims: 1,
        hidden: &[1.0, -1.0],
        weights: &[2.0, 5.0, 2.0, f64::NAN, -1.0, 2.0],
        ..LinearInputs::default()
    };
    let (labels, scores) = top(&inputs, 6)?;
    assert_eq!(labels, [1, 0, 2, 5, 4, 3, 4, 0, 2, 5, 1, 3]);
    assert_eq!(scores[..5], [5.0, 2.0, 2.0, 2.0, -1.0]);
    assert!(scores[5].is_nan() && scores[11].is_nan());
    let masked = LinearInputs {
        class_mask: Some(&[true, false, true, false, false, false]),
        ..inputs
    };
    let (labels, scores) = top(&masked, 3)?;
    assert_eq!(labels, [0, 2, u32::MAX, 0, 2, u32::MAX]);
    assert_eq!(scores[2], f64::NEG_INFINITY);
    assert!(top(&inputs, 0).is_err() && top(&inputs, 7).is_err());
    Ok(())
}

#[test]
fn chosen_labels_are_judged_as_the_papers_do() -> Result<(), Error> {
    // Two samples with the labels {0, 2} and {1}, three chosen for each.
    let propensity = [0.5, 0.25, 1.0, 0.8];
    let values = chosen_metrics(&ChosenInputs {
        rows: 2,
        cols: 4,
        count: 3,
        chosen: &[2, 3, 0, 3, 1, u32::MAX],
        offsets: &[0, 2, 3],
        indices: &[0, 2, 1],
        propensity: Some(&propensity),
    })?;
    let near = |found: &[f64], expected: [f64; 3]| {
        let off = found.iter().zip(expected).map(|(f, e)| (f - e).abs());
        assert!(
            found.len() == 3 && off.fold(0.0, f64::max) < 1e-12,
            "{found:?} {expected:?}"
        );
    };
    near(&values.precision, [0.5, 0.5, 0.5]);
    let (second, third) = (1.0 / 3_f64.log2(), 0.5);
    let both = 1.0 + second;
    near(
        &values.ndcg,
        [
            0.5,
            (1.0 / both + second) / 2.0,
            ((1.0 + third) / both + second) / 2.0,
        ],
    );
    // The most is 2, 2 + 1 and 2 + 1 of the first sample, 4 of the second.
    near(
        &values.propensity_precision,
        [1.0 / 6.0, 5.0 / 7.0, 7.0 / 7.0],
    );
    // Jain et al.: a rare label's chance is small, a frequent one's near 1.
    let chances = propensities(&[0, 10, 100_000], 100_000, 0.55, 1.5);
    assert!(chances[0] < chances[1] && chances[1] < chances[2] && chances[2] > 0.96);
    let c = (100_000_f64.ln() - 1.0) * 2.5_f64.powf(0.55);
    assert!((chances[1] - 1.0 / (1.0 + c * 11.5_f64.powf(-0.55))).abs() < 1e-12);
    Ok(())
}

/// Each number goes to one of its neighbours, as often to each as makes the mean right.
#[test]
fn numbers_rounded_by_chance_are_right_in_the_mean() {
    for value in [0.1_f32, -1.7, 3e-6, -5e-7, 1e-9, 65_000.0, 0.25] {
        let mut sums = [0.0_f64; 2];
        let count = 20_000;
        for i in 0..count {
            sums[0] += f16_by_chance(value, 9, i / 100, i % 100).to_f64();
            sums[1] += bf16_by_chance(value, 9, i / 100, i % 100).to_f64();
        }
        let steps = [
            f64::from(value.abs()).max(6e-5) / 1024.0,
            f64::from(value.abs()) / 128.0,
        ];
        for (sum, step) in sums.into_iter().zip(steps) {
            let off = (sum / f64::from(count) - f64::from(value)).abs();
            assert!(off < 0.02 * step, "{value}: off by {off}, a step is {step}");
        }
    }
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0] {
        let same = |found: f64| found == f64::from(value) || found.is_nan() && value.is_nan();
        assert!(same(f16_by_chance(value, 1, 2, 3).to_f64()));
        assert!(same(bf16_by_chance(value, 1, 2, 3).to_f64()));
    }
}
