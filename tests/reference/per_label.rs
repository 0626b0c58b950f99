//! BCE, focal, ASL, Hill and dice.

use super::*;

#[test]
fn golden_values() {
    let golden = &golden()["baselines"];
    let (s, y) = (numbers(&golden["s"]), numbers(&golden["y"]));
    let row = Problem::new(1, &s, &y);
    // the margin 0.05 is 7e-10 larger in f32, which the settings have
    for (key, loss, sum, tol) in [
        ("bce", BCE, 2.156_001_214_875, 1e-12),
        ("focal", FOCAL, 0.343_906_795_763, 1e-12),
        ("asl", ASL, 0.453_524_581_692, 2e-9),
    ] {
        let terms = numbers(&golden[key]["per_label"]);
        let out = row.run(loss);
        close(key, &out.loss, &[terms.iter().sum()], tol);
        close(key, &out.loss, &[sum], tol);
        let ds = numbers(&golden[key]["ds_of_sum"]);
        close(key, &out.grad_logits, &ds, tol);
        let each = Problem::new(5, &s, &y).run(loss.by(Reduction::None));
        close(key, &each.loss, &terms, tol);
    }
    for (key, loss, sum) in [
        ("dice_lin", DICE, 0.292_883_413_291),
        ("dice_sq", SQUARED_DICE, 0.161_824_844_709),
    ] {
        let out = row.run(loss);
        close(key, &out.loss, &numbers(&golden[key]["loss"]), 1e-12);
        close(key, &out.loss, &[sum], 1e-12);
        close(key, &out.grad_logits, &numbers(&golden[key]["ds"]), 1e-12);
    }
}

/// The formulas as the papers write them, label by label; a soft label is a mixture.
#[test]
fn textbook_formulas() {
    let p = |s: f64| 1.0 / (1.0 + (-s).exp());
    type Side<'a> = &'a dyn Fn(f64) -> f64;
    let asl = |s| {
        let pm = (p(s) - f64::from(0.05f32)).max(0.0);
        -pm.powi(4) * (1.0 - pm).ln()
    };
    let splc = |threshold: f32| {
        Loss(AnyLoss::Splc(Splc {
            threshold,
            reduction: Reduction::Sum,
            ..Splc::default()
        }))
    };
    let missed = |s: f64| match p(s) > f64::from(0.6f32) {
        true => -(1.0 - p(s)).powi(2) * p(s).ln(),
        false => -p(s).powi(2) * (1.0 - p(s)).ln(),
    };
    let table: [(Loss, Side, Side); 6] = [
        (Loss::bce(2.5, 0.0, false), &|s| -2.5 * p(s).ln(), &|s| {
            -(1.0 - p(s)).ln()
        }),
        (FOCAL, &|s| -0.25 * (1.0 - p(s)).powi(2) * p(s).ln(), &|s| {
            -0.75 * p(s).powi(2) * (1.0 - p(s)).ln()
        }),
        (ASL, &|s| -(1.0 - p(s)) * p(s).ln(), &asl),
        (
            HILL,
            &|s| -(1.0 - p(s - 1.0)).powi(2) * p(s - 1.0).ln(),
            &|s| (1.5 - p(s)) * p(s).powi(2),
        ),
        (
            splc(0.6),
            &|s| -(1.0 - p(s - 1.0)).powi(2) * p(s - 1.0).ln(),
            &missed,
        ),
        (
            splc(1.0),
            &|s| -(1.0 - p(s - 1.0)).powi(2) * p(s - 1.0).ln(),
            &|s| -p(s).powi(2) * (1.0 - p(s)).ln(),
        ),
    ];
    for (loss, positive, negative) in table {
        let mut s = -6.0;
        while s < 6.0 {
            for y in [0.0, 0.3, 1.0] {
                let out = Problem::new(1, &[s], &[y]).run(loss);
                let what = format!("{loss:?}, s {s}, y {y}");
                let (of, not) = (positive(s), negative(s));
                close(&what, &out.loss, &[y * of + (1.0 - y) * not], 1e-13);
                close(&what, &out.grad_targets, &[of - not], 1e-13);
            }
            s += 0.37;
        }
    }
}

/// Each is another one at special settings.
#[test]
fn families_meet() {
    let scaled = |of: &RowOutputs<f64>, by: f64| RowOutputs {
        loss: of.loss.iter().map(|v| by * v).collect(),
        grad_logits: of.grad_logits.iter().map(|v| by * v).collect(),
        grad_targets: of.grad_targets.iter().map(|v| by * v).collect(),
        grad_threshold: vec![],
        ..RowOutputs::default()
    };
    for seed in 0..50 {
        let problem = Problem::random(&mut Rng(seed), 2, 7, BCE);
        for (a, b, factor) in [
            (Loss::focal(0.0, 0.5, 0.0, false), BCE, 0.5),
            (Loss::asl([0.0, 0.0, 0.0], 0.0, false), BCE, 1.0),
            (
                Loss::asl([3.0, 3.0, 0.0], 0.0, false),
                Loss::focal(3.0, 0.5, 0.0, false),
                2.0,
            ),
        ] {
            let what = format!("seed {seed}, {a:?}");
            same(
                &what,
                &problem.run(a),
                &scaled(&problem.run(b), factor),
                1e-14,
            );
        }
        // dice of p = y is 0 with squares, and a minimum
        let p: Vec<f64> = problem
            .logits
            .iter()
            .map(|s| 1.0 / (1.0 + (-s).exp()))
            .collect();
        let out = Problem::new(2, &problem.logits, &p).run(SQUARED_DICE);
        let zero = [0.0; 14];
        close("squared dice at p = y", &out.loss, &[0.0], 1e-15);
        close("squared dice at p = y", &out.grad_logits, &zero, 1e-15);
        close("squared dice at p = y", &out.grad_targets, &zero, 1e-15);
    }
}

/// Loss and derivative where the logit is infinite, and far out, where they are nearly that.
#[test]
fn limits() {
    let no_margin = Loss::asl([1.0, 4.0, 0.0], 0.0, false);
    let margin = f64::from(0.05f32);
    let asl = -(1.0 - margin).powi(4) * margin.ln();
    // loss, target, (loss, derivative) at -inf, at +inf
    let table = [
        (BCE, 1.0, (INF, -1.0), (0.0, 0.0)),
        (BCE, 0.25, (INF, -0.25), (INF, 0.75)),
        (BCE, 0.0, (0.0, 0.0), (INF, 1.0)),
        (FOCAL, 1.0, (INF, -0.25), (0.0, 0.0)),
        (FOCAL, 0.0, (0.0, 0.0), (INF, 0.75)),
        (
            Loss::focal(0.0, 0.25, 0.0, false),
            1.0,
            (INF, -0.25),
            (0.0, 0.0),
        ),
        (
            Loss::focal(2.0, 0.0, 0.0, false),
            1.0,
            (0.0, 0.0),
            (0.0, 0.0),
        ),
        (ASL, 1.0, (INF, -1.0), (0.0, 0.0)),
        (ASL, 0.0, (0.0, 0.0), (asl, 0.0)),
        (no_margin, 0.0, (0.0, 0.0), (INF, 1.0)),
        (
            Loss::asl([1.0, 0.0, 0.0], 0.0, false),
            0.0,
            (0.0, 0.0),
            (INF, 1.0),
        ),
        (
            Loss::asl([1.0, 4.0, 1.0], 0.0, false),
            0.0,
            (0.0, 0.0),
            (0.0, 0.0),
        ),
        (HILL, 1.0, (INF, -1.0), (0.0, 0.0)),
        (HILL, 0.0, (0.0, 0.0), (0.5, 0.0)),
        (DICE, 1.0, (0.5, 0.0), (0.0, 0.0)),
        (DICE, 0.0, (0.0, 0.0), (0.5, 0.0)),
    ];
    for (loss, y, low, high) in table {
        for (s, (value, slope)) in [
            (-INF, low),
            (-1e4, low),
            (-80.0, low),
            (80.0, high),
            (1e4, high),
            (INF, high),
        ] {
            let what = format!("{loss:?}, y {y}, s {s}");
            let problem = Problem::new(1, &[s], &[y]);
            for out in [problem.run(loss), problem.run_f32(loss)] {
                close(&what, &out.grad_logits, &[slope], 1e-6);
                let far = value.is_infinite() && s.is_finite();
                // linear far out: the slope, and a constant
                let want = if far { slope * s } else { value };
                let tol = if far { 0.05 } else { 1e-6 };
                close(&what, &out.loss, &[want], tol);
            }
        }
    }
}

/// Tiny losses come with full relative precision, where `1 - p` would have rounded to 0 or 1.
#[test]
fn confident_labels_keep_relative_precision() {
    let e = |x: f64| x.exp();
    let table = [
        (FOCAL, 40.0, 1.0, 0.25 * e(-120.0)),
        (FOCAL, -40.0, 0.0, 0.75 * e(-120.0)),
        (ASL, 40.0, 1.0, e(-80.0)),
        (
            Loss::asl([1.0, 4.0, 0.0], 0.0, false),
            -40.0,
            0.0,
            e(-200.0),
        ),
        (HILL, 41.0, 1.0, e(-120.0)),
        (HILL, -40.0, 0.0, 1.5 * e(-80.0)),
    ];
    for (loss, s, y, want) in table {
        let out = Problem::new(1, &[s], &[y]).run(loss);
        relatively_close(&format!("{loss:?}"), &out.loss, &[want], 1e-13);
    }
}

#[test]
fn settings_are_checked() {
    let focal = |gamma, alpha| Focal {
        gamma,
        alpha: Some(alpha),
        ..Focal::default()
    };
    let asl = |gamma_pos, margin| Asl {
        gamma_pos,
        margin,
        ..Asl::default()
    };
    let hill = |lambda, margin| Hill {
        lambda,
        margin,
        ..Hill::default()
    };
    let splc = |margin, threshold| Splc {
        margin,
        threshold,
        ..Splc::default()
    };
    let dice = |smooth| Dice {
        smooth,
        ..Dice::default()
    };
    let over = Focal::default().with_reduction(Reduction::MeanOver(0.0));
    let table = [
        (focal(2.0, 1.0).check(), ""),
        (focal(-1.0, 0.5).check(), "gamma"),
        (focal(f32::NAN, 0.5).check(), "gamma"),
        (focal(2.0, 1.5).check(), "alpha"),
        (over.check(), "reduction"),
        (splc(0.0, 1.0).check(), ""),
        (splc(-1.0, 0.5).check(), "margin"),
        (splc(1.0, 1.5).check(), "threshold"),
        (asl(0.0, 1.0).check(), ""),
        (asl(f32::INFINITY, 0.0).check(), "gamma_pos"),
        (asl(0.0, -0.1).check(), "margin"),
        (hill(1.0, 0.0).check(), ""),
        (hill(0.9, 0.0).check(), "lambda"),
        (hill(1.5, -1.0).check(), "margin"),
        (dice(1.0).check(), ""),
        (dice(0.0).check(), "smooth"),
    ];
    for (result, subject) in table {
        let found = result.as_ref().map_or_else(Error::subject, |()| "");
        assert_eq!(found, subject, "{result:?}");
    }
}

/// With the focus held constant the loss is the same, and the powers have no derivative.
#[test]
fn detached_focus_is_a_constant_of_the_gradient() {
    let p = |s: f64| 1.0 / (1.0 + (-s).exp());
    let margin = f64::from(0.05f32);
    let (focal, asl) = (Focal::default(), Asl::default());
    type Slopes<'a> = [&'a dyn Fn(f64) -> f64; 2];
    let table: [(AnyLoss, AnyLoss, Slopes); 3] = [
        (
            focal.into(),
            focal.with_detached_focus().into(),
            [&|s| -0.25 * (1.0 - p(s)).powi(3), &|s| 0.75 * p(s).powi(3)],
        ),
        (
            focal.without_alpha().into(),
            focal.without_alpha().with_detached_focus().into(),
            [&|s| -(1.0 - p(s)).powi(3), &|s| p(s).powi(3)],
        ),
        (
            asl.into(),
            asl.with_detached_focus().into(),
            [&|s| -(1.0 - p(s)).powi(2), &|s| {
                let pm = (p(s) - margin).max(0.0);
                pm.powi(4) * p(s) * (1.0 - p(s)) / (1.0 - pm)
            }],
        ),
    ];
    for (full, detached, [positive, negative]) in table {
        let what = format!("{detached:?}");
        let logits: Vec<f64> = (-12..13).map(|i| f64::from(i) / 2.0).collect();
        for (y, slope) in [(1.0, positive), (0.0, negative)] {
            let row = Problem::new(1, &logits, &vec![y; logits.len()]);
            let full = row.run(Loss(full).by(Reduction::Sum));
            let found = row.run(Loss(detached).by(Reduction::Sum));
            assert_eq!(full.loss, found.loss, "{what}");
            assert_eq!(full.grad_targets, found.grad_targets, "{what}");
            assert_ne!(full.grad_logits, found.grad_logits, "{what}");
            let want: Vec<f64> = logits.iter().map(|s| slope(*s)).collect();
            close(&what, &found.grad_logits, &want, 1e-14);
        }
    }
}
