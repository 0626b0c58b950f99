//! Devices and variants: what a context accepts, refuses, and keeps.

use crate::call::{Case, Form, Layout, Loss, Machine, expect, noop, now};
use std::thread;
use wgloss::shader::{self, Kernel};
use wgloss::{
    Caps, Context, DType, Error, ErrorKind, Half, Prepared, Reduce, Reduction, Variant, Zlpr, wgpu,
};

const CASE: Case = Case {
    rows: 3,
    cols: 40,
    logits: DType::F32,
    targets: Form::Dense(DType::U8),
    loss: Loss::Zlpr(Zlpr {
        form: wgloss::losses::zlpr::Form::Hard,
        smoothing: 0.0,
        reduction: Reduction::Mean,
    }),
    with: "loss grad_logits sample_weight class_weight",
};

/// What WebGPU promises, but for what is changed.
fn caps(change: impl FnOnce(&mut Caps)) -> Caps {
    let mut caps = Caps::webgpu();
    change(&mut caps);
    caps
}

/// On a device that counts as a CPU.
fn plain() -> Caps {
    caps(|caps| caps.cpu = true)
}

#[test]
fn caps_are_the_devices_own() {
    let machine = Machine::plain();
    assert_eq!(*machine.cx.caps(), plain());
    assert_eq!(machine.cx.device(), &machine.device);
    let rich = Machine::rich();
    let expected = caps(|caps| {
        (caps.f16, caps.subgroup, caps.cpu) = (true, true, true);
        caps.subgroup_size = 4;
        caps.max_workgroup = 1024;
        caps.max_workgroup_bytes = 1 << 16;
    });
    assert_eq!(*rich.cx.caps(), expected);
    let narrow = Machine::narrow(1 << 16);
    assert_eq!(narrow.cx.caps().max_binding, 1 << 16);
}

#[test]
fn a_device_too_small_for_the_kernels_is_refused() {
    let plain = wgpu::Limits::default;
    let few = |n| wgpu::Limits {
        max_storage_buffers_per_shader_stage: n,
        ..plain()
    };
    let lanes = |all, x| wgpu::Limits {
        max_compute_invocations_per_workgroup: all,
        max_compute_workgroup_size_x: x,
        ..plain()
    };
    let memory = |bytes| wgpu::Limits {
        max_compute_workgroup_storage_size: bytes,
        ..plain()
    };
    let least = "variant tree-32-packed";
    let refused = [
        (
            few(6),
            "device",
            "expected 7 storage buffers per shader stage, found 6",
        ),
        (
            lanes(31, 256),
            least,
            "expected workgroups of 32 lanes, found at most 31",
        ),
        (
            lanes(256, 16),
            least,
            "expected workgroups of 32 lanes, found at most 16",
        ),
        (
            memory(8192),
            "variant tree-64-packed",
            "bytes of workgroup memory, found at most 8192",
        ),
    ];
    for (limits, subject, text) in refused {
        let (device, _queue) = noop(wgpu::Features::empty(), limits);
        expect(
            Context::new(&device),
            ErrorKind::Unsupported,
            subject,
            text,
            text,
        );
    }
    let enough = [
        (few(7), "tree-64-packed"),
        (lanes(63, 256), "tree-32-packed"),
        (lanes(256, 32), "tree-32-packed"),
        (memory(10_240), "tree-64-packed"),
    ];
    for (limits, variant) in enough {
        let machine = Machine::new(wgpu::Features::empty(), limits);
        assert_eq!(machine.cx.variant().to_string(), variant);
        let memory = CASE.memory(&machine, Layout::Apart);
        let prepared = memory.call().prepare(&machine.cx).expect(variant);
        assert_eq!(
            machine.submit(|encoder| prepared.encode(encoder)),
            Ok(()),
            "{variant}"
        );
    }
    // Hardly any binding: no tensor fits, and that is what is said.
    let machine = Machine::narrow(256);
    let memory = CASE.memory(&machine, Layout::Apart);
    let text = "rows of at most 0 bytes";
    expect(
        memory.call().prepare(&machine.cx),
        ErrorKind::Unsupported,
        "logits",
        text,
        "bindings of 256 bytes",
    );
}

#[test]
fn the_default_variant_is_the_best_the_device_has() {
    let gpu = Caps::webgpu();
    let of = |mut caps: Caps, max_workgroup| {
        caps.max_workgroup = max_workgroup;
        caps
    };
    let f16 = |mut caps: Caps| {
        caps.f16 = true;
        caps
    };
    let subgroup = |mut caps: Caps| {
        caps.subgroup = true;
        caps
    };
    for (caps, name) in [
        (plain(), "tree-64-packed"),
        (gpu, "tree-256-packed"),
        (f16(gpu), "tree-256-native"),
        (subgroup(plain()), "subgroup-64-packed"),
        (subgroup(f16(of(gpu, 1024))), "subgroup-256-native"),
        (of(gpu, 255), "tree-128-packed"),
        (of(plain(), 48), "tree-32-packed"),
        (of(gpu, 0), "tree-32-packed"),
    ] {
        let variant = caps.default_variant();
        assert_eq!(variant.to_string(), name);
        assert_eq!(
            caps.check(variant).is_ok(),
            caps.max_workgroup >= 32,
            "{name}"
        );
    }
}

#[test]
fn a_variant_beyond_the_device_is_refused() {
    let machine = Machine::plain();
    let roomy = Machine::new(
        wgpu::Features::empty(),
        wgpu::Limits {
            max_compute_invocations_per_workgroup: 1024,
            max_compute_workgroup_size_x: 1024,
            ..Default::default()
        },
    );
    let variant = |workgroup| Variant {
        reduce: Reduce::Tree,
        workgroup,
        half: Half::Packed,
        cooperative: false,
    };
    for workgroup in [0, 1, 16, 48, 100, 2048, 1 << 31, u32::MAX] {
        for machine in [&machine, &roomy] {
            let text = format!("32, 64, 128, 256, 512 or 1024 lanes, found {workgroup}");
            let result = machine.cx.with_variant(variant(workgroup));
            expect(result, ErrorKind::Value, "variant", &text, "lanes");
        }
    }
    let cases = [
        (
            &machine,
            "tree-64-native",
            "expected a device with SHADER_F16",
        ),
        (
            &machine,
            "subgroup-64-packed",
            "expected a device with SUBGROUP",
        ),
        (&machine, "subgroup-256-native", "expected a device with S"),
        (
            &machine,
            "tree-64-packed-cooperative",
            "expected a context that knows of cooperative matrices",
        ),
        (
            &machine,
            "tree-512-packed",
            "workgroups of 512 lanes, found at most 256",
        ),
        (
            &machine,
            "tree-1024-packed",
            "workgroups of 1024 lanes, found at most 256",
        ),
        (
            &roomy,
            "tree-1024-packed",
            "bytes of workgroup memory, found at most 16384",
        ),
    ];
    for (machine, name, text) in cases {
        let result = machine.cx.with_variant(name.parse().expect(name));
        let subject = format!("variant {name}");
        expect(result, ErrorKind::Unsupported, &subject, text, name);
    }
    for machine in [&machine, &roomy, &Machine::rich()] {
        let caps = machine.cx.caps();
        let variants = caps.variants();
        assert!(variants.contains(&machine.cx.variant()), "{variants:?}");
        for variant in variants {
            let cx = machine
                .cx
                .with_variant(variant)
                .expect("listed by the device");
            assert_eq!((cx.variant(), caps.check(variant)), (variant, Ok(())));
            let entry = "finish";
            let mut all = shader::modules(variant.workgroup).into_iter();
            let module = all
                .find(|module| module.entries().contains(&entry))
                .expect("a module for the last sums");
            assert_eq!(cx.warm_up([Kernel { module, entry }]), Ok(()), "{variant}");
        }
    }
}

/// A device made without the features is told so, whatever its adapter offers.
#[test]
fn cooperative_matrices_need_their_features() {
    let offered = [wgpu::CooperativeMatrixProperties {
        m_size: 16,
        n_size: 16,
        k_size: 16,
        ab_type: wgpu::CooperativeScalarType::F16,
        cr_type: wgpu::CooperativeScalarType::F32,
        saturating_accumulation: false,
    }];
    for machine in [Machine::plain(), Machine::rich()] {
        let result = machine.cx.with_cooperative_matrices(&offered);
        let text = "EXPERIMENTAL_COOPERATIVE_MATRIX";
        expect(
            result,
            ErrorKind::Unsupported,
            "cooperative matrices",
            text,
            text,
        );
        assert_eq!(machine.cx.caps().cooperative, 0);
        assert!(!machine.cx.variant().cooperative);
    }
    let caps = caps(|caps| (caps.f16, caps.subgroup, caps.cooperative) = (true, true, 16));
    let names = caps
        .variants()
        .into_iter()
        .map(|variant| variant.to_string());
    let with: Vec<String> = names.filter(|name| name.contains("cooperative")).collect();
    assert_eq!(with, ["subgroup-256-native-cooperative"]);
}

#[test]
fn variants_are_written_and_read() {
    for reduce in [Reduce::Tree, Reduce::Subgroup] {
        for workgroup in [32, 64, 128, 256, 512, 1024] {
            for half in [Half::Packed, Half::Native] {
                for cooperative in [false, true] {
                    let variant = Variant {
                        reduce,
                        workgroup,
                        half,
                        cooperative,
                    };
                    assert_eq!(variant.to_string().parse(), Ok(variant));
                }
            }
        }
    }
    let good = Variant {
        reduce: Reduce::Subgroup,
        workgroup: 128,
        half: Half::Native,
        cooperative: false,
    };
    assert_eq!("subgroup-128-native".parse(), Ok(good));
    let cooperative = Variant {
        cooperative: true,
        ..good
    };
    assert_eq!("subgroup-128-native-cooperative".parse(), Ok(cooperative));
    let bad = [
        "",
        "-",
        "tree",
        "tree-64",
        "tree-64-",
        "-64-packed",
        "tree--packed",
        "tree-many-packed",
        "tree--64-packed",
        "tree-4294967296-packed",
        "tree-6.4-packed",
        "warp-64-packed",
        "Tree-64-packed",
        "tree-64-double",
        "tree-64-packed-",
        "tree-64-packed-native",
        "tree-64-packed-cooperative-",
        "tree-64-cooperative",
        " tree-64-packed",
        "tree-64-packed ",
    ];
    for text in bad {
        let found = format!("such as tree-64-packed, found {text:?}");
        expect(
            text.parse::<Variant>(),
            ErrorKind::Value,
            "variant",
            &found,
            text,
        );
    }
}

/// The identities of a call's pipelines, as wgpu prints them.
fn pipelines(prepared: &Prepared) -> Vec<String> {
    let text = format!("{prepared:?}");
    let ids = text.split("CoreComputePipeline {").skip(1).map(|rest| {
        let id = rest.split("id: ").nth(1).expect("an id");
        id[..id.find(')').expect("the end of the id")].to_string()
    });
    let ids: Vec<String> = ids.collect();
    assert_eq!(ids.len(), prepared.plan().steps.len(), "{text}");
    ids
}

#[test]
fn pipelines_are_made_once() {
    let machine = Machine::plain();
    let memory = CASE.memory(&machine, Layout::Apart);
    let prepare = |cx: &Context| memory.call().prepare(cx).expect("a good call");
    let first = prepare(&machine.cx);
    assert_eq!(first.plan().steps.len(), 3);
    let ids = pipelines(&first);
    assert!(
        ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2],
        "{ids:?}"
    );
    // Again, in a clone, after a detour to another variant: the same pipelines.
    let smaller = machine
        .cx
        .with_variant("tree-32-packed".parse().expect("a variant"));
    let smaller = smaller.expect("the device has it");
    let others = pipelines(&prepare(&smaller));
    assert!(
        others.iter().all(|id| !ids.contains(id)),
        "{ids:?} and {others:?}"
    );
    let back = smaller
        .with_variant(machine.cx.variant())
        .expect("it was the default");
    for cx in [&machine.cx, &machine.cx.clone(), &back] {
        assert_eq!(pipelines(&prepare(cx)), ids);
    }
    assert_eq!(pipelines(&prepare(&smaller)), others);
    // Another context has its own; a warm one makes none at its first call.
    let warm = Context::new(&machine.device).expect("a context");
    warm.warm_up(first.plan().steps.iter().map(|step| step.kernel))
        .expect("good kernels");
    // Modules and pipelines; parameters come behind.
    let made = || {
        let all = format!("{warm:?}");
        all.split_once(", params: ")
            .map(|(made, _)| made.to_owned())
    };
    let before = made().expect("parameters");
    let new = pipelines(&prepare(&warm));
    assert!(
        new.iter().all(|id| !ids.contains(id)),
        "{ids:?} and {new:?}"
    );
    assert!(made().is_some_and(|after| after == before));
}

/// What a context holds: a new one has compiled nothing, and a call like one before adds nothing to it, whatever its buffers.
#[test]
fn a_call_like_one_before_makes_bind_groups_alone() {
    let machine = Machine::plain();
    let kept = || format!("{:?}", machine.cx);
    let new = kept();
    for empty in ["modules", "pipelines"] {
        let nothing = format!("{empty}: Slots(Mutex {{ data: {{}}");
        assert!(new.contains(&nothing), "{new}");
    }
    let first = CASE.memory(&machine, Layout::Apart);
    let first = first.call().prepare(&machine.cx).expect("a good call");
    let after = kept();
    assert_ne!(new, after);
    for _ in 0..3 {
        let other = CASE.memory(&machine, Layout::Apart);
        let again = other.call().prepare(&machine.cx).expect("a good call");
        assert_eq!(pipelines(&again), pipelines(&first));
        assert_eq!(kept(), after);
    }
    // Scratch beyond 16 MiB is a call's own: the context keeps what it had.
    let scratch = |text: &str| {
        let (_, rest) = text.split_once(", scratch: ").expect("scratch");
        rest.split_once(", dirty: ").expect("its end").0.to_owned()
    };
    let many = Case {
        rows: 5_000_000,
        cols: 1,
        with: "loss",
        ..CASE
    };
    let memory = many.memory(&machine, Layout::Apart);
    let large = memory.call().prepare(&machine.cx).expect("a good call");
    assert!(large.plan().scratch_bytes > 16 << 20, "{:?}", large.plan());
    assert_eq!(scratch(&kept()), scratch(&after));
}

#[test]
fn a_context_serves_many_threads() {
    let machine = Machine::plain();
    let memory = CASE.memory(&machine, Layout::Apart);
    let prepared: Vec<Prepared> = thread::scope(|scope| {
        let workers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let bad = memory.call();
                    let mut bad = bad;
                    bad.outputs.loss = None;
                    bad.outputs.grad_logits = None;
                    assert!(bad.prepare(&machine.cx).is_err());
                    memory.call().prepare(&machine.cx).expect("a good call")
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("no panic"))
            .collect()
    });
    let ids = pipelines(&prepared[0]);
    for prepared in &prepared {
        assert_eq!(pipelines(prepared), ids);
        assert_eq!(machine.submit(|encoder| prepared.encode(encoder)), Ok(()));
    }
}

#[test]
fn useful_features_are_those_the_adapter_has() {
    let wanted =
        wgpu::Features::SUBGROUP | wgpu::Features::SHADER_F16 | wgpu::Features::TIMESTAMP_QUERY;
    let few = wgpu::Features::SHADER_F16 | wgpu::Features::FLOAT32_FILTERABLE;
    for (has, useful) in [
        (None, wanted),
        (Some(few), wgpu::Features::SHADER_F16),
        (Some(wgpu::Features::empty()), wgpu::Features::empty()),
    ] {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: wgpu::Backends::NOOP,
            backend_options: wgpu::BackendOptions {
                noop: wgpu::NoopBackendOptions {
                    features: has,
                    ..wgpu::NoopBackendOptions::enabled()
                },
                ..Default::default()
            },
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let adapter = now(instance.request_adapter(&wgpu::RequestAdapterOptions::default()));
        let adapter = adapter.expect("the noop adapter");
        assert_eq!(Context::useful_features(&adapter), useful, "of {has:?}");
        // A device with all of them has the native, subgroup variant.
        let (device, _queue) = now(adapter.request_device(&wgpu::DeviceDescriptor {
            required_features: useful,
            ..Default::default()
        }))
        .expect("features of the adapter");
        let caps = *Context::new(&device).expect("a context").caps();
        assert_eq!(caps.f16, useful.contains(wgpu::Features::SHADER_F16));
        assert_eq!(caps.subgroup, useful.contains(wgpu::Features::SUBGROUP));
    }
}

#[test]
fn errors_are_errors() {
    let error = Error::value("t_pos", "a finite number", 0.5);
    let boxed: Box<dyn std::error::Error + Send + Sync> = Box::new(error.clone());
    assert_eq!(
        boxed.to_string(),
        "t_pos: expected a finite number, found 0.5"
    );
    assert!(boxed.source().is_none());
    let shape = Error::shape("t_pos", "a finite number", 0.5);
    assert_eq!(
        (shape.kind(), error.kind()),
        (ErrorKind::Shape, ErrorKind::Value)
    );
    assert_ne!(shape, error);
    assert!(Error::new(ErrorKind::Unsupported, "a", "b", "c").is_unsupported());
    assert!(!error.is_unsupported());
}
