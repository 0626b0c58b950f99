//! What is the caller's stays the caller's: the handler of errors that nobody catches, and what other threads do wrong.

use crate::call::{Machine, USAGE, now};
use std::sync::Arc;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use wgloss::{
    Context, DType, Error, ErrorKind, Gradient, Prepared, RowInputs, RowOutputs, Targets, Tensor,
    Zlpr, wgpu,
};

/// Two devices of one instance, so that one can be given a buffer of the other.
fn two() -> [Machine; 2] {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::NOOP,
        backend_options: wgpu::BackendOptions {
            noop: wgpu::NoopBackendOptions::enabled(),
            ..Default::default()
        },
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let adapter = now(instance.request_adapter(&wgpu::RequestAdapterOptions::default()));
    let adapter = adapter.expect("the noop adapter");
    [(); 2].map(|()| {
        let made = now(adapter.request_device(&wgpu::DeviceDescriptor::default()));
        let (device, queue) = made.expect("a device");
        let cx = Context::new(&device).expect("a context");
        Machine { device, queue, cx }
    })
}

/// A call on four buffers.
fn prepare(
    cx: &Context,
    [logits, targets, loss, grad]: [&wgpu::Buffer; 4],
    rows: usize,
) -> Result<Prepared, Error> {
    let inputs = RowInputs::new(
        Tensor::matrix(logits, DType::F32, rows, 8),
        Targets::Dense(Tensor::matrix(targets, DType::U8, rows, 8)),
    );
    let outputs = RowOutputs {
        loss: Some(Tensor::vector(loss, DType::F32, 1)),
        grad_logits: Some(Gradient::To(Tensor::matrix(grad, DType::F32, rows, 8))),
        ..RowOutputs::default()
    };
    Zlpr::hard().prepare(cx, &inputs, &outputs)
}

/// What no device accepts.
fn mistake(device: &wgpu::Device) {
    let _ = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("the caller's mistake"),
        size: 4,
        usage: wgpu::BufferUsages::empty(),
        mapped_at_creation: false,
    });
}

/// Counts what reaches the caller's handler.
fn handler(device: &wgpu::Device) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let heard = Arc::clone(&count);
    device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
        assert!(
            error.to_string().contains("the caller's mistake"),
            "{error}"
        );
        heard.fetch_add(1, Ordering::Relaxed);
    }));
    count
}

#[test]
fn the_callers_handler_hears_the_callers_mistakes_alone() -> Result<(), Error> {
    let [own, other] = two();
    let heard = handler(&own.device);
    // A context that is made after the handler, and one that is there before.
    for cx in [Context::new(&own.device)?, own.cx.clone()] {
        let before = heard.load(Ordering::Relaxed);
        let buffers: Vec<wgpu::Buffer> = (0..4).map(|_| own.buffer(1024, USAGE)).collect();
        let [logits, targets, loss, grad] = [0, 1, 2, 3].map(|i| &buffers[i]);
        assert!(prepare(&cx, [logits, targets, loss, grad], 4).is_ok());
        let len = cx.verify_words();
        let words = own.buffer(4 * len as u64, USAGE);
        assert!(cx.verify(&Tensor::vector(&words, DType::U32, len)).is_ok());
        // Refused by the device itself, not by our checks.
        let foreign = other.buffer(1024, USAGE);
        let refused = prepare(&cx, [&foreign, targets, loss, grad], 4);
        assert_eq!(refused.expect_err("foreign").kind(), ErrorKind::Device);
        assert_eq!(heard.load(Ordering::Relaxed), before);
        mistake(&own.device);
        assert_eq!(heard.load(Ordering::Relaxed), before + 1);
        // And the context goes on.
        assert!(prepare(&cx, [logits, targets, loss, grad], 5).is_ok());
    }
    Ok(())
}

/// Three threads prepare, well and badly, beside three that make mistakes of their own, half of them in scopes of their own:
/// each hears of its own alone.
#[test]
fn scopes_beside_a_failing_thread() {
    const TURNS: usize = 200;
    let [own, other] = two();
    let heard = handler(&own.device);
    let foreign = other.buffer(1024, USAGE);
    let start = Barrier::new(6);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let buffers: Vec<wgpu::Buffer> = (0..4).map(|_| own.buffer(1024, USAGE)).collect();
                let [logits, targets, loss, grad] = [0, 1, 2, 3].map(|i| &buffers[i]);
                start.wait();
                for turn in 0..TURNS {
                    let good = prepare(&own.cx, [logits, targets, loss, grad], 1 + turn % 32);
                    assert!(good.is_ok(), "{good:?}");
                    let bad = prepare(&own.cx, [&foreign, targets, loss, grad], 1 + turn % 32);
                    let error = bad.expect_err("foreign");
                    assert_eq!(error.kind(), ErrorKind::Device, "{error}");
                    assert!(
                        !error.to_string().contains("the caller's mistake"),
                        "{error}"
                    );
                }
            });
            scope.spawn(|| {
                start.wait();
                for turn in 0..TURNS {
                    if turn % 2 == 0 {
                        mistake(&own.device);
                        continue;
                    }
                    let error = own.validate(|| mistake(&own.device));
                    let error = error.expect_err("a mistake");
                    assert!(error.contains("the caller's mistake"), "{error}");
                    assert_eq!(own.validate(|| ()), Ok(()));
                }
            });
        }
    });
    assert_eq!(heard.load(Ordering::Relaxed), 3 * TURNS / 2);
}
