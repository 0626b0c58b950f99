//! How workgroup memory and locals are used, and how much there is.

use crate::lints::{functions, root};
use naga::valid::{GlobalUse, ModuleInfo};
use naga::{AddressSpace, Expression, Function, Handle, Statement};
use std::collections::BTreeMap;
use wgloss::{Caps, Half, Reduce, Variant};

/// Workgroup memory that an entry point reads and nowhere writes: it is not zeroed, and FXC refuses it.
pub fn read_before_written(ir: &naga::Module, info: &ModuleInfo) -> Vec<String> {
    let mut problems = Vec::new();
    for (i, entry) in ir.entry_points.iter().enumerate() {
        for (handle, variable) in ir.global_variables.iter() {
            let used = info.get_entry_point(i)[handle];
            if variable.space == AddressSpace::WorkGroup && used == GlobalUse::READ {
                problems.push(format!(
                    "{}: {:?} is never written",
                    entry.name, variable.name
                ));
            }
        }
    }
    problems
}

/// Stores to a component or element of a local variable by an index that is not constant. FXC unrolls every loop around
/// one, and gives up on loops of unknown length.
pub fn indexed_stores(ir: &naga::Module) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, function) in functions(ir) {
        let mut blocks = vec![&function.body];
        while let Some(block) = blocks.pop() {
            for statement in block.iter() {
                match statement {
                    Statement::Block(block) => blocks.push(block),
                    Statement::If { accept, reject, .. } => blocks.extend([accept, reject]),
                    Statement::Switch { cases, .. } => blocks.extend(cases.iter().map(|c| &c.body)),
                    Statement::Loop {
                        body, continuing, ..
                    } => blocks.extend([body, continuing]),
                    Statement::Store { pointer, .. } => {
                        let at = &function.expressions[root(function, *pointer)];
                        let local = matches!(
                            at,
                            Expression::LocalVariable(_) | Expression::FunctionArgument(_)
                        );
                        if local && indexed(function, *pointer) {
                            problems.push(format!("{name}: a local is written by index"));
                        }
                    }
                    _ => {}
                }
            }
        }
    }
    problems
}

fn indexed(function: &Function, pointer: Handle<Expression>) -> bool {
    match function.expressions[pointer] {
        Expression::Access { .. } => true,
        Expression::AccessIndex { base, .. } => indexed(function, base),
        _ => false,
    }
}

/// Workgroup memory that each entry point reaches, counted as WebGPU does.
pub fn workgroup_memory(ir: &naga::Module, info: &ModuleInfo) -> BTreeMap<String, u32> {
    let bytes = |entry: usize| {
        let mut sum = 0;
        for (handle, variable) in ir.global_variables.iter() {
            let used = info.get_entry_point(entry)[handle] != GlobalUse::empty();
            if variable.space == AddressSpace::WorkGroup && used {
                let size = ir.types[variable.ty].inner.size(ir.to_ctx());
                sum += size.next_multiple_of(16);
            }
        }
        sum
    };
    let entries = ir.entry_points.iter().enumerate();
    entries.map(|(i, e)| (e.name.clone(), bytes(i))).collect()
}

/// The least workgroup memory with which the host accepts a variant.
pub fn host_workgroup_memory(reduce: Reduce, workgroup: u32) -> u32 {
    let variant = Variant {
        reduce,
        workgroup,
        half: Half::Packed,
        cooperative: false,
    };
    let accepts = |bytes: u32| {
        let mut caps = Caps::webgpu();
        (caps.f16, caps.subgroup) = (true, true);
        (caps.max_workgroup, caps.max_workgroup_bytes) = (1024, bytes);
        caps.check(variant).is_ok()
    };
    let (mut refused, mut accepted) = (0, 1 << 20);
    assert!(!accepts(refused) && accepts(accepted));
    while accepted - refused > 1 {
        let middle = refused.midpoint(accepted);
        if accepts(middle) {
            accepted = middle;
        } else {
            refused = middle;
        }
    }
    accepted
}
