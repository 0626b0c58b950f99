//! The lints refuse what they are for.

use crate::files::{code, declared, header, words};
use crate::lints::{
    f16_outside_io, float_atomics, indexed_stores, non_uniform, not_finite, pointer_parameters,
    read_before_written, subgroup_builtins_in_structs, unused_bindings, workgroup_memory,
};
use crate::{WORKGROUP_MEMORY, parse, validate};
use naga::valid::{Capabilities, ModuleInfo};
use std::collections::BTreeMap;

/// Bodies of `main`, with what they get in `UNIFORMITY`.
const UNIFORM: [&str; 18] = [
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
    "for (var i = 0u; i < params.x; i++) { workgroupBarrier(); if (params.y > 3u) { for (var j = 0u; j < i; j++) { data[j] = 1u; } } }",
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
/// Browsers take them: the first where the subgroup size is the same for the workgroup, which not every driver promises; of the
/// second FXC says that not all lanes reach the barrier.
const STRICTER: [&str; 2] = [
    "if (size > 8u) { barrier(); }",
    "for (var i = 0u; i < params.x; i++) { workgroupBarrier(); if (lane < 3u) { for (var j = 0u; j < i; j++) { data[j] = 1u; } } }",
];
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
        ("put_one", "f16(f32(a[1]) * 2.0)", true),
        ("put_one", "a[1] * 2.0h", false),
        ("put_one", "-a[1]", false),
        ("put_one", "exp(a[1])", false),
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

#[test]
fn cooperative_matrices_in_non_uniform_control_flow_are_found() {
    for (condition, place, right) in [
        ("group.x > 0u", "64u * team", true),
        ("lane < 32u", "0u", false),
        ("group.x > 0u", "lane", false),
    ] {
        let text = format!(
            "enable f16; enable wgpu_cooperative_matrix;
             var<workgroup> a: array<f32, 512>;
             @compute @workgroup_size(64) fn main(@builtin(local_invocation_index) lane: u32,
                @builtin(subgroup_id) team: u32, @builtin(workgroup_id) group: vec3<u32>) {{
                let c = coop_mat8x8<f32, C>();
                if ({condition}) {{ coopStoreT(c, &a[{place}], 8u); }}
             }}"
        );
        let ir = parse(&text).unwrap();
        // naga takes them all.
        let needed = Capabilities::SUBGROUP
            | Capabilities::SHADER_FLOAT16
            | Capabilities::COOPERATIVE_MATRIX;
        let info = validate(&ir, needed);
        assert!(info.is_ok(), "{text}: {info:?}");
        assert_eq!(non_uniform(&ir).is_empty(), right, "{text}");
    }
}
