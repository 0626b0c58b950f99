//! Every kernel builds: the noop device parses and validates it and compares it with the layout and the limits.

use crate::call::{Case, Form, Layout, Machine, compares_logits, driver_losses, entries};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use wgloss::shader::{self, Kernel};
use wgloss::{Caps, Context, DType, Half, Reduction, Variant};

/// Entry points of what has one form: `gather` and `finish`; the differences and weights of WDL, permutations; the
/// constraint module, by forms of targets and of the gradient; HCAL's index, vectors (alone or together), products and
/// losses; balance, sums; the contrastive losses, packing in three element types and nine more.
fn alone() -> usize {
    (1 + 1) + (4 + 2 + 2) + (7 + 7 + 2) + (5 + 2 * 6 + 4 + 1) + (1 + 1) + (3 + 9)
}

/// How many losses of rows there are besides the stages of WDL: with labels for targets, and with other logits.
fn row_losses() -> (usize, usize) {
    let mut forms: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for module in shader::modules(64) {
        if module
            .files()
            .iter()
            .any(|file| file.path == "shared/rows.wgsl")
        {
            let mut names = module.part_names().map(str::to_owned);
            let (loss, _logits) = (names.next(), names.next());
            let of_loss = forms.entry(loss.unwrap_or_default()).or_default();
            of_loss.extend(names.next());
        }
    }
    forms.retain(|loss, _| !loss.starts_with("wdl_"));
    let of_logits = |forms: &&BTreeSet<String>| forms.len() == 3;
    let others = forms.values().filter(of_logits).count();
    assert!(
        forms.values().all(|of| matches!(of.len(), 3 | 6)),
        "{forms:?}"
    );
    (forms.len() - others, others)
}

/// The kernels of a workgroup size that a device with `caps` can run.
fn kernels(caps: &Caps, workgroup: u32) -> Vec<Kernel> {
    shader::modules(workgroup)
        .into_iter()
        .filter(|module| caps.f16 || !module.needs_f16())
        .filter(|module| caps.subgroup || !module.needs_subgroup())
        .flat_map(|module| {
            let entries = module.entries().iter();
            entries.map(move |entry| Kernel { module, entry })
        })
        .collect()
}

fn warm_up(cx: &Context, workgroup: u32) -> usize {
    let kernels = kernels(cx.caps(), workgroup);
    for kernel in &kernels {
        if let Err(error) = cx.warm_up([*kernel]) {
            panic!("{kernel}: {error}");
        }
    }
    kernels.len()
}

#[test]
fn every_kernel_builds_on_a_plain_device() {
    let machine = Machine::plain();
    let (of_labels, of_logits) = row_losses();
    for workgroup in [32, machine.cx.variant().workgroup, 256] {
        // Losses x forms of labels and KL forms, and WDL's last stage, x logits and gradient storage without native f16, 5 entry points each; WDL's
        // first stage, whose gradient is f32; the entry points of what reduces by tree alone.
        let expected = ((of_labels + 1) * 6 + of_logits) * 8 * 5 + 6 * 3 * 5 + alone();
        assert_eq!(
            warm_up(&machine.cx, workgroup),
            expected,
            "of {workgroup} lanes"
        );
    }
}

#[test]
fn every_kernel_builds_on_a_device_with_all_features() {
    let machine = Machine::rich();
    let (of_labels, of_logits) = row_losses();
    for workgroup in [64, 1024] {
        let last = (of_labels + 1) * 6 + of_logits;
        let expected = 2 * (last * 11 * 5 + 6 * 4 * 5) + alone();
        assert_eq!(
            warm_up(&machine.cx, workgroup),
            expected,
            "of {workgroup} lanes"
        );
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
                    for (rows, cols) in [(3, 40), (2, 9000)] {
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
                        let expected = match cols {
                            40 => "rows",
                            _ => "partial combine gradient",
                        };
                        assert_eq!(entries(&prepared), expected, "{case:?}");
                        let submitted = machine.submit(|encoder| prepared.encode(encoder));
                        assert_eq!(submitted, Ok(()), "{case:?}, {}", cx.variant());
                        of_loss.extend(prepared.plan().steps.iter().map(|step| step.kernel));
                    }
                }
            }
        }
        // 8 storages of logits and gradient whatever the variant: f16 is native or packed, f32 logits have one f32
        // gradient. Four entries each, and six forms of targets or one.
        let forms = if compares_logits(&loss) { 1 } else { 6 };
        assert_eq!(of_loss.len(), forms * 8 * 4, "{loss:?}, {}", cx.variant());
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
        for kernel in used {
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
