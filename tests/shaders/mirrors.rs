//! Parameter structs are the same in WGSL and in Rust.

use crate::{for_every_module, parse, same};
use naga::{Expression, Literal, Scalar, ScalarKind, TypeInner};
use std::collections::BTreeSet;
use std::sync::Mutex;
use wgloss::shader::Mirror;

/// Every struct of every module's uniform, field by field: name, type, place, and the size of the whole.
#[test]
fn parameter_structs_mirror_the_rust_ones() {
    let names = Mutex::new(BTreeSet::new());
    for_every_module(|module, text| {
        let ir = parse(text)?;
        let mirrors: Vec<Mirror> = module.mirrors().collect();
        let size_of = |ty: &str| match ty {
            "u32" | "f32" => 4,
            _ => mirrors.iter().find(|m| m.name == ty).map_or(0, |m| m.size),
        };
        for mirror in &mirrors {
            let (members, span) = members(&ir, mirror.name)?;
            let mut expected = Vec::new();
            let mut offset = 0;
            for (field, ty) in mirror.fields {
                expected.push(((*field).to_owned(), (*ty).to_owned(), offset as u32));
                offset += size_of(ty);
            }
            same(mirror.name, &members, &expected)?;
            // Behind a loss's own settings the host has room for the largest.
            let ends_in_settings = mirror.fields.iter().any(|(_, ty)| *ty == "Settings");
            if ends_in_settings {
                assert!(span as usize <= mirror.size, "{}", mirror.name);
            } else {
                same(mirror.name, &(span as usize), &mirror.size)?;
            }
            names.lock().unwrap().insert(mirror.name);
        }
        // What is in the uniform has a mirror, or each part of it has.
        let uniform = uniform(&ir)?;
        let known = |name: &str| mirrors.iter().any(|mirror| mirror.name == name);
        if !known(&uniform) {
            let (parts, _) = members(&ir, &uniform)?;
            if let Some((field, ty, _)) = parts.iter().find(|(_, ty, _)| !known(ty)) {
                return Err(format!("{uniform}.{field}: {ty} has no mirror"));
            }
        }
        Ok(())
    });
    let names = names.into_inner().unwrap();
    assert!(names.len() > 20, "{names:?}");
    println!("{} structs", names.len());
}

/// The type of the uniform at binding 0.
fn uniform(ir: &naga::Module) -> Result<String, String> {
    let at_0 = |v: &&naga::GlobalVariable| v.binding.as_ref().is_some_and(|b| b.binding == 0);
    let found = ir.global_variables.iter().map(|(_, v)| v).find(at_0);
    let found = found.ok_or("no uniform")?;
    Ok(ir.types[found.ty].name.clone().unwrap_or_default())
}

/// A member of a struct: name, type and place.
type Member = (String, String, u32);

/// The members of a struct, and the size of the whole. An array counts as what it is made of.
fn members(ir: &naga::Module, name: &str) -> Result<(Vec<Member>, u32), String> {
    let named = |ty: &&naga::Type| ty.name.as_deref() == Some(name);
    let found = ir.types.iter().map(|(_, ty)| ty).find(named);
    let Some(TypeInner::Struct { members, span }) = found.map(|ty| &ty.inner) else {
        return Err(format!("no struct {name}"));
    };
    let mut all = Vec::new();
    for member in members {
        // Padding is private to its language, hence the underscore.
        let field = member.name.as_deref().unwrap_or("").trim_start_matches('_');
        let of = match ir.types[member.ty].inner {
            TypeInner::Array { base, .. } => base,
            _ => member.ty,
        };
        let ty = match &ir.types[of] {
            naga::Type {
                inner: TypeInner::Scalar(Scalar { kind, width: 4 }),
                ..
            } => match kind {
                ScalarKind::Uint => "u32".to_owned(),
                ScalarKind::Float => "f32".to_owned(),
                other => return Err(format!("{name}.{field}: {other:?}")),
            },
            other => other.name.clone().unwrap_or_default(),
        };
        all.push((field.to_owned(), ty, member.offset));
    }
    Ok((all, *span))
}

/// A struct whose fields all have four bytes: (name, offset, kind).
#[derive(Debug, PartialEq)]
pub struct Layout {
    pub fields: Vec<(String, u32, ScalarKind)>,
    pub span: u32,
}

/// The same of a struct of numbers and flags.
pub fn reflect(ir: &naga::Module, name: &str) -> Result<Layout, String> {
    let named = |ty: &&naga::Type| ty.name.as_deref() == Some(name);
    let found = ir.types.iter().map(|(_, ty)| ty).find(named);
    let Some(TypeInner::Struct { members, span }) = found.map(|ty| &ty.inner) else {
        return Err(format!("no struct {name}"));
    };
    let mut fields = Vec::new();
    for member in members {
        // Padding is private to its language, hence the underscore.
        let field = member.name.as_deref().unwrap_or("").trim_start_matches('_');
        let kind = match ir.types[member.ty].inner {
            TypeInner::Scalar(Scalar { kind, width: 4 }) => kind,
            // In Acc and Coef only: a bool cannot be in a buffer.
            TypeInner::Scalar(Scalar::BOOL) => ScalarKind::Bool,
            ref other => return Err(format!("{name}.{field}: {other:?}")),
        };
        fields.push((field.to_owned(), member.offset, kind));
    }
    let span = *span;
    Ok(Layout { fields, span })
}

pub fn constant(ir: &naga::Module, name: &str) -> Result<u32, String> {
    let named = |c: &&naga::Constant| c.name.as_deref() == Some(name);
    let found = ir.constants.iter().map(|(_, c)| c).find(named);
    match found.map(|c| &ir.global_expressions[c.init]) {
        Some(Expression::Literal(Literal::U32(value))) => Ok(*value),
        other => Err(format!("{name}: {other:?}")),
    }
}
