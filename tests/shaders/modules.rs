//! Every module validates, compiles for every backend that its device can have, and passes every lint.

use crate::files::{STANDALONE, folder};
use crate::lints::{host_workgroup_memory, lints, workgroup_memory};
use crate::{
    WORKGROUP_MEMORY, WORKGROUPS, capabilities, for_each, for_every_module, modules_of, none,
    parse, validate,
};
use naga::back::{hlsl, msl, pipeline_constants, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo};
use naga::{ResourceBinding, ShaderStage};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use wgloss::shader::Module;

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
            bytes.fetch_add(cross_compile(module, &ir, &info, entry)?, Ordering::Relaxed);
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

/// Writes an entry point as wgpu-hal 30 does for the layout of src/device/context.rs, and returns the bytes written.
fn cross_compile(
    module: &Module,
    ir: &naga::Module,
    info: &ModuleInfo,
    entry: &str,
) -> Result<usize, String> {
    let point = (ShaderStage::Compute, entry.to_owned());
    let (ir, info) = pipeline_constants::process_overrides(
        ir,
        info,
        Some((ShaderStage::Compute, entry)),
        &Default::default(),
    )
    .map_err(|e| e.to_string())?;
    let slots = || (0..8).map(|binding| ResourceBinding { group: 0, binding });
    let restrict = BoundsCheckPolicies {
        index: BoundsCheckPolicy::Restrict,
        buffer: BoundsCheckPolicy::Restrict,
        image_load: BoundsCheckPolicy::Restrict,
        binding_array: BoundsCheckPolicy::Unchecked,
    };

    let mut capabilities = vec![
        spv::Capability::Shader,
        spv::Capability::Matrix,
        spv::Capability::Sampled1D,
        spv::Capability::Image1D,
        spv::Capability::ImageQuery,
        spv::Capability::DerivativeControl,
        spv::Capability::StorageImageExtendedFormats,
    ];
    if module.needs_subgroup() {
        capabilities.extend([
            spv::Capability::GroupNonUniform,
            spv::Capability::GroupNonUniformVote,
            spv::Capability::GroupNonUniformArithmetic,
            spv::Capability::GroupNonUniformBallot,
            spv::Capability::GroupNonUniformShuffle,
            spv::Capability::GroupNonUniformShuffleRelative,
            spv::Capability::GroupNonUniformQuad,
        ]);
    }
    if module.needs_f16() {
        capabilities.push(spv::Capability::Float16);
    }
    if module.needs_cooperative() {
        capabilities.extend([
            spv::Capability::CooperativeMatrixKHR,
            spv::Capability::VulkanMemoryModel,
        ]);
    }
    let binding = |at: ResourceBinding| {
        let info = spv::BindingInfo {
            descriptor_set: 0,
            binding: at.binding,
            binding_array_size: None,
        };
        (at, info)
    };
    let options = spv::Options {
        // Vulkan 1.0 where that is enough; subgroup operations are of Vulkan 1.1.
        lang_version: match (module.needs_subgroup(), module.needs_cooperative()) {
            (_, true) => (1, 6),
            (true, _) => (1, 3),
            (false, _) => (1, 0),
        },
        flags: spv::WriterFlags::LABEL_VARYINGS | spv::WriterFlags::FORCE_POINT_SIZE,
        fake_missing_bindings: false,
        binding_map: slots().map(binding).collect(),
        capabilities: Some(capabilities.into_iter().collect()),
        bounds_check_policies: restrict,
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        ..spv::Options::default()
    };
    let pipeline = spv::PipelineOptions {
        shader_stage: ShaderStage::Compute,
        entry_point: entry.to_owned(),
    };
    let spirv = spv::write_vec(&ir, &info, &options, Some(&pipeline))
        .map_err(|e| format!("{entry}: SPIR-V: {e}"))?;
    // HLSL has no cooperative matrices, and naga 30 panics over them. On Metal, whose subgroups are not said to be of one
    // size, the host does not offer them, and naga's MSL takes no vectors of memory for them.
    if module.needs_cooperative() {
        return Ok(4 * spirv.len());
    }

    let resource = |at: ResourceBinding| {
        let target = msl::BindTarget {
            buffer: Some(at.binding as msl::Slot),
            mutable: at.binding > 0,
            ..msl::BindTarget::default()
        };
        (at, target)
    };
    let resources = msl::EntryPointResources {
        resources: slots().map(resource).collect(),
        immediates_buffer: None,
        sizes_buffer: Some(8),
    };
    let options = msl::Options {
        lang_version: (2, 1),
        fake_missing_bindings: false,
        per_entry_point_map: [(entry.to_owned(), resources)].into_iter().collect(),
        bounds_check_policies: restrict,
        zero_initialize_workgroup_memory: false,
        ..msl::Options::default()
    };
    let pipeline = msl::PipelineOptions {
        entry_point: Some(point.clone()),
        vertex_pulling_transform: true,
        ..msl::PipelineOptions::default()
    };
    let (metal, translated) = msl::write_string(&ir, &info, &options, &pipeline)
        .map_err(|e| format!("{entry}: MSL: {e}"))?;
    for name in translated.entry_point_names {
        name.map_err(|e| format!("{entry}: MSL: {e}"))?;
    }

    // A uniform is in a register b, writable storage in a register u.
    let target = |at: ResourceBinding| {
        let target = hlsl::BindTarget {
            register: at.binding.saturating_sub(1),
            ..hlsl::BindTarget::default()
        };
        (at, target)
    };
    let options = hlsl::Options {
        // FXC knows neither f16 nor subgroups.
        shader_model: match (module.needs_f16(), module.needs_subgroup()) {
            (false, false) => hlsl::ShaderModel::V5_1,
            (false, true) => hlsl::ShaderModel::V6_0,
            (true, _) => hlsl::ShaderModel::V6_2,
        },
        binding_map: slots().map(target).collect(),
        fake_missing_bindings: false,
        special_constants_binding: Some(hlsl::BindTarget {
            register: 1,
            ..hlsl::BindTarget::default()
        }),
        zero_initialize_workgroup_memory: false,
        restrict_indexing: true,
        ..hlsl::Options::default()
    };
    let pipeline = hlsl::PipelineOptions {
        entry_point: Some(point),
    };
    let mut direct = String::new();
    let translated = hlsl::Writer::new(&mut direct, &options, &pipeline)
        .write(&ir, &info, None)
        .map_err(|e| format!("{entry}: HLSL: {e}"))?;
    for name in translated.entry_point_names {
        name.map_err(|e| format!("{entry}: HLSL: {e}"))?;
    }
    Ok(4 * spirv.len() + metal.len() + direct.len())
}
