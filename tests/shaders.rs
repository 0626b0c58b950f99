//! Every composed WGSL module, without a GPU: it parses, validates with no more than its variant needs, and compiles to
//! SPIR-V, MSL and HLSL as wgpu would have it; its bindings and structs are those of the Rust side; and it passes lints
//! for what naga lets through and browsers or drivers do not. Each lint is also shown a shader it must refuse.

use naga::back::{hlsl, msl, pipeline_constants, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, GlobalUse, ModuleInfo, ValidationFlags, Validator};
use naga::{
    AddressSpace, ArraySize, Barrier, Binding, Block, BuiltIn, Expression, Function, Handle,
    Literal, LocalVariable, ResourceBinding, Scalar, ScalarKind, ShaderStage, Statement,
    StorageAccess, TypeInner,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use wgloss::shader::{ContrastivePart, FILES, GradStorage, Module, Program, TargetStorage};
use wgloss::{Caps, Half, Reduce, Variant};

/// Both sizes that are a default somewhere; the text depends on the size in three constants only.
const WORKGROUPS: [u32; 2] = [64, 256];
/// What WebGPU guarantees, bytes.
const WORKGROUP_MEMORY: u32 = 16384;
/// Files that are modules of their own, outside the composition.
const STANDALONE: [&str; 1] = ["shared/self_test.wgsl"];
/// The only files that may name the type f16, and the functions through which they do.
const F16_FILES: [&str; 3] = [
    "shared/logits_f16.wgsl",
    "shared/grad_f16.wgsl",
    "shared/in_place_f16.wgsl",
];
const F16_FUNCTIONS: [&str; 2] = ["logit_bits", "grad_store"];

// ---- every module

#[test]
fn every_module_validates_and_compiles_for_every_backend() {
    let entries = AtomicUsize::new(0);
    let bytes = AtomicUsize::new(0);
    // The larger size in full, and a sample of the smaller: the text differs in three constants.
    let sample = Module::all(WORKGROUPS[0]).into_iter().step_by(7);
    let modules = Module::all(WORKGROUPS[1]).into_iter().chain(sample);
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
    for_each(Module::all(WORKGROUPS[0]), |module, text| {
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
        if let Program::Rows { .. } = module.program {
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

// ---- structs

const ROW_STEPS: &str = include_str!("../src/kernels/rows/plan.rs");
/// Where parameter structs are declared.
const HOSTS: &str = concat!(
    include_str!("../src/kernels/rows/plan.rs"),
    include_str!("../src/kernels/rows/wdl.rs"),
    include_str!("../src/kernels/rows/permutation.rs"),
    include_str!("../src/kernels/mcm.rs"),
    include_str!("../src/kernels/hcal/plan.rs"),
    include_str!("../src/kernels/balance.rs"),
    include_str!("../src/kernels/contrastive/plan.rs"),
);

#[test]
fn parameter_structs_mirror_the_rust_ones() {
    let find = |wanted: fn(&Module) -> bool| {
        let all = Module::all(64);
        parse(&all.iter().find(|module| wanted(module)).unwrap().compose()).unwrap()
    };
    let rows = find(|module| matches!(module.program, Program::Rows { .. }));
    let finish = find(|module| module.program == Program::Finish);
    let gather = find(|module| module.program == Program::Gather);

    assert_eq!(reflect(&rows, "RowParams"), Ok(rust_struct("RowParams")));
    assert_eq!(reflect(&finish, "Job"), Ok(rust_struct("FinishJob")));
    assert_eq!(reflect(&gather, "Piece"), Ok(rust_struct("GatherPiece")));
    let others = [
        (Program::WdlTheta, "ThetaParams"),
        (Program::Permutation, "PermutationParams"),
        (Program::Mcm, "McmParams"),
        (Program::HcalIndex, "IndexParams"),
        (Program::Hcal, "HcalParams"),
        (Program::Balance, "BalanceParams"),
    ];
    let parts = ContrastivePart::ALL.map(|part| (Program::Contrastive(part), "PairParams"));
    for (program, name) in others.into_iter().chain(parts) {
        let module = Module {
            program,
            reduce: Reduce::Tree,
            workgroup: 64,
        };
        let ir = parse(&module.compose()).unwrap();
        assert_eq!(reflect(&ir, name), Ok(rust_struct(name)));
    }
    for (ir, name, element) in [
        (&finish, "FinishParams", "FinishJob"),
        (&gather, "GatherParams", "GatherPiece"),
    ] {
        let (count, stride) = only_array(ir, name);
        assert_eq!(stride, rust_struct(element).span, "{name}");
        let host = format!("= [{element}::default(); {count}];");
        assert!(ROW_STEPS.contains(&host), "{host}");
    }
    println!(
        "RowParams: {} fields",
        rust_struct("RowParams").fields.len()
    );
}

/// A struct whose fields all have four bytes: (name, offset, kind).
#[derive(Debug, PartialEq)]
struct Layout {
    fields: Vec<(String, u32, ScalarKind)>,
    span: u32,
}

fn rust_struct(name: &str) -> Layout {
    let (before, behind) = HOSTS.split_once(&format!("struct {name} {{\n")).unwrap();
    let attributes = before.rsplit("\n\n").next().unwrap();
    assert!(attributes.contains("#[repr(C)]"), "{name}: {attributes}");
    let mut fields = Vec::new();
    for line in behind.lines().take_while(|line| *line != "}") {
        let field = line.trim().trim_start_matches("pub(super) ");
        let (field, ty) = field.trim_end_matches(',').split_once(": ").unwrap();
        let kind = match ty {
            "u32" => ScalarKind::Uint,
            "f32" => ScalarKind::Float,
            _ => panic!("{name}.{field}: {ty}"),
        };
        fields.push((field.to_owned(), 4 * fields.len() as u32, kind));
    }
    let span = 4 * fields.len() as u32;
    assert!(span > 0);
    Layout { fields, span }
}

fn reflect(ir: &naga::Module, name: &str) -> Result<Layout, String> {
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

/// Count and stride of the array that is a struct's only member.
fn only_array(ir: &naga::Module, name: &str) -> (u32, u32) {
    let named = |ty: &&naga::Type| ty.name.as_deref() == Some(name);
    let found = ir.types.iter().map(|(_, ty)| ty).find(named);
    if let Some(TypeInner::Struct { members, .. }) = found.map(|ty| &ty.inner) {
        if let [
            TypeInner::Array {
                size: ArraySize::Constant(count),
                stride,
                ..
            },
        ] = members
            .iter()
            .map(|m| &ir.types[m.ty].inner)
            .collect::<Vec<_>>()[..]
        {
            return (count.get(), *stride);
        }
    }
    panic!("{name} is not a struct of one array");
}

fn constant(ir: &naga::Module, name: &str) -> Result<u32, String> {
    let named = |c: &&naga::Constant| c.name.as_deref() == Some(name);
    let found = ir.constants.iter().map(|(_, c)| c).find(named);
    match found.map(|c| &ir.global_expressions[c.init]) {
        Some(Expression::Literal(Literal::U32(value))) => Ok(*value),
        other => Err(format!("{name}: {other:?}")),
    }
}

// ---- bindings

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
    let mut names = match module.program {
        Program::Finish => vec![(0, "params"), (1, "first"), (3, "second"), (6, "scratch")],
        Program::Gather => vec![
            (0, "params"),
            (1, "piece0"),
            (2, "piece1"),
            (3, "piece2"),
            (4, "piece3"),
            (5, "piece4"),
            (6, "scratch"),
        ],
        Program::WdlDifferences => vec![
            (0, "params"),
            (1, "order"),
            (4, "mask"),
            (5, "sides"),
            (6, "scratch"),
        ],
        Program::WdlTheta => vec![(0, "params"), (1, "theta_in"), (6, "scratch"), (7, "grad")],
        Program::Permutation => vec![(0, "params"), (1, "seed"), (7, "images")],
        Program::HcalIndex => vec![
            (0, "params"),
            (3, "labels"),
            (4, "levels"),
            (6, "state"),
            (7, "counters"),
        ],
        Program::Hcal => vec![
            (0, "params"),
            (1, "features"),
            (2, "prototypes"),
            (3, "noise"),
            (4, "scores"),
            (5, "rows"),
            (6, "state"),
            (7, "result"),
        ],
        Program::Balance => vec![
            (0, "params"),
            (1, "losses"),
            (2, "upstream"),
            (3, "state"),
            (4, "weights"),
            (5, "grad_losses"),
            (6, "loss"),
            (7, "grad_state"),
        ],
        Program::Mcm => vec![
            (0, "params"),
            (1, "logits"),
            (2, "targets"),
            (3, "hierarchy"),
            (4, "probabilities"),
            (5, "sides"),
            (6, "scratch"),
            (7, "grad"),
        ],
        Program::Contrastive(part) => contrastive_bindings(part),
        Program::Rows { .. } => vec![
            (0, "params"),
            (1, "logits"),
            (2, "targets"),
            (4, "mask"),
            (5, "sides"),
            (6, "scratch"),
        ],
    };
    if let Program::Rows { targets, grad, .. } = module.program {
        if targets == TargetStorage::Csr {
            names.push((3, "indices"));
        } else if module.files().contains(&"shared/second_f32.wgsl") {
            names.push((3, "second"));
        }
        if grad != GradStorage::InPlace {
            names.push((7, "grad"));
        }
    }
    let owned = |(at, name): (u32, &str)| (at, name.to_owned());
    names.into_iter().map(owned).collect()
}

fn contrastive_bindings(part: ContrastivePart) -> Vec<(u32, &'static str)> {
    let names = match part {
        ContrastivePart::PackF32 | ContrastivePart::PackF16 | ContrastivePart::PackBf16 => {
            "params source labels indices z sets small"
        }
        ContrastivePart::Counts => "params - - sets sets2 small - itself_index",
        ContrastivePart::Pairs => "params z z2 sets sets2 small work itself_index",
        ContrastivePart::Slopes => "params z z2 sets sets2 small work itself_index",
        ContrastivePart::Ends => "params z each loss upstream small work grad",
        ContrastivePart::Relations => "params - - sets sets2 small relation_counts itself_index",
    };
    let names = names
        .split(' ')
        .enumerate()
        .map(|(at, name)| (at as u32, name));
    names.filter(|(_, name)| *name != "-").collect()
}

// ---- files

#[test]
fn files_on_disk_files_in_the_list_and_files_in_use_are_the_same() {
    let mut on_disk = BTreeSet::new();
    let mut folders = vec![folder()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "wgsl") {
                let name = path.strip_prefix(folder()).unwrap().to_str().unwrap();
                on_disk.insert(name.replace('\\', "/"));
            }
        }
    }
    for name in STANDALONE {
        assert!(on_disk.remove(name), "{name} is not there");
    }
    let listed: BTreeSet<String> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(listed.len(), FILES.len(), "a file is listed twice");
    assert_eq!(on_disk, listed);
    let used = |module: Module| module.files().into_iter().map(str::to_owned);
    let used: BTreeSet<String> = Module::all(64).into_iter().flat_map(used).collect();
    assert_eq!(used, listed, "used and listed differ");
    println!("{} files", listed.len());
}

#[test]
fn headers_say_what_a_file_provides() {
    let mut problems = Vec::new();
    // What each file declares, and which other files of a module use it.
    let mut used: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let compositions: BTreeSet<_> = Module::all(64).iter().map(Module::files).collect();
    let sources: BTreeMap<&str, &str> = FILES.iter().copied().collect();
    for files in &compositions {
        let words: Vec<_> = files.iter().map(|f| words(&code(sources[f]))).collect();
        for (i, file) in files.iter().enumerate() {
            for name in declared(&code(sources[file])).into_keys() {
                if (0..files.len()).any(|j| j != i && words[j].contains(&name)) {
                    used.entry(file).or_default().insert(name);
                }
            }
        }
    }
    let mut names = 0;
    for (file, source) in FILES {
        let (provides, expects) = header(source);
        if provides.is_empty() || expects.is_empty() {
            problems.push(format!(
                "{file}: no `provides:` or no `expects:` in the header"
            ));
        }
        let declared = declared(&code(source));
        for (name, binding) in &provides {
            names += 1;
            if name == "the entry points" && source.contains("@compute") {
                continue;
            }
            if declared.get(name) != Some(binding) {
                problems.push(format!(
                    "{file}: provides {name} (binding {binding:?}), says it"
                ));
            }
        }
        let all_entries = provides.contains_key("the entry points");
        for name in used.remove(file).unwrap_or_default() {
            let entry = all_entries
                && source.contains(&format!("@compute @workgroup_size(WG)\nfn {name}("));
            if !entry && !provides.contains_key(&name) {
                problems.push(format!("{file}: others use {name}, the header is silent"));
            }
        }
    }
    assert_eq!(problems, [""; 0]);
    println!("{names} names provided by {} files", FILES.len());
}

#[test]
fn only_the_io_parts_name_f16() {
    for (file, source) in FILES {
        let names_it = words(&code(source)).contains("f16");
        assert_eq!(names_it, F16_FILES.contains(file), "{file}");
    }
}

/// The names under `provides:`, each with the binding the header gives it, and the text under `expects:`.
fn header(source: &str) -> (BTreeMap<String, Option<u32>>, String) {
    let comment: Vec<&str> = source
        .lines()
        .map_while(|line| line.strip_prefix("//"))
        .map(str::trim)
        .collect();
    let comment = comment.join(" ");
    let (comment, expects) = comment.split_once("expects:").unwrap_or((&comment, ""));
    let provides = comment.split_once("provides:").map_or("", |(_, p)| p);
    let mut names = BTreeMap::new();
    let mut depth = 0;
    let commas = |c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    };
    for item in provides.split(commas) {
        let (name, detail) = item.split_once('(').unwrap_or((item, ""));
        let number = detail.strip_prefix("binding ").map(|d| {
            let end = d.find(|c: char| !c.is_ascii_digit()).unwrap_or(d.len());
            d[..end].parse().unwrap()
        });
        if !name.trim().is_empty() {
            names.insert(name.trim().to_owned(), number);
        }
    }
    (names, expects.trim().to_owned())
}

/// WGSL without its comments (line comments are the only ones here).
fn code(source: &str) -> String {
    let stripped = source.lines().map(|line| line.split("//").next().unwrap());
    stripped.collect::<Vec<_>>().join("\n")
}

fn words(code: &str) -> BTreeSet<String> {
    let split = code.split(|c: char| !c.is_alphanumeric() && c != '_');
    split.map(str::to_owned).collect()
}

/// What a file declares at its top level, with bindings.
fn declared(code: &str) -> BTreeMap<String, Option<u32>> {
    let mut names = BTreeMap::new();
    for line in code
        .lines()
        .filter(|line| !line.starts_with([' ', '}', ')']))
    {
        let mut rest = line;
        let mut binding = None;
        while let Some(attribute) = rest.strip_prefix('@') {
            let (attribute, behind) = attribute.split_once(") ").unwrap_or((attribute, ""));
            binding = attribute
                .strip_prefix("binding(")
                .map_or(binding, |n| n.parse().ok());
            rest = behind;
        }
        let Some((keyword, name)) = rest.split_once(['<', ' ']) else {
            continue;
        };
        let name = match keyword {
            "var" => name.split_once("> ").map_or("", |(_, name)| name),
            "fn" | "const" | "struct" | "alias" => name,
            _ => panic!("what is {line:?}?"),
        };
        let end = name.find(|c: char| !c.is_alphanumeric() && c != '_');
        names.insert(name[..end.unwrap_or(name.len())].to_owned(), binding);
    }
    names
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders")
}

// ---- the lints

/// All that needs no variant: one line per problem.
fn lints(ir: &naga::Module, info: &ModuleInfo) -> Vec<String> {
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

fn functions(ir: &naga::Module) -> impl Iterator<Item = (&str, &Function)> {
    let own = ir.functions.iter().map(|(_, f)| f);
    let own = own.map(|f| (f.name.as_deref().unwrap_or(""), f));
    own.chain(
        ir.entry_points
            .iter()
            .map(|e| (e.name.as_str(), &e.function)),
    )
}

/// naga refuses these only in some address spaces and some releases; browsers take none.
fn pointer_parameters(ir: &naga::Module) -> Vec<String> {
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
fn not_finite(ir: &naga::Module) -> Vec<String> {
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
fn unused_bindings(ir: &naga::Module, info: &ModuleInfo) -> Vec<String> {
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
fn float_atomics(ir: &naga::Module) -> Vec<String> {
    let float = |ty: &TypeInner| matches!(ty, TypeInner::Atomic(s) if s.kind == ScalarKind::Float);
    let found = ir.types.iter().filter(|(_, ty)| float(&ty.inner));
    found.map(|_| "an atomic of floats".to_owned()).collect()
}

/// f16 is storage: nothing is computed in it, and only loads and stores of the io parts see it.
fn f16_outside_io(ir: &naga::Module, info: &ModuleInfo) -> Vec<String> {
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
            if scalar == Some(Scalar::F16) && (computes || !F16_FUNCTIONS.contains(&name)) {
                problems.push(format!("{name}: f16 in {expression:?}"));
            }
        }
    }
    problems
}

/// Workgroup memory that an entry point reads and nowhere writes: it is not zeroed, and FXC refuses it.
fn read_before_written(ir: &naga::Module, info: &ModuleInfo) -> Vec<String> {
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
fn indexed_stores(ir: &naga::Module) -> Vec<String> {
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

/// Subgroup builtins as members of a parameter: naga writes HLSL for them that DXC refuses.
fn subgroup_builtins_in_structs(ir: &naga::Module) -> Vec<String> {
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

/// Workgroup memory that each entry point reaches, counted as WebGPU does.
fn workgroup_memory(ir: &naga::Module, info: &ModuleInfo) -> BTreeMap<String, u32> {
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
fn host_workgroup_memory(reduce: Reduce, workgroup: u32) -> u32 {
    let variant = Variant {
        reduce,
        workgroup,
        half: Half::Packed,
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

// ---- uniformity

/// The lanes over which something is certainly the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Same {
    Lane,
    Subgroup,
    Workgroup,
}

/// Barriers that not all lanes of a workgroup reach together, and subgroup operations that not all lanes of a subgroup
/// do. Walks each entry point through the functions it calls; whatever it cannot follow counts as non-uniform. Where it
/// differs from browsers it is the stricter.
fn non_uniform(ir: &naga::Module) -> Vec<String> {
    let mut problems = BTreeSet::new();
    for entry in &ir.entry_points {
        let mut walk = Uniformity {
            ir,
            entry: &entry.name,
            known: HashMap::new(),
            problems: &mut problems,
        };
        let argument = |argument: &naga::FunctionArgument| {
            whole(match &ir.types[argument.ty].inner {
                TypeInner::Struct { members, .. } => {
                    members.iter().map(|m| builtin(&m.binding)).collect()
                }
                _ => vec![builtin(&argument.binding)],
            })
        };
        let arguments = entry.function.arguments.iter().map(argument).collect();
        walk.function(&entry.function, arguments, Same::Workgroup);
    }
    problems.into_iter().collect()
}

/// Of the members of a struct. Browsers look at it as a whole, and so do we where a lane may differ from the next.
fn whole(mut members: Vec<Same>) -> Vec<Same> {
    if members.contains(&Same::Lane) {
        members.fill(Same::Lane);
    }
    members
}

fn least(members: &[Same]) -> Same {
    *members.iter().min().unwrap_or(&Same::Workgroup)
}

fn builtin(binding: &Option<Binding>) -> Same {
    match binding {
        Some(Binding::BuiltIn(BuiltIn::WorkGroupId | BuiltIn::NumWorkGroups)) => Same::Workgroup,
        Some(Binding::BuiltIn(BuiltIn::SubgroupSize | BuiltIn::SubgroupId)) => Same::Subgroup,
        _ => Same::Lane,
    }
}

/// Function, arguments, control.
type Call = (Handle<Function>, Vec<Vec<Same>>, Same);

struct Uniformity<'a> {
    ir: &'a naga::Module,
    entry: &'a str,
    /// What calls returned.
    known: HashMap<Call, Same>,
    problems: &'a mut BTreeSet<String>,
}

/// One function while it is walked. Everything in here only ever falls.
struct Frame<'a> {
    function: &'a Function,
    /// Of each argument; of each of its members if it is a struct.
    arguments: Vec<Vec<Same>>,
    values: Vec<Same>,
    locals: HashMap<Handle<LocalVariable>, Same>,
    calls: HashMap<Handle<Expression>, Same>,
    /// Control behind the returns so far.
    returned: Same,
    /// Control behind the breaks and continues so far, of every loop (true) or switch around.
    exits: Vec<(bool, Same)>,
    result: Same,
}

impl<'a> Uniformity<'a> {
    /// The uniformity of what the function returns.
    fn function(
        &mut self,
        function: &'a Function,
        arguments: Vec<Vec<Same>>,
        control: Same,
    ) -> Same {
        let mut frame = Frame {
            function,
            arguments,
            values: Vec::new(),
            locals: HashMap::new(),
            calls: HashMap::new(),
            returned: Same::Workgroup,
            exits: Vec::new(),
            result: Same::Workgroup,
        };
        // Until the locals stay as they are: a loop may read early what it writes late.
        loop {
            let before = (frame.locals.clone(), frame.calls.clone());
            frame.values = self.values(&frame);
            frame.returned = Same::Workgroup;
            frame.result = Same::Workgroup;
            self.block(&mut frame, &function.body, control);
            if before == (frame.locals.clone(), frame.calls.clone()) {
                return frame.result;
            }
        }
    }

    fn values(&self, frame: &Frame<'a>) -> Vec<Same> {
        let mut values: Vec<Same> = Vec::new();
        for (handle, expression) in frame.function.expressions.iter() {
            // Operands come first in the arena.
            let of = |handles: &[Handle<Expression>]| {
                let each = handles.iter().map(|h| values[h.index()]);
                each.min().unwrap_or(Same::Workgroup)
            };
            let value = match *expression {
                Expression::Literal(_)
                | Expression::Constant(_)
                | Expression::Override(_)
                | Expression::ZeroValue(_)
                | Expression::GlobalVariable(_)
                | Expression::LocalVariable(_)
                | Expression::ArrayLength(_)
                | Expression::WorkGroupUniformLoadResult { .. } => Same::Workgroup,
                Expression::Compose { ref components, .. } => of(components),
                Expression::Access { base, index } => of(&[base, index]),
                Expression::AccessIndex { base, index } => match frame.function.expressions[base] {
                    Expression::FunctionArgument(i) => {
                        let argument = &frame.arguments[i as usize];
                        let member = argument.get(index as usize);
                        *member.unwrap_or(&least(argument))
                    }
                    _ => of(&[base]),
                },
                Expression::Splat { value, .. } => of(&[value]),
                Expression::Swizzle { vector, .. } => of(&[vector]),
                Expression::FunctionArgument(i) => least(&frame.arguments[i as usize]),
                Expression::Load { pointer } => {
                    let stored = match frame.function.expressions[root(frame.function, pointer)] {
                        Expression::LocalVariable(v) => {
                            *frame.locals.get(&v).unwrap_or(&Same::Workgroup)
                        }
                        Expression::GlobalVariable(v) => match self.ir.global_variables[v].space {
                            AddressSpace::Uniform => Same::Workgroup,
                            AddressSpace::Storage { access }
                                if !access.contains(StorageAccess::STORE) =>
                            {
                                Same::Workgroup
                            }
                            _ => Same::Lane,
                        },
                        _ => Same::Lane,
                    };
                    stored.min(of(&[pointer]))
                }
                Expression::Unary { expr, .. } | Expression::As { expr, .. } => of(&[expr]),
                Expression::Binary { left, right, .. } => of(&[left, right]),
                Expression::Select {
                    condition,
                    accept,
                    reject,
                } => of(&[condition, accept, reject]),
                Expression::Relational { argument, .. } => of(&[argument]),
                Expression::Math {
                    arg,
                    arg1,
                    arg2,
                    arg3,
                    ..
                } => [Some(arg), arg1, arg2, arg3]
                    .into_iter()
                    .flatten()
                    .map(|h| of(&[h]))
                    .min()
                    .unwrap_or(Same::Lane),
                Expression::CallResult(_) => *frame.calls.get(&handle).unwrap_or(&Same::Workgroup),
                _ => Same::Lane,
            };
            values.push(value);
        }
        values
    }

    fn block(&mut self, frame: &mut Frame<'a>, block: &'a Block, control: Same) {
        for statement in block.iter() {
            let exits = frame.exits.iter().map(|(_, control)| *control);
            let here = exits.chain([control, frame.returned]).min().unwrap();
            let value =
                |frame: &Frame<'_>, handle: Handle<Expression>| frame.values[handle.index()];
            match *statement {
                Statement::Emit(_) | Statement::MemoryBarrier(_) | Statement::Atomic { .. } => {}
                Statement::Block(ref block) => self.block(frame, block, control),
                Statement::If {
                    condition,
                    ref accept,
                    ref reject,
                } => {
                    let inside = control.min(value(frame, condition));
                    self.block(frame, accept, inside);
                    self.block(frame, reject, inside);
                }
                Statement::Switch {
                    selector,
                    ref cases,
                } => {
                    let inside = control.min(value(frame, selector));
                    frame.exits.push((false, Same::Workgroup));
                    for case in cases {
                        self.block(frame, &case.body, inside);
                    }
                    frame.exits.pop();
                }
                Statement::Loop {
                    ref body,
                    ref continuing,
                    break_if,
                } => {
                    frame.exits.push((true, Same::Workgroup));
                    // What leaves the loop late decides who is in it from the second round on.
                    loop {
                        let before = (frame.exits.clone(), frame.returned);
                        self.block(frame, body, control);
                        self.block(frame, continuing, control);
                        let last = frame.exits.last_mut().unwrap();
                        last.1 = break_if.map_or(last.1, |b| last.1.min(frame.values[b.index()]));
                        if before == (frame.exits.clone(), frame.returned) {
                            break;
                        }
                    }
                    frame.exits.pop();
                }
                Statement::Break => {
                    let last = frame.exits.last_mut().unwrap();
                    last.1 = last.1.min(here);
                }
                Statement::Continue => {
                    let around = frame.exits.iter_mut().rev().find(|(is_loop, _)| *is_loop);
                    let around = around.unwrap();
                    around.1 = around.1.min(here);
                }
                Statement::Return { value: returned } => {
                    frame.returned = frame.returned.min(here);
                    let returned = returned.map_or(here, |v| here.min(value(frame, v)));
                    frame.result = frame.result.min(returned);
                }
                Statement::Kill => frame.returned = Same::Lane,
                Statement::ControlBarrier(Barrier::SUB_GROUP) => {
                    self.require("a subgroup barrier", here, Same::Subgroup);
                }
                Statement::ControlBarrier(_) => self.require("a barrier", here, Same::Workgroup),
                Statement::WorkGroupUniformLoad { pointer, .. } => {
                    let both = here.min(value(frame, pointer));
                    self.require("workgroupUniformLoad", both, Same::Workgroup);
                }
                Statement::SubgroupBallot { .. }
                | Statement::SubgroupGather { .. }
                | Statement::SubgroupCollectiveOperation { .. } => {
                    self.require("a subgroup operation", here, Same::Subgroup);
                }
                Statement::Store { pointer, value: v } => {
                    let at = root(frame.function, pointer);
                    if let Expression::LocalVariable(local) = frame.function.expressions[at] {
                        let stored = here.min(value(frame, v)).min(value(frame, pointer));
                        fall(&mut frame.locals, local, stored);
                    }
                }
                Statement::Call {
                    function,
                    ref arguments,
                    result,
                } => {
                    let callee = &self.ir.functions[function];
                    let mut values = Vec::new();
                    for (handle, argument) in arguments.iter().zip(&callee.arguments) {
                        // Behind a pointer anything may be stored.
                        if self.ir.types[argument.ty].inner.pointer_space().is_some() {
                            let at = root(frame.function, *handle);
                            if let Expression::LocalVariable(v) = frame.function.expressions[at] {
                                fall(&mut frame.locals, v, Same::Lane);
                            }
                            values.push(vec![Same::Lane]);
                        } else {
                            values.push(match frame.function.expressions[*handle] {
                                Expression::FunctionArgument(i) => {
                                    frame.arguments[i as usize].clone()
                                }
                                Expression::Compose { ty, ref components }
                                    if matches!(
                                        self.ir.types[ty].inner,
                                        TypeInner::Struct { .. }
                                    ) =>
                                {
                                    whole(components.iter().map(|c| value(frame, *c)).collect())
                                }
                                _ => vec![value(frame, *handle)],
                            });
                        }
                    }
                    let key = (function, values.clone(), here);
                    let returned = match self.known.get(&key) {
                        Some(returned) => *returned,
                        None => self.function(callee, values, here),
                    };
                    self.known.insert(key, returned);
                    if let Some(result) = result {
                        fall(&mut frame.calls, result, returned);
                    }
                }
                ref other => {
                    let entry = self.entry;
                    self.problems
                        .insert(format!("{entry}: {other:?}, which no kernel needs"));
                }
            }
        }
    }

    fn require(&mut self, what: &str, here: Same, needed: Same) {
        if here < needed {
            let entry = self.entry;
            self.problems
                .insert(format!("{entry}: {what} that not every lane reaches"));
        }
    }
}

/// The variable or argument that a pointer leads into.
fn root(function: &Function, mut pointer: Handle<Expression>) -> Handle<Expression> {
    while let Expression::Access { base, .. } | Expression::AccessIndex { base, .. } =
        function.expressions[pointer]
    {
        pointer = base;
    }
    pointer
}

fn fall<K: std::hash::Hash + Eq>(levels: &mut HashMap<K, Same>, key: K, to: Same) {
    let level = levels.entry(key).or_insert(Same::Workgroup);
    *level = to.min(*level);
}

// ---- the lints refuse what they are for

/// Bodies of `main`, with what they get in `UNIFORMITY`.
const UNIFORM: [&str; 17] = [
    "workgroupBarrier();",
    "if (params.x == 0u) { workgroupBarrier(); }",
    "if (group.x >= params.y) { return; } barrier();",
    "for (var i = group.x; i < params.x; i += 64u) { barrier(); }",
    "if (lane < 32u) { data[lane] = 1u; } barrier();",
    "for (var i = lane; i < 100u; i += 64u) { data[i] = 1u; } barrier();",
    "data[lane] = early(lane); barrier();",
    "var n = params.x; if (group.y == 1u) { n = 2u; } while (n > 0u) { n /= 2u; barrier(); }",
    "let n = workgroupUniformLoad(&count); if (n > 0u) { barrier(); }",
    "switch params.x { case 1u: { barrier(); } default: {} }",
    "guarded(params.y); for (var i = 0u; i < half(params.x); i++) { barrier(); }",
    "if (params.x > 1u && group.x > 2u) { barrier(); }",
    "for (var d = 1u; d < size; d *= 2u) { data[lane] = subgroupShuffleXor(lane, d); } barrier();",
    "for (var i = 0u; i < params.x; i++) { for (var j = lane; j < 9u; j++) { if (j == 7u) { break; } } barrier(); }",
    "loop { barrier(); continuing { break if params.x == 0u; } }",
    "if (group_struct.id.x == 1u) { barrier(); }",
    "if (second(Pair(size, params.x)) > 1u) { barrier(); }",
];
const NON_UNIFORM: [&str; 27] = [
    "if (lane < 32u) { workgroupBarrier(); }",
    "if (lane < 32u) { barrier(); }",
    "if (lane < 32u) { storageBarrier(); }",
    "if (lane < 32u) { return; } barrier();",
    "if (data[0] == 1u) { barrier(); }",
    "if (shared_words[0] == 1u) { barrier(); }",
    "if (own == 1u) { barrier(); }",
    "if (atomicLoad(&votes) == 1u) { barrier(); }",
    "for (var i = lane; i < 100u; i += 64u) { barrier(); }",
    "for (var i = 0u; i < params.x; i++) { if (i == lane) { break; } barrier(); }",
    "for (var i = 0u; i < params.x; i++) { barrier(); if (i == lane) { break; } }",
    "for (var i = 0u; i < params.x; i++) { if (i == lane) { return; } } barrier();",
    "for (var i = 0u; i < params.x; i++) { if (i == lane) { continue; } barrier(); }",
    "var n = params.x; if (lane == 1u) { n = 2u; } while (n > 0u) { n /= 2u; barrier(); }",
    "var n = 0u; for (var i = 0u; i < 3u; i++) { if (n > 0u) { barrier(); } n = lane; }",
    "var n = array<u32, 4>(); n[lane % 4u] = 1u; if (n[0] > 0u) { barrier(); }",
    "var n = params.x; change(&n, lane); if (n > 0u) { barrier(); }",
    "if (early(lane) > 0u) { barrier(); }",
    "guarded(params.y); guarded(lane);",
    "switch lane { case 1u: { barrier(); } default: {} }",
    "if (params.x > 1u && lane > 2u) { barrier(); }",
    "if (mixed.id.x == 1u) { barrier(); }",
    "if (second(Pair(lane, params.x)) > 1u) { barrier(); }",
    "if (lane < 3u) { data[lane] = subgroupAdd(lane); }",
    "if (subgroupAdd(lane) > 3u) { barrier(); }",
    "if (lane < 3u) { data[lane] = workgroupUniformLoad(&count); }",
    "loop { barrier(); continuing { break if lane == 0u; } }",
];
/// Browsers take the first, where the subgroup size is the same for the workgroup; not every driver promises it.
const STRICTER: [&str; 1] = ["if (size > 8u) { barrier(); }"];

const UNIFORMITY: &str = "
@group(0) @binding(0) var<uniform> params: vec4<u32>;
@group(0) @binding(1) var<storage, read_write> data: array<u32>;
var<workgroup> shared_words: array<u32, 64>;
var<workgroup> count: u32;
var<workgroup> votes: atomic<u32>;
var<private> own: u32;
fn barrier() { workgroupBarrier(); }
fn guarded(n: u32) { if (n > 0u) { barrier(); } }
fn half(n: u32) -> u32 { if (n > 100u) { return 50u; } return n / 2u; }
fn early(n: u32) -> u32 { if (n > 3u) { return 1u; } return 0u; }
fn change(p: ptr<function, u32>, n: u32) { *p = n; }
struct Pair { first: u32, second: u32 }
fn second(pair: Pair) -> u32 { return pair.second; }
struct Mixed { @builtin(local_invocation_id) own: vec3<u32>, @builtin(workgroup_id) id: vec3<u32> }
struct Group { @builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) all: vec3<u32> }
@compute @workgroup_size(64) fn main(PARAMETERS) { BODY }
";

fn uniformity_shader(body: &str) -> String {
    let mut parameters = "@builtin(local_invocation_index) lane: u32".to_owned();
    if body.contains("size") {
        parameters += ", @builtin(subgroup_size) size: u32";
    }
    parameters += match body {
        _ if body.contains("mixed") => ", mixed: Mixed",
        _ if body.contains("group_struct") => ", group_struct: Group",
        _ => ", @builtin(workgroup_id) group: vec3<u32>",
    };
    let text = UNIFORMITY.replace("PARAMETERS", &parameters);
    text.replace("BODY", body)
}

#[test]
fn barriers_in_non_uniform_control_flow_are_found() {
    for (bodies, uniform) in [
        (UNIFORM.as_slice(), true),
        (&NON_UNIFORM, false),
        (&STRICTER, false),
    ] {
        for body in bodies {
            let text = uniformity_shader(body);
            let ir = parse(&text).unwrap();
            // naga takes them all: that is why the lint is there.
            let info = validate(&ir, Capabilities::SUBGROUP);
            assert!(info.is_ok(), "{body}: {info:?}");
            assert_eq!(non_uniform(&ir).is_empty(), uniform, "{body}");
        }
    }
}

#[test]
fn too_much_workgroup_memory_is_found() {
    let (ir, info) = small(
        "var<workgroup> a: array<u32, 4000>;
         var<workgroup> b: array<u32, 4000>;
         fn touch() { b[1] = 1u; }
         @compute @workgroup_size(64) fn both() { a[0] = 1u; touch(); }
         @compute @workgroup_size(64) fn one() { touch(); }",
    );
    let found = workgroup_memory(&ir, &info);
    assert_eq!((found["both"], found["one"]), (32000, 16000));
    assert!(found["both"] > WORKGROUP_MEMORY);
}

#[test]
fn pointer_parameters_are_found() {
    let text = |space: &str| {
        format!(
            "var<workgroup> a: u32; var<private> b: u32;
             fn put(p: ptr<{space}, u32>) {{ *p = 1u; }}
             @compute @workgroup_size(64) fn main() {{ var c = 0u; a = b + c; }}"
        )
    };
    for (space, right) in [("function", true), ("private", true), ("workgroup", false)] {
        let ir = parse(&text(space)).unwrap();
        assert_eq!(pointer_parameters(&ir).is_empty(), right, "{space}");
    }
}

#[test]
fn constants_that_are_not_finite_are_found() {
    let text = |value: &str| {
        format!(
            "const INF = 0xff800000u;
             @group(0) @binding(1) var<storage, read_write> a: array<f32>;
             @compute @workgroup_size(64) fn main() {{ a[0] = {value}; }}"
        )
    };
    for (value, right) in [
        ("3.4028234663852886e38f", true),
        ("bitcast<f32>(0x3f800000u)", true),
        ("bitcast<f32>(0x7f800000u)", false),
        ("bitcast<f32>(-1)", false),
        ("bitcast<f32>(INF)", false),
    ] {
        let (ir, _) = small(&text(value));
        assert_eq!(not_finite(&ir).is_empty(), right, "{value}");
    }
    // naga itself refuses those that it computes.
    assert!(parse(&text("1e38f * 10.0f")).is_err());
}

#[test]
fn unused_bindings_are_found() {
    let (ir, info) = small(
        "@group(0) @binding(1) var<storage, read_write> a: array<f32>;
         @group(0) @binding(2) var<storage, read_write> b: array<f32>;
         @group(0) @binding(3) var<storage, read_write> c: array<f32>;
         fn never() { c[0] = 1.0; }
         @compute @workgroup_size(64) fn one() { a[0] = 1.0; }
         @compute @workgroup_size(64) fn two() { b[0] = 1.0; }",
    );
    assert_eq!(unused_bindings(&ir, &info).len(), 1);
}

#[test]
fn float_atomics_are_found() {
    let text = "@group(0) @binding(1) var<storage, read_write> a: atomic<f32>;
                @compute @workgroup_size(64) fn main() { atomicAdd(&a, 1.0); }";
    let ir = parse(text).unwrap();
    assert!(validate(&ir, Capabilities::SHADER_FLOAT32_ATOMIC).is_ok());
    assert_eq!(float_atomics(&ir).len(), 1);
    assert!(
        float_atomics(&parse(&text.replace("f32", "u32").replace("1.0", "1u")).unwrap()).is_empty()
    );
}

#[test]
fn f16_outside_the_io_parts_is_found() {
    let text = |name: &str, value: &str| {
        format!(
            "enable f16;
             @group(0) @binding(1) var<storage, read_write> a: array<f16>;
             fn {name}(i: u32) {{ a[i] = {value}; }}
             @compute @workgroup_size(64) fn main() {{ {name}(0u); }}"
        )
    };
    for (name, value, right) in [
        ("grad_store", "f16(f32(a[1]) * 2.0)", true),
        ("grad_store", "a[1] * 2.0h", false),
        ("grad_store", "-a[1]", false),
        ("grad_store", "exp(a[1])", false),
        ("other", "f16(f32(a[1]) * 2.0)", false),
    ] {
        let ir = parse(&text(name, value)).unwrap();
        let info = validate(&ir, Capabilities::SHADER_FLOAT16).unwrap();
        assert_eq!(
            f16_outside_io(&ir, &info).is_empty(),
            right,
            "{name}: {value}"
        );
    }
}

#[test]
fn workgroup_memory_that_is_never_written_is_found() {
    let (ir, info) = small(
        "var<workgroup> a: array<u32, 64>;
         var<workgroup> b: atomic<u32>;
         @group(0) @binding(1) var<storage, read_write> c: array<u32>;
         fn read() { c[0] = a[1]; }
         @compute @workgroup_size(64) fn writes() { a[0] = 1u; read(); atomicAdd(&b, 1u); }
         @compute @workgroup_size(64) fn reads() { read(); atomicStore(&b, 1u); }",
    );
    assert_eq!(read_before_written(&ir, &info).len(), 1);
}

#[test]
fn locals_written_by_index_are_found() {
    for (store, right) in [
        ("v.x = 1.0; v[1] = 2.0; w[2] = v.y;", true),
        (
            "for (var i = 0u; i < n; i++) { v = select(v, vec2<f32>(1.0), vec2<bool>(i == 0u)); }",
            true,
        ),
        ("v[n] = 1.0;", false),
        ("if (n > 1u) { loop { w[n] = 1.0; break; } }", false),
        ("s.v[n] = 1.0;", false),
    ] {
        let text = format!(
            "struct S {{ v: vec2<f32> }}
             fn f(n: u32) {{ var v = vec2<f32>(); var w = array<f32, 4>(); var s = S(); {store} }}"
        );
        assert_eq!(
            indexed_stores(&parse(&text).unwrap()).is_empty(),
            right,
            "{store}"
        );
    }
}

#[test]
fn subgroup_builtins_in_structs_are_found() {
    for (builtin, right) in [("local_invocation_index", true), ("subgroup_size", false)] {
        let text = format!(
            "struct S {{ @builtin({builtin}) a: u32 }}
             @compute @workgroup_size(64) fn main(s: S, @builtin(subgroup_id) b: u32) {{}}"
        );
        let ir = parse(&text).unwrap();
        assert!(validate(&ir, Capabilities::SUBGROUP).is_ok());
        assert_eq!(
            subgroup_builtins_in_structs(&ir).is_empty(),
            right,
            "{builtin}"
        );
    }
}

#[test]
fn headers_are_read_as_written() {
    let source = "// What it is.\n// provides: a (binding 2, the b), c,\n//           d\n// expects:  e\n\n// provides: no\n@group(0) @binding(2) var<storage, read_write> a: array<u32>;\nfn c(x: u32) -> u32 {\n    return a[x]; // e\n}\nconst d = 1u;\nvar<workgroup> g: u32;\nstruct H {\n    i: u32,\n}\n";
    let (provides, expects) = header(source);
    let names = |map: BTreeMap<String, Option<u32>>| format!("{map:?}");
    assert_eq!(names(provides), r#"{"a": Some(2), "c": None, "d": None}"#);
    assert_eq!(expects, "e");
    assert_eq!(
        names(declared(&code(source))),
        r#"{"H": None, "a": Some(2), "c": None, "d": None, "g": None}"#
    );
    assert!(!words(&code(source)).contains("e"));
}

/// A small shader that naga takes without any capability.
fn small(text: &str) -> (naga::Module, ModuleInfo) {
    let ir = parse(text).unwrap();
    let info = validate(&ir, Capabilities::empty()).unwrap();
    (ir, info)
}

// ---- compilation

fn parse(text: &str) -> Result<naga::Module, String> {
    naga::front::wgsl::parse_str(text).map_err(|e| e.emit_to_string(text))
}

fn validate(ir: &naga::Module, capabilities: Capabilities) -> Result<ModuleInfo, String> {
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    validator
        .validate(ir)
        .map_err(|e| format!("{:?}", e.into_inner()))
}

/// What a module may use of naga: what its variant asks of the device.
fn capabilities(module: &Module, text: &str) -> Capabilities {
    let mut all = Capabilities::empty();
    all.set(Capabilities::SHADER_FLOAT16, module.needs_f16());
    all.set(Capabilities::SUBGROUP, module.needs_subgroup());
    // Every backend has these conversions.
    let converts = code(text).contains("pack2x16float(");
    all.set(Capabilities::SHADER_FLOAT16_IN_FLOAT32, converts);
    all
}

/// Writes an entry point as wgpu-hal 30 does for the layout of src/context.rs, and returns the bytes written.
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
        lang_version: if module.needs_subgroup() {
            (1, 3)
        } else {
            (1, 0)
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

// ---- running over all modules

/// Runs a check on every module of both sizes. Returns how many there are.
fn for_every_module(check: impl Fn(&Module, &str) -> Result<(), String> + Sync) -> usize {
    let modules: Vec<Module> = WORKGROUPS.into_iter().flat_map(Module::all).collect();
    assert!(modules.len() > 1000);
    for_each(modules, check)
}

/// Runs a check on modules, on all cores, and reports every failure by the module's name. Returns how many there are.
fn for_each(
    modules: Vec<Module>,
    check: impl Fn(&Module, &str) -> Result<(), String> + Sync,
) -> usize {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, |n| n.get()) {
            scope.spawn(|| {
                while let Some(module) = modules.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(e) = check(module, &module.compose()) {
                        failures.lock().unwrap().push(format!("{module}: {e}"));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    let few = failures.iter().take(10).cloned().collect::<Vec<_>>();
    assert!(
        failures.is_empty(),
        "{} modules fail:\n{}",
        failures.len(),
        few.join("\n")
    );
    modules.len()
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: {found:?}, expected {expected:?}"))
}

fn none(problems: Vec<String>) -> Result<(), String> {
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems.join("; "))
    }
}
