//! A call and its kernels as files.

use naga::valid::{Capabilities, GlobalUse, ValidationFlags, Validator};
use serde_json::{Value, json};
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use wgloss::check::Tensors;
use wgloss::shader::Kernel;
use wgloss::{Block, Bound, Call, CallStep, DType, Error, ErrorKind, Half, Variant, wgpu};

/// The form of the file: another number where a host has to do something else.
const FORM: u32 = 1;
/// Bytes of a binding that no tensor has: WGSL may want a whole vector.
const NOTHING: u64 = 256;

/// Where a call comes from.
pub struct Origin {
    pub loss: String,
    pub settings: String,
    pub variant: Variant,
}

/// A folder of calls that share their shaders.
pub struct Folder {
    path: PathBuf,
    /// Where the shaders are, seen from a call.
    shaders: String,
    written: BTreeSet<String>,
    uses: HashMap<Kernel, Vec<u32>>,
}

/// What went wrong with a file.
pub fn failed(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::because(
        ErrorKind::Device,
        path.display().to_string(),
        error.to_string(),
    )
}

/// Writes a file.
pub fn put(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    std::fs::write(path, bytes).map_err(|error| failed(path, &error))
}

/// Makes a folder, unless it is there.
pub fn make(path: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(path).map_err(|error| failed(path, &error))
}

impl Folder {
    /// One at `path`. Calls find the shaders at `shaders`, which ends with `/` unless it is empty.
    pub fn create(path: &Path, shaders: &str) -> Result<Self, Error> {
        make(path)?;
        Ok(Folder {
            path: path.into(),
            shaders: shaders.into(),
            written: BTreeSet::new(),
            uses: HashMap::new(),
        })
    }

    /// How many shaders there are.
    pub fn shaders(&self) -> usize {
        self.written.len()
    }

    /// Writes a call into a file of the folder, and those of its shaders that are not there yet.
    pub fn write(
        &mut self,
        name: &str,
        origin: &Origin,
        call: &Call,
        tensors: &Tensors,
    ) -> Result<(), Error> {
        let path = self.path.join(name);
        let below = path.parent().unwrap_or(&self.path).join(&self.shaders);
        make(&below)?;
        let mut steps = Vec::new();
        for step in &call.steps {
            let module = step.kernel.module;
            let file = format!("{module}.wgsl");
            if self.written.insert(file.clone()) {
                put(&below.join(&file), module.compose().as_bytes())?;
            }
            let writes = match self.uses.entry(step.kernel) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(written(&step.kernel)?),
            };
            let wgsl = format!("{}{file}", self.shaders);
            steps.push(described(step, &wgsl, writes, tensors)?);
        }
        let all = json!({
            "form": FORM,
            "crate": env!("CARGO_PKG_VERSION"),
            "loss": origin.loss,
            "settings": origin.settings,
            "variant": origin.variant.to_string(),
            "features": match origin.variant.half == Half::Native {
                true => vec!["shader-f16"],
                false => vec![],
            },
            "limits": {
                "maxStorageBuffersPerShaderStage": 7,
                "maxComputeInvocationsPerWorkgroup": origin.variant.workgroup,
                "maxComputeWorkgroupSizeX": origin.variant.workgroup,
            },
            "buffers": buffers(tensors).iter().map(|buffer| buffer.size()).collect::<Vec<_>>(),
            "tensors": listed(&steps, tensors),
            "parameters": { "fixed": hex(&call.fixed), "live": hex(&call.live) },
            "scratch_bytes": call.scratch_bytes,
            "steps": steps,
        });
        let mut text = serde_json::to_string_pretty(&all).map_err(|error| failed(&path, &error))?;
        text.push('\n');
        put(&path, text.as_bytes())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The buffers of the tensors, each once.
fn buffers(tensors: &Tensors) -> Vec<&wgpu::Buffer> {
    let mut all: Vec<&wgpu::Buffer> = Vec::new();
    for (_, buffer, _) in tensors.iter() {
        if !all.contains(&buffer) {
            all.push(buffer);
        }
    }
    all
}

/// The numbers of the bindings that an entry point writes.
fn written(kernel: &Kernel) -> Result<Vec<u32>, Error> {
    let wrong = |error: String| Error::because(ErrorKind::Device, kernel.to_string(), error);
    let module = naga::front::wgsl::parse_str(&kernel.module.compose())
        .map_err(|error| wrong(error.to_string()))?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::all())
        .validate(&module)
        .map_err(|error| wrong(error.into_inner().to_string()))?;
    let entries = module.entry_points.iter();
    let index = entries
        .map(|entry| &entry.name)
        .position(|name| name == kernel.entry)
        .ok_or_else(|| wrong("has no such entry point".into()))?;
    let uses = info.get_entry_point(index);
    let written = module
        .global_variables
        .iter()
        .filter_map(|(handle, global)| {
            let binding = global.binding.as_ref()?.binding;
            let writes = uses[handle].intersects(GlobalUse::WRITE | GlobalUse::ATOMIC);
            writes.then_some(binding)
        });
    Ok(written.collect())
}

/// A step as the file has it.
fn described(
    step: &CallStep,
    wgsl: &str,
    writes: &[u32],
    tensors: &Tensors,
) -> Result<Value, Error> {
    let buffers = buffers(tensors);
    let mut bindings = Vec::new();
    for (binding, bound) in (1..).zip(&step.bindings) {
        let written = writes.contains(&binding);
        bindings.push(match bound {
            Bound::Nothing => json!({ "binding": binding, "memory": "nothing", "size": NOTHING }),
            Bound::Buffer { buffer, start, size } => {
                let at = buffers.iter().position(|other| *other == buffer);
                let at = at.ok_or_else(|| Error::refused("call", "binds a buffer of no tensor"))?;
                let end = start + size;
                let reached = tensors.iter().filter(|(_, other, tensor)| {
                    let first = tensor.offset() * tensor.dtype().size();
                    *other == buffer && first < end && first + bytes(tensor) > *start
                });
                let names: Vec<&str> = reached.map(|(name, ..)| name).collect();
                json!({
                    "binding": binding, "memory": "buffer", "buffer": at, "tensors": names,
                    "offset": start, "size": size, "written": written,
                })
            }
            Bound::Scratch { start, size } => json!({
                "binding": binding, "memory": "scratch", "offset": start, "size": size, "written": written,
            }),
            Bound::Live => json!({ "binding": binding, "memory": "live", "written": written }),
        });
    }
    Ok(json!({
        "wgsl": wgsl,
        "entry": step.kernel.entry,
        "workgroups": step.groups,
        "parameters": {
            "block": match step.block { Block::Fixed => "fixed", Block::Live => "live" },
            "offset": step.offset,
            "size": step.size,
        },
        "bindings": bindings,
    }))
}

/// Bytes from a tensor's first element to behind its last.
fn bytes(tensor: &wgloss::Tensor<'_>) -> u64 {
    let rows = tensor.rows().saturating_sub(1) * tensor.row_stride() + tensor.cols();
    rows as u64 * tensor.dtype().size()
}

/// The tensors as the file has them, with whether steps reach them, and by bindings that are written.
fn listed(steps: &[Value], tensors: &Tensors) -> Vec<Value> {
    let buffers = buffers(tensors);
    let bindings = steps.iter().filter_map(|step| step["bindings"].as_array());
    let bindings: Vec<&Value> = bindings.flatten().collect();
    let reaches = |binding: &Value, name: &str| {
        let names = binding["tensors"].as_array();
        names.is_some_and(|names| names.iter().any(|other| other == name))
    };
    let all = tensors.iter().map(|(name, buffer, tensor)| {
        let mut own = bindings.iter().filter(|binding| reaches(binding, name));
        json!({
            "name": name,
            "dtype": dtype(tensor.dtype()),
            "rows": tensor.rows(),
            "cols": tensor.cols(),
            "row_stride": tensor.row_stride(),
            "buffer": buffers.iter().position(|other| *other == buffer),
            "offset": tensor.offset() * tensor.dtype().size(),
            "used": own.clone().next().is_some(),
            "written": own.any(|binding| binding["written"] == true),
        })
    });
    all.collect()
}

fn dtype(dtype: DType) -> String {
    format!("{dtype:?}").to_lowercase()
}
