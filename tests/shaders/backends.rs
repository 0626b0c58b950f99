//! Kernels as wgpu-hal 30 has naga write them for the layout of src/device/context.rs. The example `dump_shaders` has
//! this file too.

use naga::back::{hlsl, msl, pipeline_constants, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo};
use naga::{ResourceBinding, ShaderStage};
use wgloss::shader::Module;

/// One entry point in the languages of the backends.
pub struct Compiled {
    /// By version: for the least Vulkan that can have it, and for the newest.
    pub spirv: Vec<((u8, u8), Vec<u32>)>,
    pub msl: Option<String>,
    pub hlsl: Option<String>,
}

/// What a module may use of naga: what its variant asks of the device.
pub fn capabilities(module: &Module, text: &str) -> Capabilities {
    let mut all = Capabilities::empty();
    all.set(Capabilities::SHADER_FLOAT16, module.needs_f16());
    all.set(Capabilities::SUBGROUP, module.needs_subgroup());
    all.set(Capabilities::COOPERATIVE_MATRIX, module.needs_cooperative());
    // Every backend has these conversions.
    let converts = text.contains("pack2x16float(");
    all.set(Capabilities::SHADER_FLOAT16_IN_FLOAT32, converts);
    all
}

/// Numbers of the bindings of the one group.
fn bindings() -> impl Iterator<Item = ResourceBinding> {
    (0..8).map(|binding| ResourceBinding { group: 0, binding })
}

/// Where a device does not keep accesses within buffers itself, naga's code does.
fn restrict(buffer: BoundsCheckPolicy) -> BoundsCheckPolicies {
    BoundsCheckPolicies {
        index: BoundsCheckPolicy::Restrict,
        buffer,
        image_load: buffer,
        binding_array: BoundsCheckPolicy::Unchecked,
    }
}

impl Compiled {
    pub fn new(
        module: &Module,
        ir: &naga::Module,
        info: &ModuleInfo,
        entry: &str,
    ) -> Result<Self, String> {
        let (ir, info) = pipeline_constants::process_overrides(
            ir,
            info,
            Some((ShaderStage::Compute, entry)),
            &Default::default(),
        )
        .map_err(|e| format!("{entry}: {e}"))?;
        let spirv = spirv_versions(module)
            .into_iter()
            .map(|version| Ok((version, spirv(module, version, &ir, &info, entry)?)))
            .collect::<Result<_, String>>()?;
        // HLSL has no cooperative matrices, and naga 30 panics over them. On Metal, whose subgroups are not said to be of
        // one size, the host does not offer them, and naga's MSL takes no vectors of memory for them.
        let (msl, hlsl) = match module.needs_cooperative() {
            true => (None, None),
            false => (
                Some(msl(&ir, &info, entry)?),
                Some(hlsl(module, &ir, &info, entry)?),
            ),
        };
        Ok(Compiled { spirv, msl, hlsl })
    }
}

/// The versions of SPIR-V that a module is written in: of Vulkan 1.0, or 1.1 for subgroups, and of Vulkan 1.3.
fn spirv_versions(module: &Module) -> Vec<(u8, u8)> {
    match (module.needs_subgroup(), module.needs_cooperative()) {
        (_, true) => vec![(1, 6)],
        (true, _) => vec![(1, 3), (1, 6)],
        (false, _) => vec![(1, 0), (1, 6)],
    }
}

fn spirv(
    module: &Module,
    lang_version: (u8, u8),
    ir: &naga::Module,
    info: &ModuleInfo,
    entry: &str,
) -> Result<Vec<u32>, String> {
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
        lang_version,
        flags: spv::WriterFlags::LABEL_VARYINGS | spv::WriterFlags::FORCE_POINT_SIZE,
        fake_missing_bindings: false,
        binding_map: bindings().map(binding).collect(),
        capabilities: Some(capabilities.into_iter().collect()),
        // New devices mostly check accesses themselves (VK_EXT_robustness2).
        bounds_check_policies: restrict(match lang_version {
            (1, 6) => BoundsCheckPolicy::Unchecked,
            _ => BoundsCheckPolicy::Restrict,
        }),
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        ..spv::Options::default()
    };
    let pipeline = spv::PipelineOptions {
        shader_stage: ShaderStage::Compute,
        entry_point: entry.to_owned(),
    };
    spv::write_vec(ir, info, &options, Some(&pipeline)).map_err(|e| format!("{entry}: SPIR-V: {e}"))
}

fn msl(ir: &naga::Module, info: &ModuleInfo, entry: &str) -> Result<String, String> {
    let resource = |at: ResourceBinding| {
        let target = msl::BindTarget {
            buffer: Some(at.binding as msl::Slot),
            mutable: at.binding > 0,
            ..msl::BindTarget::default()
        };
        (at, target)
    };
    let resources = msl::EntryPointResources {
        resources: bindings().map(resource).collect(),
        immediates_buffer: None,
        sizes_buffer: Some(8),
    };
    let options = msl::Options {
        lang_version: (2, 1),
        fake_missing_bindings: false,
        per_entry_point_map: [(entry.to_owned(), resources)].into_iter().collect(),
        bounds_check_policies: restrict(BoundsCheckPolicy::Restrict),
        zero_initialize_workgroup_memory: false,
        ..msl::Options::default()
    };
    let pipeline = msl::PipelineOptions {
        entry_point: Some((ShaderStage::Compute, entry.to_owned())),
        vertex_pulling_transform: true,
        ..msl::PipelineOptions::default()
    };
    let (text, translated) = msl::write_string(ir, info, &options, &pipeline)
        .map_err(|e| format!("{entry}: MSL: {e}"))?;
    for name in translated.entry_point_names {
        name.map_err(|e| format!("{entry}: MSL: {e}"))?;
    }
    Ok(text)
}

/// What the text is written for, and DXC compiles it as. FXC, which knows neither f16 nor subgroups, has 5.1 alone.
pub fn shader_model(module: &Module) -> hlsl::ShaderModel {
    match (module.needs_f16(), module.needs_subgroup()) {
        (false, false) => hlsl::ShaderModel::V5_1,
        (false, true) => hlsl::ShaderModel::V6_0,
        (true, _) => hlsl::ShaderModel::V6_2,
    }
}

fn hlsl(
    module: &Module,
    ir: &naga::Module,
    info: &ModuleInfo,
    entry: &str,
) -> Result<String, String> {
    // A uniform is in a register b, writable storage in a register u.
    let target = |at: ResourceBinding| {
        let target = hlsl::BindTarget {
            register: at.binding.saturating_sub(1),
            ..hlsl::BindTarget::default()
        };
        (at, target)
    };
    let options = hlsl::Options {
        shader_model: shader_model(module),
        binding_map: bindings().map(target).collect(),
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
        entry_point: Some((ShaderStage::Compute, entry.to_owned())),
    };
    let mut text = String::new();
    let translated = hlsl::Writer::new(&mut text, &options, &pipeline)
        .write(ir, info, None)
        .map_err(|e| format!("{entry}: HLSL: {e}"))?;
    for name in translated.entry_point_names {
        // The script that shows it to Microsoft's compilers knows it by this name.
        let name = name.map_err(|e| format!("{entry}: HLSL: {e}"))?;
        if name != entry {
            return Err(format!("{entry}: HLSL: its name is {name}"));
        }
    }
    Ok(text)
}
