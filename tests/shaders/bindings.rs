//! What a module binds, its entry points and its constants are those that the host has.

use crate::mirrors::{constant, reflect};
use crate::{for_every_module, parse, same};
use naga::{AddressSpace, ShaderStage, StorageAccess};
use std::collections::BTreeMap;
use wgloss::shader::Module;

#[test]
fn bindings_entry_points_and_word_counts_are_as_the_host_has_them() {
    for_every_module(|module, text| {
        let ir = parse(text)?;
        same("bindings", &bindings(&ir)?, &expected_bindings(module))?;
        let entries: Vec<&str> = ir.entry_points.iter().map(|e| e.name.as_str()).collect();
        same("entry points", &entries.as_slice(), &module.entries())?;
        for entry in &ir.entry_points {
            same("stage", &entry.stage, &ShaderStage::Compute)?;
            same("size", &entry.workgroup_size, &[module.workgroup, 1, 1])?;
            same("overrides", &entry.workgroup_size_overrides, &None)?;
        }
        same("WG", &constant(&ir, "WG")?, &module.workgroup)?;
        if module
            .files()
            .iter()
            .any(|file| file.path == "shared/rows.wgsl")
        {
            for (words, name) in [("ACC_WORDS", "Acc"), ("COEF_WORDS", "Coef")] {
                // An alias has gone by the time it is reflected.
                let layout = reflect(&ir, name).or_else(|_| reflect(&ir, "Spread"))?;
                let fields = layout.fields.len() as u32;
                same(words, &constant(&ir, words)?, &fields)?;
            }
        }
        Ok(())
    });
}

fn bindings(ir: &naga::Module) -> Result<BTreeMap<u32, String>, String> {
    let mut found = BTreeMap::new();
    for (_, variable) in ir.global_variables.iter() {
        let Some(at) = &variable.binding else {
            continue;
        };
        let name = variable.name.clone().unwrap_or_default();
        let read_write = StorageAccess::LOAD | StorageAccess::STORE;
        let right = match variable.space {
            AddressSpace::Uniform => at.binding == 0,
            AddressSpace::Storage { access } => {
                (1..=7).contains(&at.binding) && access.contains(read_write)
            }
            _ => false,
        };
        if at.group != 0 || !right {
            return Err(format!("{name}: {at:?} in {:?}", variable.space));
        }
        if let Some(other) = found.insert(at.binding, name) {
            return Err(format!("{at:?} is {other} too"));
        }
    }
    Ok(found)
}

fn expected_bindings(module: &Module) -> BTreeMap<u32, String> {
    let storage = module.bindings().map(|(at, name)| (at as u32, name));
    let all = storage.chain([(0, "params")]);
    all.map(|(at, name)| (at, name.to_owned())).collect()
}
