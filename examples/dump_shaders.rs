//! Writes every composed WGSL module to `target/shaders/`, for reading, editors and other validators, with a list of the entry
//! points in `kernels.tsv`; on demand each entry point as the backends of wgpu get it too.
//!
//! `cargo run --example dump_shaders [LANES [spirv|hlsl|msl ..]]`, LANES being the workgroup size, 64 unless given.

#[path = "../tests/shaders/backends.rs"]
mod backends;

use backends::{Compiled, capabilities, shader_model};
use naga::valid::{ValidationFlags, Validator};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use wgloss::shader::{self, Module};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let workgroup: u32 = match arguments.next() {
        Some(lanes) => lanes.parse()?,
        None => 64,
    };
    if !workgroup.is_power_of_two() || !(32..=1024).contains(&workgroup) {
        return Err(
            format!("{workgroup} lanes; a workgroup has 32, 64, 128, 256, 512 or 1024").into(),
        );
    }
    let languages: Vec<String> = arguments.collect();
    if let Some(other) = languages
        .iter()
        .find(|name| !["spirv", "hlsl", "msl"].contains(&name.as_str()))
    {
        return Err(format!("{other}: not spirv, hlsl or msl").into());
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/shaders");
    for language in &languages {
        fs::create_dir_all(folder.join(language))?;
    }
    fs::create_dir_all(&folder)?;
    // Some losses share a kernel that is theirs all the same.
    let modules: BTreeMap<String, Module> = shader::modules(workgroup)
        .into_iter()
        .map(|module| (module.to_string(), module))
        .collect();
    let mut list = String::new();
    for (name, module) in &modules {
        let text = module.compose();
        fs::write(folder.join(format!("{name}.wgsl")), &text)?;
        list += &listed(module);
        if !languages.is_empty() {
            compile(module, &text, &languages, &folder)
                .map_err(|error| format!("{name}: {error}"))?;
        }
    }
    fs::write(folder.join("kernels.tsv"), list)?;
    println!("{} modules in {}", modules.len(), folder.display());
    Ok(())
}

/// A module's lines of the list, one for each entry point: kind, module, entry point, what the module needs of the device, the
/// shader model of its HLSL.
fn listed(module: &Module) -> String {
    let needs = [
        (module.needs_f16(), "f16"),
        (module.needs_subgroup(), "subgroup"),
        (module.needs_cooperative(), "cooperative"),
    ];
    let needs: Vec<&str> = needs
        .iter()
        .filter_map(|(needed, name)| needed.then_some(*name))
        .collect();
    let (kind, needs) = (module.kind(), needs.join(","));
    let model = shader_model(module).to_str();
    let entries = module.entries().iter();
    entries
        .map(|entry| format!("{kind}\t{module}\t{entry}\t{needs}\t{model}\n"))
        .collect()
}

/// Writes a module's entry points in these languages.
fn compile(module: &Module, text: &str, languages: &[String], folder: &Path) -> Outcome<()> {
    let ir = naga::front::wgsl::parse_str(text).map_err(|e| e.emit_to_string(text))?;
    let info = Validator::new(ValidationFlags::all(), capabilities(module, text)).validate(&ir)?;
    for entry in module.entries() {
        let compiled = Compiled::new(module, &ir, &info, entry)?;
        let path = |language: &str, ending: &str| {
            folder
                .join(language)
                .join(format!("{module}.{entry}.{ending}"))
        };
        for language in languages {
            let text = match language.as_str() {
                "hlsl" => &compiled.hlsl,
                "msl" => &compiled.msl,
                _ => {
                    for ((major, minor), words) in &compiled.spirv {
                        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
                        fs::write(path(language, &format!("{major}.{minor}.spv")), bytes)?;
                    }
                    continue;
                }
            };
            if let Some(text) = text {
                fs::write(path(language, language), text)?;
            }
        }
    }
    Ok(())
}
