//! Losses as parts of graphs: views, several losses, upstream gradients, training.

use crate::common::{Numbers, bools, close, devices, floats, gradient, ints, read};
use burn::tensor::{Bool, Device, Int, Tensor};
use wgloss::Reduction;
use wgloss_burn::{
    BceLossConfig, ContrastiveLossConfig, RowExtras, RowLoss, ZlprForm, ZlprLossConfig,
};

fn zlpr(device: &Device) -> RowLoss {
    ZlprLossConfig::new().init(device)
}

/// What each way makes of the same: the first is what the others are compared with.
fn alike(what: &str, tolerance: f64, run: impl Fn(&Device) -> Vec<Vec<f64>>) {
    let made: Vec<_> = devices()
        .into_iter()
        .map(|(way, device)| (way, run(&device)))
        .collect();
    let (_, expected) = &made[0];
    assert!(
        expected.iter().flatten().any(|v| *v != 0.0),
        "{what}: something is not 0"
    );
    for (way, found) in &made[1..] {
        for (k, (found, expected)) in found.iter().zip(expected).enumerate() {
            close(&format!("{way}: {what}, {k}"), found, expected, tolerance);
        }
    }
}

/// A tensor that is not what lies in memory: turned, a part of a larger one, every second row, one row again and again.
fn views(base: &Tensor<2>) -> Vec<(&'static str, Tensor<2>)> {
    vec![
        ("itself", base.clone()),
        ("turned", base.clone().transpose()),
        ("rows of a larger one", base.clone().slice([3..19, 0..24])),
        (
            "columns of a larger one",
            base.clone().slice([0..24, 8..16]),
        ),
        ("at odd places", base.clone().slice([1..20, 3..20])),
        (
            "one row again and again",
            base.clone().slice([2..3, 0..24]).expand([24, 24]),
        ),
    ]
}

#[test]
fn views_have_the_gradients_of_what_they_show() {
    let mut numbers = Numbers(31);
    let values = numbers.reals(24 * 24, -3.0, 3.0);
    let flags = numbers.flags(24 * 24, 0.3);
    for k in 0..6 {
        alike(&format!("view {k}"), 1e-4, |device| {
            let base = floats(&values, [24, 24], device).require_grad();
            let targets = bools(&flags, [24, 24], device);
            let (_, logits) = views(&base).swap_remove(k);
            let [rows, cols] = logits.dims();
            let value = zlpr(device).forward(logits, targets.slice([0..rows, 0..cols]));
            let grads = value.clone().backward();
            vec![read(&value), gradient(&base, &grads)]
        });
    }
    // Targets and weights that are views.
    alike("targets turned", 1e-4, |device| {
        let logits = floats(&values, [24, 24], device).require_grad();
        let targets = bools(&flags, [24, 24], device).transpose();
        let extras = RowExtras {
            weight: Some(floats(&values, [24, 24], device).abs().transpose()),
            sample_weight: Some(
                floats(&values, [24, 24], device)
                    .abs()
                    .slice([0..24, 5..6])
                    .reshape([24]),
            ),
            ..RowExtras::default()
        };
        let value = zlpr(device).forward_with(logits.clone(), targets, &extras);
        let grads = value.clone().backward();
        vec![read(&value), gradient(&logits, &grads)]
    });
}

#[test]
fn two_losses_in_one_graph() {
    let mut numbers = Numbers(32);
    let (values, flags) = (numbers.reals(7 * 33, -3.0, 3.0), numbers.flags(7 * 33, 0.3));
    alike("two losses", 1e-4, |device| {
        let logits = floats(&values, [7, 33], device).require_grad();
        let targets: Tensor<2, Bool> = bools(&flags, [7, 33], device);
        let first = zlpr(device).forward(logits.clone() * 2.0, targets.clone());
        let second = BceLossConfig::new()
            .init(device)
            .forward(logits.clone(), targets.int());
        let value = first * 0.3 + second * 0.7;
        let grads = value.clone().backward();
        vec![read(&value), gradient(&logits, &grads)]
    });
}

#[test]
fn a_loss_that_is_not_last() {
    let mut numbers = Numbers(33);
    let (values, flags) = (numbers.reals(9 * 20, -3.0, 3.0), numbers.flags(9 * 20, 0.3));
    let weights = numbers.reals(9, -1.0, 2.0);
    for form in [ZlprForm::Hard, ZlprForm::Soft] {
        alike("a square", 1e-4, |device| {
            let logits = floats(&values, [9, 20], device).require_grad();
            let loss = ZlprLossConfig::new().with_form(form).init(device);
            let value = loss.forward(logits.clone(), bools(&flags, [9, 20], device));
            let square = value.clone() * value;
            let grads = square.clone().backward();
            vec![read(&square), gradient(&logits, &grads)]
        });
        alike("each row weighed", 1e-4, |device| {
            let logits = floats(&values, [9, 20], device).require_grad();
            let loss = ZlprLossConfig::new()
                .with_form(form)
                .with_threshold(Some(20))
                .init(device);
            let each = loss.forward_no_reduction(logits.clone(), bools(&flags, [9, 20], device));
            let value = (each.clone() * each * floats(&weights, [9], device)).sum();
            let grads = value.clone().backward();
            let threshold = loss
                .threshold
                .as_ref()
                .map_or(Vec::new(), |t| gradient(&t.val(), &grads));
            vec![read(&value), gradient(&logits, &grads), threshold]
        });
    }
}

/// The gradients of a second step are those of the second step alone.
#[test]
fn a_second_backward() {
    let mut numbers = Numbers(34);
    let (values, flags) = (numbers.reals(6 * 10, -3.0, 3.0), numbers.flags(6 * 10, 0.3));
    alike("two steps", 1e-4, |device| {
        let logits = floats(&values, [6, 10], device).require_grad();
        let targets: Tensor<2, Bool> = bools(&flags, [6, 10], device);
        let step = || {
            let value = zlpr(device).forward(logits.clone(), targets.clone());
            let grads = value.backward();
            gradient(&logits, &grads)
        };
        let (first, second) = (step(), step());
        assert_eq!(first, second);
        vec![first, second]
    });
}

/// Without a graph, with a part of it, with targets that are cut off from it.
#[test]
fn what_needs_no_gradient_has_none() {
    let mut numbers = Numbers(35);
    let (values, soft) = (
        numbers.reals(6 * 10, -3.0, 3.0),
        numbers.reals(6 * 10, 0.0, 1.0),
    );
    alike("no gradient", 1e-4, |device| {
        let loss = ZlprLossConfig::new().with_form(ZlprForm::Soft).init(device);
        let logits = floats(&values, [6, 10], device);
        let targets = floats(&soft, [6, 10], device).require_grad();
        let plain = device.clone().inner();
        let outside = loss.clone().forward(
            floats(&values, [6, 10], &plain),
            floats(&soft, [6, 10], &plain),
        );
        let inside = loss.forward(logits.clone(), floats(&soft, [6, 10], device));
        let to_targets = loss.forward(logits.clone(), targets.clone());
        let grads = to_targets.clone().backward();
        assert!(logits.grad(&grads).is_none());
        let leaf = logits.clone().require_grad();
        let detached = loss.forward(leaf.clone(), targets.clone().detach());
        let after = detached.clone().backward();
        assert!(targets.grad(&after).is_none());
        vec![
            read(&outside),
            read(&inside),
            gradient(&targets, &grads),
            gradient(&leaf, &after),
        ]
    });
}

#[test]
fn an_empty_batch_is_zero() {
    for (way, device) in devices() {
        for reduction in [Reduction::Mean, Reduction::Sum, Reduction::None] {
            let loss = ZlprLossConfig::new()
                .with_reduction(reduction)
                .init(&device);
            let logits = Tensor::<2>::zeros([0, 7], &device).require_grad();
            let value = loss.forward(logits.clone(), Tensor::<2, Int>::zeros([0, 7], &device));
            let expected: &[f64] = if reduction == Reduction::None {
                &[]
            } else {
                &[0.0]
            };
            assert_eq!(read(&value), expected, "{way}");
        }
        let loss = ContrastiveLossConfig::new().init(&device);
        let value = loss.forward(
            Tensor::zeros([0, 4], &device),
            Tensor::<2, Int>::zeros([0, 3], &device),
        );
        assert_eq!(read(&value), [0.0], "{way}");
    }
}

#[test]
fn ten_steps_stay_together() {
    let mut numbers = Numbers(36);
    let (x, w) = (
        numbers.reals(32 * 12, -1.0, 1.0),
        numbers.reals(12 * 14, -0.3, 0.3),
    );
    let flags = numbers.flags(32 * 14, 0.3);
    alike("ten steps of zlpr", 1e-4, |device| {
        let x = floats(&x, [32, 12], device);
        let mut w = floats(&w, [12, 14], device).require_grad();
        let targets: Tensor<2, Int> = bools(&flags, [32, 14], device).int();
        let loss = ZlprLossConfig::new().with_threshold(Some(1)).init(device);
        for _ in 0..10 {
            let value = loss.forward(x.clone().matmul(w.clone()), targets.clone());
            let grads = value.backward();
            let step = w.grad(&grads).expect("a gradient to the weights");
            w = Tensor::from_inner(w.inner() - step * 0.5).require_grad();
        }
        vec![read(&w)]
    });
    alike("ten steps of Sim-Dis", 1e-3, |device| {
        let x = floats(&x, [32, 12], device);
        let mut w = floats(&w, [12, 14], device).require_grad();
        let labels = ints(
            &flags.iter().map(|f| i32::from(*f)).collect::<Vec<_>>(),
            [32, 14],
            device,
        );
        let loss = ContrastiveLossConfig::new()
            .with_temperature(0.5)
            .init(device);
        for _ in 0..10 {
            let value = loss.forward(x.clone().matmul(w.clone()), labels.clone());
            let grads = value.backward();
            let step = w.grad(&grads).expect("a gradient to the weights");
            w = Tensor::from_inner(w.inner() - step * 0.2).require_grad();
        }
        vec![read(&w)]
    });
}

/// A shape that does not fit is said at once, by name, and nothing is lost by it.
#[test]
fn wrong_shapes_are_refused_before_anything_runs() {
    for (way, device) in devices() {
        let loss = zlpr(&device);
        let logits = || Tensor::<2>::ones([4, 5], &device);
        let flags = |rows, cols| Tensor::<2, Int>::zeros([rows, cols], &device);
        let error = loss
            .try_forward(logits(), flags(4, 6), &RowExtras::default())
            .expect_err(way);
        assert_eq!(error.subject(), "targets");
        let extras = RowExtras {
            sample_weight: Some(Tensor::ones([5], &device)),
            ..RowExtras::default()
        };
        let error = loss
            .try_forward(logits(), flags(4, 5), &extras)
            .expect_err(way);
        assert_eq!(error.subject(), "sample_weight");
        assert_eq!(error.to_string(), "sample_weight: expected [4], found [5]");
        let value = loss.forward(logits(), flags(4, 5));
        assert!(read(&value)[0] > 0.0, "{way}: later calls work");
    }
}

/// What a module shows of itself.
#[test]
fn a_module_says_what_it_is() {
    let device = Device::flex();
    let shown = format!(
        "{}",
        ZlprLossConfig::new().with_threshold(Some(3)).init(&device)
    );
    assert!(
        shown.contains("Zlpr") && shown.contains("threshold"),
        "{shown}"
    );
    let shown = format!(
        "{}",
        ContrastiveLossConfig::new()
            .with_learn_temperature(true)
            .init(&device)
    );
    assert!(
        shown.contains("SimDis") && shown.contains("learn_temperature: true"),
        "{shown}"
    );
    // A configuration is text, and comes back from it.
    use burn::config::Config;
    let config = ContrastiveLossConfig::of(wgloss::Contrastive::jaccard());
    let text = config.to_string();
    let again = ContrastiveLossConfig::load_binary(text.as_bytes()).expect("its own text");
    assert_eq!(
        again.init(&device).settings(),
        wgloss::Contrastive::jaccard()
    );
}
