//! The bytes that a plan says a call moves: what `wgloss bench` divides by the time.

use wgloss::check::{Mode, RowWorkload, SPARSE, Workload as _};
use wgloss::host::Gpu;
use wgloss::{DType, Error, Targets, Threshold, Zlpr, wgpu};

pub fn noop() -> Result<Gpu, Error> {
    let gpu = Gpu::noop(wgpu::Features::empty(), wgpu::Limits::default())?;
    gpu.with_variant("tree-64-packed".parse()?)
}

#[test]
fn bytes_follow_the_sweeps_of_the_plan() -> Result<(), Error> {
    let gpu = noop()?;
    let short = RowWorkload::plain(Zlpr::hard().into(), 10, 100);
    let long = |cols| RowWorkload { cols, ..short };
    let cases = [
        // Logits, bytes, f32 gradient, the loss.
        (short, 4000 + 1000 + 4000 + 4),
        (
            RowWorkload {
                mode: Mode::Loss,
                ..short
            },
            4000 + 1000 + 4,
        ),
        (
            RowWorkload {
                dtype: DType::F16,
                mode: Mode::BothSame,
                form: Targets::Bits(()),
                ..short
            },
            2000 + 160 + 2000 + 4,
        ),
        // 11 offsets and 16 positives a row.
        (
            RowWorkload {
                mode: Mode::Gradient,
                form: SPARSE,
                ..short
            },
            4000 + 4 * 171 + 4000,
        ),
        // What the second sweep of a row reads is in its lanes' caches,
        (long(8192), 81_920 * 5 + 4 * 81_920 + 4),
        // but rows that are split are read in two dispatches.
        (
            RowWorkload {
                rows: 1,
                ..long(70_000)
            },
            2 * 70_000 * 5 + 4 * 70_000 + 4,
        ),
        // Once more for the columns.
        (
            RowWorkload {
                threshold: Some(Threshold::Label(())),
                ..short
            },
            2 * 5000 + 4000 + 4,
        ),
    ];
    for (workload, expected) in cases {
        assert_eq!(workload.on_gpu(&gpu)?.bytes(), expected, "{workload:?}");
    }
    Ok(())
}
