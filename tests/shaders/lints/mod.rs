//! What naga lets through and browsers or drivers do not.

mod memory;
mod uniformity;

pub use memory::{host_workgroup_memory, indexed_stores, read_before_written, workgroup_memory};
pub use uniformity::non_uniform;

use naga::valid::{GlobalUse, ModuleInfo};
use naga::{
    AddressSpace, Binding, BuiltIn, Expression, Function, Handle, Literal, Scalar, ScalarKind,
    TypeInner,
};

const F16_FUNCTIONS: [&str; 3] = ["load", "put_one", "prior4"];
/// Those that bring f16 to cooperative matrices.
const HALF_FUNCTIONS: [&str; 15] = [
    "halve",
    "own_half",
    "other_half",
    "own_next",
    "other_next",
    "own_fours",
    "other_fours",
    "stage_row",
    "stage_col",
    "component_next",
    "component_fours",
    "stage_slope",
    "stage_component",
    "products",
    "spread",
];

/// All that needs no variant: one line per problem.
pub fn lints(ir: &naga::Module, info: &ModuleInfo) -> Vec<String> {
    [
        non_uniform(ir),
        pointer_parameters(ir),
        not_finite(ir),
        unused_bindings(ir, info),
        float_atomics(ir),
        f16_outside_io(ir, info),
        read_before_written(ir, info),
        indexed_stores(ir),
        subgroup_builtins_in_structs(ir),
    ]
    .concat()
}

pub fn functions(ir: &naga::Module) -> impl Iterator<Item = (&str, &Function)> {
    let own = ir.functions.iter().map(|(_, f)| f);
    let own = own.map(|f| (f.name.as_deref().unwrap_or(""), f));
    own.chain(
        ir.entry_points
            .iter()
            .map(|e| (e.name.as_str(), &e.function)),
    )
}

/// naga refuses these only in some address spaces and some releases; browsers take none.
pub fn pointer_parameters(ir: &naga::Module) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, function) in functions(ir) {
        for argument in &function.arguments {
            match ir.types[argument.ty].inner.pointer_space() {
                None | Some(AddressSpace::Function | AddressSpace::Private) => {}
                Some(space) => problems.push(format!("{name}: a pointer to {space:?} memory")),
            }
        }
    }
    problems
}

/// Infinities and NaN as constants, also by `bitcast`, which naga does not evaluate and browsers do.
pub fn not_finite(ir: &naga::Module) -> Vec<String> {
    let finite = |literal: &Literal| match *literal {
        Literal::F32(v) => v.is_finite(),
        Literal::F16(v) => v.is_finite(),
        Literal::F64(v) | Literal::AbstractFloat(v) => v.is_finite(),
        _ => true,
    };
    let bits = |expression: &Expression| match *expression {
        Expression::Literal(Literal::U32(bits)) => bits,
        Expression::Literal(Literal::I32(bits)) => bits.cast_unsigned(),
        _ => 0,
    };
    let mut problems = Vec::new();
    let global = ("constants", &ir.global_expressions);
    let local = functions(ir).map(|(name, f)| (name, &f.expressions));
    for (name, arena) in std::iter::once(global).chain(local) {
        for (_, expression) in arena.iter() {
            let right = match *expression {
                Expression::Literal(ref literal) => finite(literal),
                Expression::As {
                    expr,
                    kind: ScalarKind::Float,
                    convert: None,
                } => match arena[expr] {
                    Expression::Constant(c) => {
                        f32::from_bits(bits(&ir.global_expressions[ir.constants[c].init]))
                    }
                    ref other => f32::from_bits(bits(other)),
                }
                .is_finite(),
                _ => true,
            };
            if !right {
                problems.push(format!("{name}: a constant that is not finite"));
            }
        }
    }
    problems
}

/// Bindings that no entry point of the module touches.
pub fn unused_bindings(ir: &naga::Module, info: &ModuleInfo) -> Vec<String> {
    let bound = ir
        .global_variables
        .iter()
        .filter(|(_, v)| v.binding.is_some());
    let unused = bound.filter(|(handle, _)| {
        (0..ir.entry_points.len()).all(|i| info.get_entry_point(i)[*handle] == GlobalUse::empty())
    });
    let line = |v: &naga::GlobalVariable| format!("{:?}: bound and never used", v.name);
    unused.map(|(_, v)| line(v)).collect()
}

/// naga has them under a feature, WGSL does not.
pub fn float_atomics(ir: &naga::Module) -> Vec<String> {
    let float = |ty: &TypeInner| matches!(ty, TypeInner::Atomic(s) if s.kind == ScalarKind::Float);
    let found = ir.types.iter().filter(|(_, ty)| float(&ty.inner));
    found.map(|_| "an atomic of floats".to_owned()).collect()
}

/// f16 is storage: nothing is computed in it but by cooperative matrices, and only loads and stores of the io parts and what
/// brings it to these see it.
pub fn f16_outside_io(ir: &naga::Module, info: &ModuleInfo) -> Vec<String> {
    let mut problems = Vec::new();
    let own = ir.functions.iter().map(|(handle, f)| (f, &info[handle]));
    let entries = ir.entry_points.iter().enumerate();
    let entries = entries.map(|(i, e)| (&e.function, info.get_entry_point(i)));
    for (function, types) in own.chain(entries) {
        let name = function.name.as_deref().unwrap_or("");
        for (handle, expression) in function.expressions.iter() {
            let computes = matches!(
                expression,
                Expression::Unary { .. } | Expression::Binary { .. } | Expression::Math { .. }
            );
            let scalar = types[handle].ty.inner_with(&ir.types).scalar();
            let known = F16_FUNCTIONS.contains(&name) || HALF_FUNCTIONS.contains(&name);
            if scalar == Some(Scalar::F16) && (computes || !known) {
                problems.push(format!("{name}: f16 in {expression:?}"));
            }
        }
    }
    problems
}

/// Subgroup builtins as members of a parameter: naga writes HLSL for them that DXC refuses.
pub fn subgroup_builtins_in_structs(ir: &naga::Module) -> Vec<String> {
    let mut problems = Vec::new();
    for argument in ir.entry_points.iter().flat_map(|e| &e.function.arguments) {
        if let TypeInner::Struct { members, .. } = &ir.types[argument.ty].inner {
            for member in members {
                if let Some(Binding::BuiltIn(
                    BuiltIn::NumSubgroups
                    | BuiltIn::SubgroupId
                    | BuiltIn::SubgroupSize
                    | BuiltIn::SubgroupInvocationId,
                )) = member.binding
                {
                    problems.push(format!(
                        "{:?} is a subgroup builtin in a struct",
                        member.name
                    ));
                }
            }
        }
    }
    problems
}

/// The variable or argument that a pointer leads into.
pub fn root(function: &Function, mut pointer: Handle<Expression>) -> Handle<Expression> {
    while let Expression::Access { base, .. } | Expression::AccessIndex { base, .. } =
        function.expressions[pointer]
    {
        pointer = base;
    }
    pointer
}
