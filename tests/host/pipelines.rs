//! Every kernel builds: the noop device parses and validates it and compares it with the layout and the limits.

use crate::call::{Case, Form, Layout, Loss, Machine, compares_logits, driver_losses, entries};
use std::collections::{BTreeSet, HashSet};
use wgloss::Rowwise;
use wgloss::shader::{self, Kernel};
use wgloss::{Caps, Context, DType, Half, Reduction, Variant};

/// The losses of rows that modules are made of, without the stages of WDL, those that count, and what
/// stands for a loss where that of classes is wanted alone.
fn row_losses(kernels: &[Kernel]) -> BTreeSet<String> {
    let of_rows = |kernel: &&Kernel| {
        let files = kernel.module.files();
        files.iter().any(|file| file.path == "shared/rows.wgsl")
    };
    let name = |kernel: &Kernel| kernel.module.part_names().next().map(str::to_owned);
    let all = kernels.iter().filter(of_rows).filter_map(name);
    let stages = ["wdl_", "count_", "zlpr_classes"];
    let stage = |loss: &String| stages.iter().any(|stage| loss.starts_with(stage));
    all.filter(|loss| !stage(loss)).collect()
}

/// The kernels of a workgroup size that a device with `caps` can run.
fn kernels(caps: &Caps, workgroup: u32) -> Vec<Kernel> {
    shader::modules(workgroup)
        .into_iter()
        .filter(|module| caps.f16 || !module.needs_f16())
        .filter(|module| caps.subgroup || !module.needs_subgroup())
        // No device here is made with experimental features.
        .filter(|module| caps.cooperative > 0 || !module.needs_cooperative())
        .flat_map(|module| {
            let entries = module.entries().iter();
            entries.map(move |entry| Kernel { module, entry })
        })
        .collect()
}

/// Builds them all; every loss of rows is among them.
fn warm_up(cx: &Context, workgroup: u32) {
    let kernels = kernels(cx.caps(), workgroup);
    if let Err(error) = cx.warm_up(kernels.iter().copied()) {
        panic!("{workgroup} lanes: {error}");
    }
    let losses = row_losses(&kernels);
    // A setting by label makes a kernel of its own.
    let kernels_of = |loss: &Loss| 1 + usize::from(loss.takes().by_label.is_some());
    let forms: usize = driver_losses().iter().map(kernels_of).sum();
    assert_eq!(losses.len(), forms, "of {workgroup} lanes: {losses:?}");
}

#[test]
fn every_kernel_builds_on_a_plain_device() {
    let machine = Machine::plain();
    for workgroup in [32, machine.cx.variant().workgroup, 256] {
        warm_up(&machine.cx, workgroup);
    }
}

#[test]
fn every_kernel_builds_on_a_device_with_all_features() {
    let machine = Machine::rich();
    for workgroup in [64, 1024] {
        warm_up(&machine.cx, workgroup);
    }
}

/// Every loss, storage and gradient in a short and in a split row, under `variant`; returns the kernels it took.
fn prepare_all(machine: &Machine, cx: &Context) -> HashSet<Kernel> {
    let mut used = HashSet::new();
    let gradients = ["grad_logits", "same_grad", "in_place"];
    for loss in driver_losses() {
        let mut of_loss = HashSet::new();
        for logits in [DType::F32, DType::F16, DType::Bf16] {
            for targets in Form::ALL {
                if compares_logits(&loss) && targets != Form::Dense(logits) {
                    continue;
                }
                for gradient in gradients {
                    for (rows, cols) in [(3, 40), (2, 40_000)] {
                        let case = Case {
                            rows,
                            cols,
                            logits,
                            targets,
                            loss: loss.with_reduction(Reduction::Sum),
                            with: gradient,
                        };
                        let memory = case.memory(machine, Layout::Apart);
                        let call = memory.call();
                        let prepared = match call.prepare(cx) {
                            Ok(prepared) => prepared,
                            Err(error) => panic!("{case:?}, {}: {error}", cx.variant()),
                        };
                        let own = match cols {
                            40 => "rows",
                            _ => "partial combine gradient",
                        };
                        let expected = match targets {
                            Form::Sparse => format!("clear mark {own}"),
                            _ => own.to_owned(),
                        };
                        assert_eq!(entries(&prepared), expected, "{case:?}");
                        let submitted = machine.submit(|encoder| prepared.encode(encoder));
                        assert_eq!(submitted, Ok(()), "{case:?}, {}", cx.variant());
                        of_loss.extend(prepared.plan().steps.iter().map(|step| step.kernel));
                    }
                }
            }
        }
        // 8 storages of logits and gradient: f32 logits have one f32 gradient. Three entries each over five forms of targets
        // or one, since sparse ones become bits in two more kernels; and one between chunks.
        let (forms, sparse) = match compares_logits(&loss) {
            true => (1, 0),
            false => (5, 2),
        };
        let expected = forms * 8 * 3 + sparse + 1;
        assert_eq!(of_loss.len(), expected, "{loss:?}, {}", cx.variant());
        used.extend(of_loss);
    }
    used
}

#[test]
fn prepare_chooses_kernels_of_its_variant_alone() {
    let machine = Machine::rich();
    for name in ["tree-32-packed", "subgroup-64-native"] {
        let variant: Variant = name.parse().expect("a variant");
        let cx = machine.cx.with_variant(variant).expect("the device has it");
        let used = prepare_all(&machine, &cx);
        // What knows no element type has one form.
        let formed = |kernel: &&Kernel| matches!(kernel.entry, "rows" | "partial" | "gradient");
        for kernel in used.iter().filter(formed) {
            let module = kernel.module;
            assert_eq!(
                (module.reduce, module.workgroup),
                (variant.reduce, variant.workgroup),
                "{kernel} under {variant}"
            );
            assert!(
                variant.half == Half::Native || !module.needs_f16(),
                "{kernel} under {variant}"
            );
        }
    }
}
