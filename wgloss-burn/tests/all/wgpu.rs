//! What happens on the device: places, memory, submissions, element types.

use crate::common::{Gpu, Numbers, bools, close, floats, gpu, gradient, ints, read};
use burn::tensor::{Device, DeviceKind, FloatDType, Int, Tensor};
use std::process::Command;
use std::sync::Mutex;
use wgloss_burn::{ContrastiveLossConfig, RowExtras, ZlprLossConfig};

/// How many submissions the queue has had: the number that wgpu shows of one that is empty, which counts too.
fn submissions(gpu: &Gpu) -> u64 {
    let shown = format!("{:?}", gpu.setup.queue.submit([]));
    let digits: String = shown.chars().filter(char::is_ascii_digit).collect();
    digits
        .parse()
        .expect("a number in what wgpu shows of a submission")
}

/// Waits until all is done, so that no work of burn's is pending.
fn finish(device: &Device) {
    device.sync().expect("a device that works");
}

/// A loss with its gradient is one submission of ours beside what burn submits for its own work, and allocates the loss and the
/// gradient alone.
#[test]
fn one_submission_and_no_copy() {
    // In a process of its own: other tests submit too.
    const CHILD: &str = "WGLOSS_BURN_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        return count_submissions();
    }
    let itself = std::env::current_exe().expect("a test has a file");
    let child = Command::new(itself)
        .args(["wgpu::one_submission_and_no_copy", "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("a test can start another");
    let said = String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{said}");
}

fn count_submissions() {
    let Some(gpu) = gpu() else { return };
    let device = gpu.device.clone().autodiff();
    let (rows, cols) = (256, 1000);
    let mut numbers = Numbers(40);
    let values = numbers.reals(rows * cols, -3.0, 3.0);
    let flags = numbers.flags(rows * cols, 0.1);
    let loss = ZlprLossConfig::new().init(&device);
    for kind in ["flags", "whole numbers"] {
        let logits = floats(&values, [rows, cols], &device).require_grad();
        let targets = bools(&flags, [rows, cols], &device);
        let numbers = targets.clone().int();
        let forward = || match kind {
            "flags" => loss.forward(logits.clone(), targets.clone()),
            _ => loss.forward(logits.clone(), numbers.clone()),
        };
        // The first call compiles and makes what is kept.
        let first = forward();
        let _ = read(&first);
        drop(first);
        finish(&gpu.device);
        let memory = in_use(gpu);
        // What waiting and counting submit by themselves.
        let begun = submissions(gpu);
        finish(&gpu.device);
        let before = submissions(gpu);
        let idle = before - begun;
        let value = forward();
        // Under fusion the call waits in burn's stream until something asks for what is in it.
        finish(&gpu.device);
        let (after, grown) = (submissions(gpu), in_use(gpu) - memory);
        println!("{kind}: idle {idle}, with a loss {}", after - before);
        assert_eq!(
            after - before,
            idle + 1,
            "{kind}: submissions for a loss with its gradient"
        );
        let expected = (rows * cols * 4 + 4) as u64;
        assert!(
            grown >= expected && grown < expected + 4096,
            "{kind}: {grown} bytes for a loss and a gradient of {expected}"
        );
        drop(value);
    }
}

/// Bytes that burn has given out.
fn in_use(gpu: &Gpu) -> u64 {
    finish(&gpu.device);
    gpu.device
        .memory_pool_usage()
        .expect("a device that counts")
        .bytes_in_use
}

/// 16-bit logits and embeddings have gradients of their own type.
#[test]
fn half_precision_gradients_have_their_type() {
    let Some(gpu) = gpu() else { return };
    let device = gpu.device.clone().autodiff();
    let mut numbers = Numbers(41);
    let values = numbers.reals(8 * 30, -3.0, 3.0);
    let flags = numbers.flags(8 * 30, 0.2);
    let single = floats(&values, [8, 30], &device).require_grad();
    let half = single.clone().cast(FloatDType::F16);
    let targets = bools(&flags, [8, 30], &device);
    let loss = ZlprLossConfig::new().init(&device);
    let rounded =
        Tensor::<2>::from_inner(half.clone().inner().cast(FloatDType::F32)).require_grad();
    let expected = loss.forward(rounded.clone(), targets.clone());
    let expected_grads = expected.clone().backward();
    let value = loss.forward(half, targets);
    let grads = value.clone().backward();
    close("loss", &read(&value), &read(&expected), 1e-5);
    close(
        "gradient",
        &gradient(&single, &grads),
        &gradient(&rounded, &expected_grads),
        2e-3,
    );

    let labels = ints(
        &flags[..32]
            .iter()
            .map(|f| i32::from(*f))
            .collect::<Vec<_>>(),
        [8, 4],
        &device,
    );
    let loss = ContrastiveLossConfig::new()
        .with_temperature(0.5)
        .init(&device);
    let half = single.clone().cast(FloatDType::F16);
    let value = loss.forward(half, labels.clone());
    let grads = value.backward();
    assert!(gradient(&single, &grads).iter().any(|g| *g != 0.0));
}

/// Many steps on several threads, with nothing read before the end, are in order with burn's own work.
#[test]
fn threads_do_not_disturb_one_another() {
    let Some(gpu) = gpu() else { return };
    let mut numbers = Numbers(42);
    let (x, w) = (
        numbers.reals(16 * 8, -1.0, 1.0),
        numbers.reals(8 * 12, -0.5, 0.5),
    );
    let flags = numbers.flags(16 * 12, 0.3);
    let train = |device: &Device| {
        let x = floats(&x, [16, 8], device);
        let targets: Tensor<2, Int> = bools(&flags, [16, 12], device).int();
        let mut w = floats(&w, [8, 12], device).require_grad();
        let loss = ZlprLossConfig::new().init(device);
        for _ in 0..50 {
            let grads = loss
                .forward(x.clone().matmul(w.clone()), targets.clone())
                .backward();
            let step = w.grad(&grads).expect("a gradient to the weights");
            w = Tensor::from_inner(w.inner() - step * 0.1).require_grad();
        }
        read(&w)
    };
    let expected = train(&Device::flex().autodiff());
    let device = gpu.device.clone().autodiff();
    let found: Vec<Vec<f64>> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..3).map(|_| scope.spawn(|| train(&device))).collect();
        all.into_iter()
            .map(|one| one.join().expect("a thread that ends well"))
            .collect()
    });
    for found in found {
        close("weights", &found, &expected, 1e-4);
    }
}

/// Whatever is refused, later calls work: the device is not poisoned.
#[test]
fn a_refused_call_leaves_the_device_as_it_was() {
    let Some(gpu) = gpu() else { return };
    let loss = ZlprLossConfig::new().init(&gpu.device);
    let logits = Tensor::<2>::ones([2, 3], &gpu.device);
    let extras = RowExtras {
        class_weight: Some(Tensor::ones([4], &gpu.device)),
        ..RowExtras::default()
    };
    let refused = loss.try_forward(
        logits.clone(),
        Tensor::<2, Int>::ones([2, 3], &gpu.device),
        &extras,
    );
    assert_eq!(
        refused.expect_err("a wrong length").subject(),
        "class_weight"
    );
    let value = loss.forward(logits, Tensor::<2, Int>::ones([2, 3], &gpu.device));
    close(
        "loss",
        &read(&value),
        &[(1.0 + 3.0 * (-1.0_f64).exp()).ln()],
        1e-6,
    );
}

/// A device that nobody shared computes the same by tensor operations, and the log says so once.
#[test]
fn a_device_that_nobody_shared_says_so_once() {
    static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());
    struct Listener;
    impl log::Log for Listener {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            if record.target().starts_with("wgloss_burn") {
                let mut said = SAID.lock().expect("no test that holds it panics");
                said.push(format!("{} {}", record.level(), record.args()));
            }
        }
        fn flush(&self) {}
    }
    if gpu().is_none() {
        return;
    }
    log::set_logger(&Listener).expect("no other logger");
    log::set_max_level(log::LevelFilter::Warn);
    // Another runtime on the same adapter, which is a CPU where tests run; where it is none, this one is not there.
    let Ok(device) = Device::wgpu_options().device_kind(DeviceKind::Cpu).init() else {
        return;
    };
    assert!(!wgloss_burn::is_shared(&device));
    let loss = ZlprLossConfig::new().init(&device);
    for _ in 0..3 {
        let logits = Tensor::<2>::ones([2, 3], &device);
        let value = loss.forward(logits, Tensor::<2, Int>::ones([2, 3], &device));
        close(
            "loss",
            &read(&value),
            &[(1.0 + 3.0 * (-1.0_f64).exp()).ln()],
            1e-6,
        );
    }
    let said = SAID.lock().expect("no test that holds it panics");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].starts_with("WARN") && said[0].contains("wgloss_burn::share"),
        "{said:?}"
    );
}
