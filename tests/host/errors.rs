//! Everything `prepare` refuses: a good call, one change, and what the error says. Nothing panics, nothing is written.

use crate::call::{Case, Form, Layout, Loss, Machine, USAGE, expect};
use wgloss::losses::zlpr;
use wgloss::{Bce, DType, ErrorKind, Reduction, Rowwise, Tensor, Zlpr, wgpu};

pub const ROWS: usize = 3;
pub const COLS: usize = 40;

pub const HARD: Case = Case {
    rows: ROWS,
    cols: COLS,
    logits: DType::F32,
    targets: Form::Dense(DType::U8),
    loss: Loss::Zlpr(Zlpr {
        form: zlpr::Form::Hard,
        smoothing: 0.0,
        reduction: Reduction::Mean,
    }),
    with: "loss grad_logits grad_threshold class_mask mask sample_weight class_weight batch_threshold grad_loss",
};

pub fn zlpr(form: zlpr::Form) -> Loss {
    Loss::Zlpr(Zlpr {
        form,
        smoothing: 0.0,
        reduction: Reduction::Mean,
    })
}

/// Good calls that between them have every tensor in every role.
pub fn good() -> Vec<Case> {
    let (hard, soft) = (zlpr(zlpr::Form::Hard), zlpr(zlpr::Form::Soft));
    let kl = zlpr(zlpr::Form::KlSymmetric { beta: 1.0 });
    let excess = zlpr(zlpr::Form::KlExcess);
    let joint = zlpr(zlpr::Form::Joint {
        t_pos: 4.0,
        t_neg: 1.0,
        half: zlpr::Half::Sample,
    });
    let bce = Loss::Bce(Bce::default().with_reduction(Reduction::None));
    let (f32s, f16s, bf16s) = (DType::F32, DType::F16, DType::Bf16);
    let soft_with =
        "loss same_grad grad_targets label_threshold grad_threshold class_weight same_weight mask";
    let joint_with = "loss in_place row_threshold grad_threshold grad_loss";
    let bce_with = "loss same_grad grad_targets grad_loss sample_weight class_mask weight";
    let others = [
        (soft, f16s, Form::Dense(f32s), soft_with),
        (
            kl,
            f32s,
            Form::Dense(f32s),
            "loss in_place grad_targets mask",
        ),
        (
            excess,
            bf16s,
            Form::Dense(bf16s),
            "loss grad_logits grad_targets",
        ),
        (hard, f16s, Form::Bits, "loss in_place mask"),
        (joint, f32s, Form::Sparse, joint_with),
        (bce, bf16s, Form::Dense(f16s), bce_with),
    ];
    let mut cases = vec![HARD];
    cases.extend(others.map(|(loss, logits, targets, with)| Case {
        loss,
        logits,
        targets,
        with,
        ..HARD
    }));
    cases
}

/// Element types that a tensor may have, in words, and one that it may not have; labels may have all.
fn types(name: &str, case: &Case) -> Option<(&'static str, DType)> {
    Some(match (name, case.logits) {
        ("targets", _) => return None,
        ("logits", _) => ("f32 or f16 or bf16", DType::U8),
        ("other", DType::F32) => ("f32", DType::F16),
        ("other", DType::F16) => ("f16", DType::Bf16),
        ("other", _) => ("bf16", DType::F16),
        ("weight", _) => ("f32 or f16 or bf16", DType::U8),
        ("class_mask" | "mask", _) => ("u8", DType::U32),
        ("target_bits" | "target_offsets" | "target_indices", _) => ("u32", DType::F32),
        ("grad_logits", DType::F16) => ("f32 or f16", DType::Bf16),
        ("grad_logits", DType::Bf16) => ("f32 or bf16", DType::F16),
        _ => ("expected f32, found u32", DType::U32),
    })
}

#[test]
fn a_bad_tensor_is_named() {
    use ErrorKind::{Buffer, DType as Type, Shape};
    let machine = Machine::plain();
    let unusable = machine.buffer(1 << 16, wgpu::BufferUsages::COPY_DST);
    let roomy = machine.buffer(1 << 16, USAGE);
    for case in good() {
        let memory = case.memory(&machine, Layout::Apart);
        let good = memory.call();
        assert!(good.prepare(&machine.cx).is_ok(), "{case:?}");
        for (i, name) in memory.names().into_iter().enumerate() {
            let mut call = good;
            let t = *call.tensor(name);
            let (rows, cols, size) = (t.rows(), t.cols(), t.dtype().size());
            let place = |buffer| Tensor::matrix(buffer, t.dtype(), rows, cols);
            let needed = ((rows * cols) as u64 * size).next_multiple_of(4);
            let tight = machine.buffer(needed - 4, USAGE);
            let too_small = format!(
                "a buffer of at least {needed} bytes (whole words), found {} bytes",
                needed - 4
            );
            let no_storage = "a buffer with usage STORAGE, found BufferUsages(COPY_DST)";
            let far = "bytes (whole words), found 65536 bytes";
            let behind = format!("at least {} bytes", needed + 4);
            let own = &memory.buffers[i];
            let mut bad = vec![
                (place(&unusable), Buffer, no_storage.into()),
                (place(&tight), Buffer, too_small),
                // One word too far, and so far that sums overflow.
                (place(own).with_offset(4 / size), Buffer, behind),
                (place(&roomy).with_offset(u64::MAX), Buffer, far.into()),
            ];
            if let Some((expected, wrong)) = types(name, &case) {
                let other = Tensor::matrix(&roomy, wrong, rows, cols);
                bad.push((other, Type, expected.into()));
            }
            if rows > 1 {
                let narrow = format!("at least {cols} elements, found {}", cols - 1);
                bad.push((place(&roomy).with_row_stride(cols - 1), Shape, narrow));
                bad.push((
                    place(&roomy).with_row_stride(usize::MAX),
                    Buffer,
                    far.into(),
                ));
            }
            // The logits say what the others must be; any number of indices will do.
            if name != "logits" {
                let taller = Tensor::matrix(&roomy, t.dtype(), rows + 1, cols);
                bad.push((taller, Shape, format!("found [{}, {cols}]", rows + 1)));
            }
            if !["logits", "target_indices"].contains(&name) {
                let wider = Tensor::matrix(&roomy, t.dtype(), rows, cols + 1);
                let text = match rows {
                    1 => format!("expected [{cols}], found [{}]", cols + 1),
                    _ => format!("expected [{rows}, {cols}], found [{rows}, {}]", cols + 1),
                };
                bad.push((wider, Shape, text));
            }
            for (tensor, kind, text) in bad {
                let mut call = good;
                *call.tensor(name) = tensor;
                let label = format!("{name} as {tensor:?} in {case:?}");
                expect(call.prepare(&machine.cx), kind, name, &text, &label);
            }
        }
    }
}

#[test]
fn shapes_follow_the_logits_and_the_reduction() {
    let machine = Machine::plain();
    let roomy = machine.buffer(1 << 16, USAGE);
    let per_row = Case {
        loss: HARD.loss.with_reduction(Reduction::None),
        ..HARD
    };
    let with = |with| Case { with, ..HARD };
    let of = |targets| Case {
        targets,
        ..with("loss")
    };
    let label = with("loss label_threshold grad_threshold");
    let row = with("loss row_threshold");
    // A tensor, the rows and columns it gets, and who complains.
    let cases = [
        (HARD, "logits", 4, 40, "targets", "[4, 40], found [3, 40]"),
        (HARD, "logits", 3, 39, "targets", "[3, 39], found [3, 40]"),
        (HARD, "logits", 40, 3, "targets", "[40, 3], found [3, 40]"),
        (HARD, "loss", 1, 3, "loss", "[1], found [3]"),
        (per_row, "loss", 1, 1, "loss", "[3], found [1]"),
        (HARD, "grad_loss", 1, 3, "grad_loss", "[1], found [3]"),
        (per_row, "grad_loss", 1, 2, "grad_loss", "[3], found [2]"),
        (per_row, "grad_loss", 2, 3, "grad_loss", "[3], found [2, 3]"),
        (label, "threshold", 1, 3, "threshold", "[40], found [3]"),
        (row, "threshold", 1, 40, "threshold", "[3], found [40]"),
        (
            label,
            "grad_threshold",
            1,
            1,
            "grad_threshold",
            "[40], found [1]",
        ),
        (
            of(Form::Bits),
            "target_bits",
            3,
            1,
            "target_bits",
            "[3, 2], found [3, 1]",
        ),
        (
            of(Form::Sparse),
            "target_offsets",
            1,
            3,
            "target_offsets",
            "[4], found [3]",
        ),
    ];
    for (case, name, rows, cols, subject, text) in cases {
        let memory = case.memory(&machine, Layout::Apart);
        let mut call = memory.call();
        let dtype = call.tensor(name).dtype();
        *call.tensor(name) = Tensor::matrix(&roomy, dtype, rows, cols);
        let label = format!("{name} [{rows}, {cols}] in {case:?}");
        let result = call.prepare(&machine.cx);
        expect(
            result,
            ErrorKind::Shape,
            subject,
            &format!("expected {text}"),
            &label,
        );
    }
    // An upstream gradient of one value is good for losses per row, too.
    let memory = per_row.memory(&machine, Layout::Apart);
    let mut call = memory.call();
    *call.tensor("grad_loss") = Tensor::vector(&roomy, DType::F32, 1);
    assert!(call.prepare(&machine.cx).is_ok());
}

#[test]
fn combinations_that_mean_nothing_are_refused() {
    use ErrorKind::{DType as Type, Value};
    let machine = Machine::plain();
    let (hard, soft) = (zlpr(zlpr::Form::Hard), zlpr(zlpr::Form::Soft));
    let kl = zlpr(zlpr::Form::KlSymmetric { beta: 1.0 });
    let excess = zlpr(zlpr::Form::KlExcess);
    let bce = Loss::Bce(Bce::default());
    let (u8s, f32s) = (Form::Dense(DType::U8), Form::Dense(DType::F32));
    let both = "in_place grad_targets";
    let unhard = "needs a loss of soft labels, and targets that are real numbers";
    let alone = "needs grad_logits too";
    let threshold = "loss batch_threshold";
    let unkl = "this loss takes none";
    let dense = "this loss takes other logits, dense and in the logits' type, and no labels";
    let cases = [
        (hard, u8s, "", Value, "outputs", "at least one is needed"),
        (
            hard,
            u8s,
            "mask grad_loss",
            Value,
            "outputs",
            "at least one is needed",
        ),
        (
            soft,
            f32s,
            "loss grad_targets",
            Value,
            "grad_targets",
            alone,
        ),
        (kl, f32s, "grad_targets", Value, "grad_targets", alone),
        (hard, f32s, both, Value, "grad_targets", unhard),
        (hard, u8s, both, Value, "grad_targets", unhard),
        (soft, u8s, both, Value, "grad_targets", unhard),
        (soft, Form::Bits, both, Value, "grad_targets", unhard),
        (soft, Form::Sparse, both, Value, "grad_targets", unhard),
        (bce, u8s, both, Value, "grad_targets", unhard),
        (bce, Form::Bits, both, Value, "grad_targets", unhard),
        (kl, f32s, threshold, Value, "threshold", unkl),
        (excess, f32s, threshold, Value, "threshold", unkl),
        (bce, u8s, threshold, Value, "threshold", unkl),
        (
            hard,
            u8s,
            "loss grad_threshold",
            Value,
            "grad_threshold",
            "needs a threshold",
        ),
        (kl, Form::Bits, "loss", Value, "other", dense),
        (kl, Form::Sparse, "loss", Value, "other", dense),
        (excess, Form::Bits, "loss", Value, "other", dense),
        (excess, Form::Sparse, "loss", Value, "other", dense),
        (kl, u8s, "loss", Type, "other", "expected f32, found u8"),
        (
            excess,
            Form::Dense(DType::F16),
            "loss",
            Type,
            "other",
            "expected f32, found f16",
        ),
    ];
    for (loss, targets, with, kind, subject, text) in cases {
        let case = Case {
            loss,
            targets,
            with,
            ..HARD
        };
        let memory = case.memory(&machine, Layout::Apart);
        let result = memory.call().prepare(&machine.cx);
        expect(result, kind, subject, text, &format!("{case:?}"));
    }
}

#[test]
fn settings_have_ranges() {
    let machine = Machine::plain();
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let soft = |eps| Loss::Zlpr(Zlpr::soft().with_smoothing(eps));
    let smooth = |loss: Zlpr, eps| Loss::Zlpr(loss.with_smoothing(eps));
    let two_way = |t_pos, t_neg| Loss::Zlpr(Zlpr::two_way(t_pos, t_neg));
    let kl = |beta| Loss::Zlpr(Zlpr::kl_symmetric(beta));
    let over = |n| HARD.loss.with_reduction(Reduction::MeanOver(n));
    let bce = |pos_weight, smoothing| {
        Loss::Bce(Bce {
            pos_weight,
            smoothing,
            ..Bce::default()
        })
    };
    let bce_over = |n| bce(1.0, 0.0).with_reduction(Reduction::MeanOver(n));
    let eps = "a number from 0 to 1";
    let positive = "a finite number of at least 1e-6";
    let weight = "a finite number of at least 0e0";
    let divisor = "a finite number of at least 1.1754944e-38";
    let unsmooth = "expected 0, or the soft form, found 0.1";
    let bad = [
        (soft(nan), "smoothing", eps),
        (soft(inf), "smoothing", eps),
        (soft(-0.01), "smoothing", eps),
        (soft(1.01), "smoothing", "found 1.01"),
        (smooth(Zlpr::hard(), 0.1), "smoothing", unsmooth),
        (smooth(Zlpr::lsep(), 0.1), "smoothing", unsmooth),
        (smooth(Zlpr::kl_symmetric(1.0), 0.1), "smoothing", unsmooth),
        (smooth(Zlpr::kl_excess(), 0.1), "smoothing", unsmooth),
        (two_way(0.0, 1.0), "t_pos", positive),
        (two_way(nan, 1.0), "t_pos", positive),
        (two_way(inf, 1.0), "t_pos", positive),
        (two_way(1.0, -4.0), "t_neg", "found -4"),
        (two_way(1.0, 9e-7), "t_neg", positive),
        (two_way(1.0, nan), "t_neg", "found NaN"),
        (kl(0.0), "beta", positive),
        (kl(nan), "beta", positive),
        (kl(inf), "beta", "found inf"),
        (over(0.0), "reduction", divisor),
        (over(-0.0), "reduction", divisor),
        (over(1e-40), "reduction", divisor),
        (over(-8.0), "reduction", "found -8"),
        (over(nan), "reduction", divisor),
        (over(inf), "reduction", divisor),
        (bce_over(0.0), "reduction", divisor),
        (bce(1.0, -0.1), "smoothing", eps),
        (bce(1.0, nan), "smoothing", eps),
        (bce(-1.0, 0.0), "pos_weight", weight),
        (bce(nan, 0.0), "pos_weight", weight),
        (bce(inf, 0.0), "pos_weight", weight),
    ];
    let fitting = |loss| Case {
        loss,
        targets: Form::Dense(DType::F32),
        with: "loss",
        ..HARD
    };
    for (loss, subject, text) in bad {
        let memory = fitting(loss).memory(&machine, Layout::Apart);
        let label = format!("{loss:?}");
        let prepared = memory.call().prepare(&machine.cx);
        assert_eq!(
            prepared.as_ref().err(),
            loss.check().as_ref().err(),
            "{label}"
        );
        expect(prepared, ErrorKind::Value, subject, text, &label);
    }
    let good = [
        soft(0.0),
        soft(1.0),
        two_way(1e-6, f32::MAX),
        kl(1e-6),
        over(f32::MIN_POSITIVE),
        bce(0.0, 1.0),
    ];
    for loss in good {
        assert_eq!(loss.check(), Ok(()), "{loss:?}");
        let memory = fitting(loss).memory(&machine, Layout::Apart);
        let prepared = memory.call().prepare(&machine.cx);
        assert!(prepared.is_ok(), "{loss:?}: {prepared:?}");
    }
}
