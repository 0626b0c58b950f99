//! Softmax cross-entropy of several labels.

use super::*;
use wgloss::SoftmaxCe;

const CE: Loss = Loss(AnyLoss::SoftmaxCe(SoftmaxCe {
    reduction: Reduction::Sum,
}));

#[test]
fn golden_values() {
    let golden = &golden()["softmax_ce"];
    let s = numbers(&golden["s"]);
    for (targets, loss) in [("y", 1.347_122_788_141_013), ("t", 1.556_425_113_722_409)] {
        let out = Problem::new(1, &s, &numbers(&golden[targets])).run(CE);
        close(targets, &out.loss, &[loss], 1e-14);
        let expected = &golden[format!("of_{targets}").as_str()];
        close(targets, &out.loss, &numbers(&expected["loss"]), 1e-14);
        close(targets, &out.grad_logits, &numbers(&expected["ds"]), 1e-14);
        close(targets, &out.grad_targets, &numbers(&expected["dt"]), 1e-14);
    }
}

/// One positive: the cross-entropy that everybody knows. Proportions alone matter, and adding to all logits nothing.
#[test]
fn laws() {
    for seed in 0..50 {
        let problem = Problem::random(&mut Rng(seed), 1, 9, CE);
        let (s, y) = (&problem.logits, &problem.targets);
        let lse = s.iter().map(|s| s.exp()).sum::<f64>().ln();
        let mut one = vec![0.0; 9];
        one[seed as usize % 9] = 1.0;
        let out = Problem::new(1, s, &one).run(CE);
        close("one label", &out.loss, &[lse - s[seed as usize % 9]], 1e-12);
        let plain = Problem::new(1, s, y).run(CE);
        let half: Vec<f64> = y.iter().map(|y| y / 2.0).collect();
        let moved: Vec<f64> = s.iter().map(|s| s + 1e3).collect();
        close(
            "half",
            &Problem::new(1, s, &half).run(CE).loss,
            &plain.loss,
            1e-12,
        );
        close(
            "moved",
            &Problem::new(1, &moved, y).run(CE).loss,
            &plain.loss,
            1e-10,
        );
        close("sum", &[plain.grad_logits.iter().sum()], &[0.0], 1e-12);
    }
}

#[test]
fn edges() {
    let run = |s: &[f64], y: &[f64]| Problem::new(1, s, y).run(CE);
    for y in [[0.0; 3], [-0.0; 3]] {
        let out = run(&[1.0, 2.0, 3.0], &y);
        assert_eq!((out.loss[0], &out.grad_logits[..]), (0.0, &[0.0; 3][..]));
        assert_eq!(out.grad_targets, [0.0; 3]);
    }
    // A masked logit without a target costs nothing; with one everything.
    let out = run(&[1.0, -INF], &[1.0, 0.0]);
    assert_eq!((out.loss[0], &out.grad_logits[..]), (0.0, &[0.0, 0.0][..]));
    let out = run(&[1.0, -INF], &[1.0, 1.0]);
    assert_eq!((out.loss[0], &out.grad_logits[..]), (INF, &[0.5, -0.5][..]));
    let out = run(&[INF, 1.0, INF], &[1.0, 0.0, 1.0]);
    close("shared", &out.loss, &[2.0_f64.ln()], 1e-15);
    assert_eq!(run(&[INF, 1.0], &[0.5, 0.5]).loss, [INF]);
    // Huge logits and confident rows keep their precision.
    close("huge", &run(&[1e4, -1e4], &[0.0, 1.0]).loss, &[2e4], 1e-15);
    let tiny = run(&[40.0, 0.0], &[1.0, 0.0]).loss[0];
    assert!((tiny - (-40.0_f64).exp()).abs() < 1e-30, "{tiny:e}");
}
