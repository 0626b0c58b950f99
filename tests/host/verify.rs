//! The driver's probes on a device that computes nothing: what they ask of their words, and that nothing is taken for right.

use crate::call::{Machine, expect};
use std::collections::BTreeSet;
use wgloss::host::Gpu;
use wgloss::{DType, Error, ErrorKind, Probe, Tensor, Variant, wgpu};

#[test]
fn a_driver_that_computes_nothing_fails_every_probe() -> Result<(), Error> {
    let every = [
        Probe::Loops,
        Probe::Bits,
        Probe::Functions,
        Probe::Halves,
        Probe::Barriers,
        Probe::Atomics,
        Probe::NativeHalves,
        // Shuffles of lanes that have no place are not looked at.
        Probe::Subgroups,
    ];
    for (machine, fails) in [(Machine::plain(), 6), (Machine::rich(), 8)] {
        let len = machine.cx.verify_words();
        let words = machine.buffer(4 * len as u64, wgpu::BufferUsages::STORAGE);
        let probes = machine
            .cx
            .verify(&Tensor::vector(&words, DType::U32, len))?;
        let submitted = machine.submit(|encoder| probes.call().encode(encoder));
        assert_eq!(submitted, Ok(()));
        for words in [&vec![0; len][..], &vec![u32::MAX; len], &[], &[1]] {
            let faults = probes.faults(words);
            let found: Vec<Probe> = faults.iter().map(|fault| fault.probe).collect();
            assert_eq!(found, every[..fails], "{faults:?}");
            for fault in faults {
                let error = fault.error();
                assert_eq!(error.to_string(), fault.to_string());
                assert_eq!(error.subject(), fault.probe.to_string());
            }
        }
    }
    let names: BTreeSet<String> = every.iter().map(Probe::to_string).collect();
    assert_eq!(names.len(), every.len());
    let gpu = Gpu::noop(wgpu::Features::empty(), wgpu::Limits::default())?;
    let error = gpu.qualified().expect_err("it computes nothing");
    assert!(
        error.subject().starts_with("driver of ") && error.to_string().contains(": long loops: "),
        "{error}"
    );
    assert_eq!(wgloss::host::self_test(&gpu), Err(error));
    Ok(())
}

#[test]
fn the_words_of_the_probes_are_checked_as_any_tensor() -> Result<(), Error> {
    for variant in ["tree-32-packed", "subgroup-64-packed", "tree-1024-native"] {
        let variant: Variant = variant.parse()?;
        let machine = Machine::rich();
        let cx = machine.cx.with_variant(variant)?;
        let len = cx.verify_words();
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
        let (good, bad) = (
            machine.buffer(4 * len as u64, usage),
            machine.buffer(4 * len as u64, wgpu::BufferUsages::COPY_SRC),
        );
        let words = Tensor::vector(&good, DType::U32, len);
        assert!(cx.verify(&words).is_ok(), "{variant}");
        let (f32s, short) = (
            Tensor::vector(&good, DType::F32, len),
            Tensor::vector(&good, DType::U32, len - 1),
        );
        let behind = words.with_offset(1);
        let unusable = Tensor::vector(&bad, DType::U32, len);
        for (words, kind, text) in [
            (f32s, ErrorKind::DType, "expected u32"),
            (short, ErrorKind::Shape, "expected ["),
            (behind, ErrorKind::Buffer, "expected a buffer of at least"),
            (unusable, ErrorKind::Buffer, "usage STORAGE"),
        ] {
            expect(cx.verify(&words), kind, "words", text, "words");
        }
    }
    Ok(())
}
