//! ZLPR and its kin.

use super::*;

#[test]
fn golden_zlpr() {
    // key, loss, targets, key of the gradient to the targets (of the excess: by differences, below)
    let table = [
        ("hard", HARD, "y", None),
        ("tlpr", HARD, "y", None),
        ("soft", SOFT, "t", Some("soft_dt")),
        ("lsep", LSEP, "y", None),
        ("kl_beta1", Loss::kl(1.0), "u", Some("kl_beta1_du")),
        ("kl_beta2", Loss::kl(2.0), "u", Some("kl_beta2_du")),
        ("excess", EXCESS, "u", None),
    ];
    let golden = golden();
    let rows = golden["zlpr"]["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    for row in rows {
        for (key, loss, targets, key_dt) in table {
            let mut problem = Problem::new(1, &numbers(&row["s"]), &numbers(&row[targets]));
            if key == "tlpr" {
                problem.share = Share::Everything;
                problem.threshold = numbers(&row["s0"]);
            }
            let out = problem.run(loss);
            close(key, &out.loss, &numbers(&row[key]), 1e-12);
            close(
                key,
                &out.grad_logits,
                &numbers(&row[format!("{key}_ds")]),
                1e-12,
            );
            if let Some(key) = key_dt {
                close(key, &out.grad_targets, &numbers(&row[key]), 1e-12);
            }
            if key == "tlpr" {
                close(key, &out.grad_threshold, &numbers(&row["tlpr_ds0"]), 1e-12);
            }
        }
    }
}

/// No positives, all positives, huge logits, a confident row.
#[test]
fn golden_zlpr_edges() {
    let golden = golden();
    let edges = golden["zlpr"]["edge"].as_array().unwrap();
    assert_eq!(edges.len(), 4);
    for edge in edges {
        let name = edge["name"].as_str().unwrap();
        let problem = Problem::new(1, &numbers(&edge["s"]), &numbers(&edge["y"]));
        for loss in [HARD, SOFT] {
            let out = problem.run(loss);
            close(name, &out.loss, &numbers(&edge["hard"]), 1e-12);
            close(name, &out.grad_logits, &numbers(&edge["ds"]), 1e-12);
            if name == "tiny" {
                relatively_close("tiny", &out.loss, &numbers(&edge["hard"]), 1e-12);
                relatively_close("tiny", &out.grad_logits, &numbers(&edge["ds"]), 1e-12);
                let out = problem.run_f32(loss);
                relatively_close("tiny f32", &out.loss, &numbers(&edge["hard"]), 1e-6);
                relatively_close("tiny f32", &out.grad_logits, &numbers(&edge["ds"]), 1e-6);
            }
        }
    }
}

/// TLPR is the loss of `s - s0`, and its gradient to `s0` is minus that to all that shares it.
#[test]
fn thresholds_shift_the_logits() {
    for loss in losses().into_iter().filter(Loss::uses_threshold) {
        for share in [Share::Everything, Share::Row, Share::Label] {
            let problem = Problem::full(&mut Rng(23), 3, 4, loss, share);
            let mut shifted = problem.clone();
            (shifted.share, shifted.threshold) = (Share::Nothing, vec![]);
            let out = problem.run(loss);
            let mut shared = vec![0.0; problem.threshold.len()];
            for i in 0..12 {
                let at = [0, 0, i / 4, i % 4][share as usize];
                shifted.logits[i] -= problem.threshold[at];
                shared[at] -= out.grad_logits[i];
            }
            let what = format!("{loss:?} {share:?}");
            same(&what, &out, &shifted.run(loss), 0.0);
            close(&what, &out.grad_threshold, &shared, 1e-14);
        }
    }
}

/// Infinite on the wrong side: the loss is infinite, the gradient its limit. (On the right one, and -inf everywhere: as if
/// masked.)
#[test]
fn infinite_and_wrong_shares_the_gradient() {
    let (s, y) = ([INF, INF, -1.0, -0.5, 1.0], [0.0, 0.0, 0.0, 1.0, 1.0]);
    let weights = [1.0, 3.0, 1.0, 1.0, 2.0];
    // the finite side: w e^-s over its sum, which has the 1 in hard and soft; in joint q = 1
    let (n3, n4) = (0.5f64.exp(), 2.0 * (-1f64).exp());
    let (with, without) = (1.0 + n3 + n4, n3 + n4);
    for (loss, total) in [
        (HARD, with),
        (SOFT, with),
        (LSEP, without),
        (Loss::joint(1.0, 4.0), without),
    ] {
        let want = [0.25, 0.75, 0.0, -n3 / total, -n4 / total];
        let out = Problem::new(1, &s, &y).weighted(&weights).run(loss);
        close(&format!("{loss:?}"), &out.loss, &[INF], 0.0);
        close(&format!("{loss:?}"), &out.grad_logits, &want, 1e-15);
    }
    // a target between: the label is on both sides, infinite on one
    let out = Problem::new(1, &[INF, 0.0], &[0.5, 0.0]).run(SOFT);
    close("soft", &out.loss, &[INF], 0.0);
    close("soft", &out.grad_logits, &[1.0, 0.0], 1e-15);
    // the KL forms do not support it: the row, and no other, is NaN
    for loss in [Loss::kl(1.0), EXCESS] {
        for infinite in [INF, -INF] {
            let problem = Problem::new(2, &[INF, 0.1, 0.2, 0.3], &[0.5, 0.4, 0.3, 0.2]);
            let mut swapped = Problem::new(2, &problem.targets, &problem.logits);
            swapped.targets[0] = infinite;
            for out in [problem.run(loss), swapped.run(loss)] {
                for gradient in [out.grad_logits, out.grad_targets] {
                    assert!(gradient[..2].iter().all(|g| g.is_nan()), "{loss:?}");
                    assert!(gradient[2..].iter().all(|g| g.is_finite()), "{loss:?}");
                }
            }
        }
    }
}

#[test]
fn hard_and_soft_are_convex() {
    for seed in 0..200 {
        for loss in [HARD, SOFT] {
            let rng = &mut Rng(seed);
            let targets = Problem::random(rng, 1, 6, loss).targets;
            let (from, to, x) = (rng.many(6, -9.0, 9.0), rng.many(6, -9.0, 9.0), rng.unit());
            let at = |x: f64| {
                let s: Vec<f64> = from.iter().zip(&to).map(|(a, b)| a + x * (b - a)).collect();
                Problem::new(1, &s, &targets).run(loss).loss[0]
            };
            let (curve, chord) = (at(x), (1.0 - x) * at(0.0) + x * at(1.0));
            assert!(
                curve <= chord + 1e-12,
                "seed {seed} {loss:?}: {curve} above {chord}"
            );
        }
    }
}

/// The forms with hard targets against unshifted sums, the bounds of the hard gradient and the sums
/// over its sides, and soft at targets of 0 and 1 against hard.
#[test]
fn hard_forms_are_brute_force_sums() {
    for seed in 0..200 {
        let what = format!("seed {seed}");
        let problem = Problem::random(&mut Rng(seed), 1, 7, HARD);
        let out = problem.run(HARD);
        let (mut p, mut n, mut p4, mut pairs) = (0.0, 0.0, 0.0, 0.0);
        let (mut p_gradient, mut n_gradient) = (0.0, 0.0);
        for i in 0..7 {
            let (s, ds) = (problem.logits[i], out.grad_logits[i]);
            assert!(ds.abs() < 1.0, "{what}: {ds}");
            if problem.targets[i] == 0.0 {
                (n, n_gradient) = (n + s.exp(), n_gradient + ds);
                continue;
            }
            (p, p4, p_gradient) = (p + (-s).exp(), p4 + (-s / 4.0).exp(), p_gradient + ds);
            for (other, y) in problem.logits.iter().zip(&problem.targets) {
                pairs += (1.0 - y) * (other - s).exp();
            }
        }
        let (pz, nz) = (p.ln_1p(), n.ln_1p());
        close(&what, &out.loss, &[pz + nz], 1e-14);
        let sums = [(-pz).exp() - 1.0, 1.0 - (-nz).exp()];
        close(&what, &[p_gradient, n_gradient], &sums, 1e-14);
        let soft = problem.run(SOFT);
        close("soft", &soft.loss, &out.loss, 1e-15);
        close("soft", &soft.grad_logits, &out.grad_logits, 1e-15);
        close("lsep", &problem.run(LSEP).loss, &[pairs.ln_1p()], 1e-14);
        close(
            "two-way",
            &problem.run(TWO_WAY).loss,
            &[(p4.powi(4) * n).ln_1p()],
            1e-14,
        );
    }
}

#[test]
fn excess_is_soft_less_its_minimum() {
    for seed in 0..100 {
        let what = format!("seed {seed}");
        let problem = Problem::random(&mut Rng(seed), 1, 6, EXCESS);
        let (s, u) = (&problem.logits[..], &problem.targets[..]);
        let out = problem.run(EXCESS);
        assert!(out.loss[0] >= 0.0, "{what}: {}", out.loss[0]);
        let t: Vec<f64> = u.iter().map(|u| 1.0 / (1.0 + (-2.0 * u).exp())).collect();
        let (soft, least) = (
            Problem::new(1, s, &t).run(SOFT),
            Problem::new(1, u, &t).run(SOFT),
        );
        close(
            "the minimum is where t = sigma(2s)",
            &least.grad_logits,
            &[0.0; 6],
            1e-14,
        );
        close(&what, &out.loss, &[soft.loss[0] - least.loss[0]], 1e-13);
        close(&what, &out.grad_logits, &soft.grad_logits, 1e-13);
        let zero = Problem::new(1, s, s).run(EXCESS);
        close(&what, &zero.loss, &[0.0], 1e-14);
        close(&what, &zero.grad_logits, &[0.0; 6], 1e-14);
        close(&what, &zero.grad_targets, &[0.0; 6], 1e-14);
    }
}

#[test]
fn symmetric_kl_is_both_divergences() {
    for seed in 0..100 {
        let what = format!("seed {seed}");
        let problem = Problem::random(&mut Rng(seed), 1, 6, EXCESS);
        let (s, u) = (&problem.logits[..], &problem.targets[..]);
        for beta in [0.5, 1.0, 2.0] {
            let loss = Loss::kl(beta);
            let (out, swapped) = (problem.run(loss), Problem::new(1, u, s).run(loss));
            close(&what, &swapped.loss, &out.loss, 1e-14);
            close(&what, &swapped.grad_logits, &out.grad_targets, 1e-14);
            close(&what, &swapped.grad_targets, &out.grad_logits, 1e-14);
            let sigma = |x: f64| 1.0 / (1.0 + (-f64::from(beta) * x).exp());
            let divergence = |a: f64, b: f64| {
                let (p, r) = (sigma(a), sigma(b));
                p * (p / r).ln() + (1.0 - p) * ((1.0 - p) / (1.0 - r)).ln()
            };
            let both = |(&s, &u): (&f64, &f64)| divergence(s, u) + divergence(u, s);
            close(&what, &out.loss, &[s.iter().zip(u).map(both).sum()], 1e-13);
            close(&what, &Problem::new(1, s, s).run(loss).loss, &[0.0], 0.0);
        }
    }
}

/// The two-way loss over classes and over both, from sums written out; gradients from differences.
#[test]
fn halves_of_the_two_way_loss() {
    println!("seed 53");
    let (t_pos, t_neg) = (4.0, 0.5);
    let by = |half, reduction| {
        let two_way = Zlpr::two_way(t_pos as f32, t_neg as f32);
        Loss(two_way.with_half(half).with_reduction(reduction).into())
    };
    let rng = &mut Rng(53);
    let mut problem = Problem::full(rng, 6, 5, by(Half::Class, Reduction::Sum), Share::Nothing);
    problem.sample_weight.as_mut().unwrap()[1] = 0.0;
    problem.logits[12] = f64::NEG_INFINITY;
    for row in 0..6 {
        problem.targets[row * 5 + 4] = 0.0;
    }
    let p = problem.clone();
    let (mask, class_mask) = (p.mask.unwrap(), p.class_mask.unwrap());
    let (of_sample, of_class) = (p.sample_weight.unwrap(), p.class_weight.unwrap());
    let weight = p.weight.unwrap();
    // A class's loss without its weight, where there is one; of several that have a positive, how many.
    let mut losses = Vec::new();
    let mut active = 0;
    for col in 0..5 {
        let (mut pos, mut neg) = (0.0, 0.0);
        for (row, of_sample) in of_sample.iter().enumerate() {
            let i = row * 5 + col;
            let s = p.logits[i];
            if mask[i] && class_mask[col] && *of_sample != 0.0 && s.is_finite() {
                let w = of_sample * weight[i];
                match p.targets[i] > 0.5 {
                    true => pos += w * (-s / t_pos).exp(),
                    false => neg += w * (s / t_neg).exp(),
                }
            }
        }
        active += usize::from(pos > 0.0);
        let x: f64 = t_pos * pos.ln() + t_neg * neg.ln();
        losses.push(if pos * neg > 0.0 {
            of_class[col] * x.exp().ln_1p()
        } else {
            0.0
        });
    }
    assert!(
        losses.iter().any(|l| *l > 0.0) && active > 0 && active < 5,
        "{active}"
    );
    let sum: f64 = losses.iter().sum();
    for (reduction, scale) in [
        (Reduction::Sum, 1.0),
        (Reduction::Mean, 0.2),
        (Reduction::MeanOver(4.0), 0.25),
        (Reduction::MeanActive, 1.0 / active as f64),
    ] {
        let what = format!("{reduction:?}");
        let classes = problem.run(by(Half::Class, reduction));
        close(&what, &classes.loss, &[scale * sum], 1e-12);
        if matches!(reduction, Reduction::MeanOver(_)) {
            assert!(by(Half::Both, reduction).0.check().is_err());
            continue;
        }
        let samples = problem.run(by(Half::Sample, reduction));
        let both = problem.run(by(Half::Both, reduction));
        close(
            &what,
            &both.loss,
            &[classes.loss[0] + samples.loss[0]],
            1e-12,
        );
    }
    let each = problem.run(by(Half::Class, Reduction::None));
    close("each", &each.loss, &losses, 1e-12);
    assert!(by(Half::Both, Reduction::None).0.check().is_err());

    problem.logits[12] = 0.25;
    for (half, reduction, upstream) in [
        (Half::Class, Reduction::None, rng.many(5, -2.0, 2.0)),
        (Half::Class, Reduction::MeanActive, vec![-1.5]),
        (Half::Both, Reduction::MeanActive, vec![0.75]),
        (Half::Both, Reduction::Sum, vec![-0.5]),
    ] {
        problem.grad_loss = Some(upstream);
        let loss = by(half, reduction);
        let slopes = problem.slopes(loss, |p| &mut p.logits);
        close(
            &format!("{loss:?}"),
            &problem.run(loss).grad_logits,
            &slopes,
            1e-8,
        );
    }
    // A threshold is no part of them.
    problem.grad_loss = None;
    (problem.share, problem.threshold) = (Share::Everything, vec![0.5]);
    let refused = by(Half::Both, Reduction::Sum)
        .run(&problem.inputs())
        .unwrap_err();
    assert_eq!(refused.to_string(), "threshold: this loss takes none");
}
