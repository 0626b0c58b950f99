//! Every module validates, compiles for every backend that its device can have, and passes every lint.

use crate::backends::{Compiled, capabilities};
use crate::files::{STANDALONE, folder};
use crate::lints::{host_workgroup_memory, lints, workgroup_memory};
use crate::{
    WORKGROUP_MEMORY, WORKGROUPS, for_each, for_every_module, modules_of, none, parse, validate,
};
use naga::valid::Capabilities;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn every_module_validates_and_compiles_for_every_backend() {
    let entries = AtomicUsize::new(0);
    let bytes = AtomicUsize::new(0);
    // The larger size in full, and a sample of the smaller: the text differs in three constants.
    let sample = modules_of(WORKGROUPS[0]).into_iter().step_by(7);
    let modules = modules_of(WORKGROUPS[1]).into_iter().chain(sample);
    let modules = for_each(modules.collect(), |module, text| {
        let ir = parse(text)?;
        let info = validate(&ir, capabilities(module, text))?;
        for entry in module.entries() {
            entries.fetch_add(1, Ordering::Relaxed);
            let compiled = Compiled::new(module, &ir, &info, entry)?;
            let texts = [compiled.msl, compiled.hlsl].into_iter().flatten();
            let words = compiled.spirv.iter().map(|(_, words)| words.len());
            let all = 4 * words.sum::<usize>() + texts.map(|text| text.len()).sum::<usize>();
            bytes.fetch_add(all, Ordering::Relaxed);
        }
        Ok(())
    });
    println!("{modules} modules, {entries:?} entry points, {bytes:?} bytes of SPIR-V, MSL, HLSL");
}

#[test]
fn no_capability_is_asked_for_in_vain() {
    let needed = AtomicUsize::new(0);
    for_each(modules_of(WORKGROUPS[0]), |module, text| {
        let ir = parse(text)?;
        let all = capabilities(module, text);
        for one in all.iter() {
            needed.fetch_add(1, Ordering::Relaxed);
            if validate(&ir, all - one).is_ok() {
                return Err(format!("does not need {one:?}"));
            }
        }
        Ok(())
    });
    assert!(needed.into_inner() > 500);
}

#[test]
fn every_module_passes_every_lint() {
    let barriers = AtomicUsize::new(0);
    let most = Mutex::new(BTreeMap::new());
    let modules = for_every_module(|module, text| {
        let ir = parse(text)?;
        let info = validate(&ir, capabilities(module, text))?;
        let mut problems = lints(&ir, &info);
        let used = *workgroup_memory(&ir, &info).values().max().unwrap();
        if module.workgroup <= 256 && used > WORKGROUP_MEMORY {
            problems.push(format!("{used} bytes of workgroup memory"));
        }
        if module.needs_cooperative() {
            // The host refuses devices with less, by a formula that its own tests hold to these figures.
            let figure = if module.workgroup == 128 {
                16_384
            } else {
                5_120
            };
            if used != figure {
                problems.push(format!(
                    "{used} bytes of workgroup memory, {figure} on the host"
                ));
            }
            return none(problems);
        }
        let mut most = most.lock().unwrap();
        let variant = most.entry((module.reduce, module.workgroup)).or_insert(0);
        *variant = used.max(*variant);
        barriers.fetch_add(text.matches("Barrier();").count(), Ordering::Relaxed);
        none(problems)
    });
    println!("{modules} modules, {barriers:?} barriers in their text");
    // The host's own figure, by which it refuses variants, must not be below what the kernels use.
    for ((reduce, workgroup), used) in most.into_inner().unwrap() {
        let figure = host_workgroup_memory(reduce, workgroup);
        println!("{reduce:?} {workgroup}: {used} bytes of workgroup memory, {figure} on the host");
        assert!(used <= figure && figure <= WORKGROUP_MEMORY);
    }
}

#[test]
fn standalone_modules_pass_too() {
    for name in STANDALONE {
        let text = std::fs::read_to_string(folder().join(name)).unwrap();
        let ir = parse(&text).unwrap();
        let info = validate(&ir, Capabilities::empty()).unwrap();
        assert_eq!(lints(&ir, &info), [""; 0], "{name}");
    }
}
