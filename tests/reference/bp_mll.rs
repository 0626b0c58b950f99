//! BP-MLL.

use super::*;
use wgloss::BpMll;

const BP: Loss = Loss(AnyLoss::BpMll(BpMll {
    reduction: Reduction::Sum,
}));

#[test]
fn golden_values() {
    let golden = &golden()["bp_mll"];
    let (s, y) = (numbers(&golden["s"]), numbers(&golden["y"]));
    let out = Problem::new(1, &s, &y).run(BP);
    close("loss", &out.loss, &[0.391_007_159_292_469], 1e-14);
    close("loss", &out.loss, &numbers(&golden["loss"]), 1e-14);
    close("ds", &out.grad_logits, &numbers(&golden["ds"]), 1e-14);
}

/// Pair by pair, as the paper writes it.
#[test]
fn textbook_formula() {
    for seed in 0..50 {
        let problem = Problem::random(&mut Rng(seed), 1, 8, BP);
        let (s, y) = (&problem.logits, &problem.targets);
        let (mut loss, mut pairs, mut ds) = (0.0, 0.0, [0.0; 8]);
        for p in (0..8).filter(|p| y[*p] > 0.5) {
            for n in (0..8).filter(|n| y[*n] <= 0.5) {
                let cost = (s[n] - s[p]).exp();
                loss += cost;
                pairs += 1.0;
                ds[n] += cost;
                ds[p] -= cost;
            }
        }
        let pairs = f64::max(pairs, 1.0);
        let out = Problem::new(1, s, y).run(BP);
        close("loss", &out.loss, &[loss / pairs], 1e-12);
        close("ds", &out.grad_logits, &ds.map(|d| d / pairs), 1e-12);
    }
}

#[test]
fn edges() {
    let run = |s: &[f64], y: &[f64]| Problem::new(1, s, y).run(BP);
    for y in [[0.0; 2], [1.0; 2]] {
        let out = run(&[3.0, -5.0], &y);
        assert_eq!((out.loss[0], &out.grad_logits[..]), (0.0, &[0.0, 0.0][..]));
    }
    let out = run(&[-400.0, 400.0], &[1.0, 0.0]);
    assert_eq!((out.loss[0], &out.grad_logits[..]), (INF, &[-INF, INF][..]));
    // What lies infinitely far on the right side costs nothing, and is a pair all the same.
    let out = run(&[0.0, -INF, 0.0], &[1.0, 0.0, 0.0]);
    assert_eq!(
        (out.loss[0], &out.grad_logits[..]),
        (0.5, &[-0.5, 0.0, 0.5][..])
    );
    assert_eq!(run(&[-INF, 0.0], &[1.0, 0.0]).loss, [INF]);
    assert_eq!(run(&[INF, 0.0], &[1.0, 0.0]).loss, [0.0]);
}
