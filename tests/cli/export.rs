//! `wgloss export`.

use crate::support::*;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use wgloss::CATALOG;

/// A call that was written holds together: shaders are there with their entry points, and whatever is bound lies within its
/// memory. scripts/dawn.sh holds calls against the schema.
fn check(path: &Path) -> Value {
    let call: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(call["form"], 1);
    let number = |value: &Value| value.as_u64().unwrap();
    let block = |name: &str| call["parameters"][name].as_str().unwrap().len() as u64 / 2;
    for step in call["steps"].as_array().unwrap() {
        let wgsl = path.parent().unwrap().join(step["wgsl"].as_str().unwrap());
        let text = fs::read_to_string(&wgsl).unwrap();
        assert!(
            text.contains(&format!("fn {}(", step["entry"].as_str().unwrap())),
            "{step}"
        );
        let place = &step["parameters"];
        let end = number(&place["offset"]) + number(&place["size"]);
        assert!(end <= block(place["block"].as_str().unwrap()), "{step}");
        for bound in step["bindings"].as_array().unwrap() {
            let size = match bound["memory"].as_str().unwrap() {
                "buffer" => number(&call["buffers"][number(&bound["buffer"]) as usize]),
                "scratch" => number(&call["scratch_bytes"]),
                _ => continue,
            };
            assert!(
                number(&bound["offset"]) + number(&bound["size"]) <= size,
                "{bound}"
            );
            let declared = format!("@binding({}) var<storage", bound["binding"]);
            assert!(
                bound["written"] == false || text.contains(&declared),
                "{bound}"
            );
        }
    }
    call
}

fn names(call: &Value, flag: &str) -> BTreeSet<String> {
    let all = call["tensors"].as_array().unwrap().iter();
    let some = all.filter(|tensor| tensor[flag] == true);
    some.map(|tensor| tensor["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn every_loss_is_exported() {
    let rows = CATALOG.iter().map(|entry| (entry.name, "5x37"));
    let others = [
        ("mcm", "3x40"),
        ("hcal", "6x64"),
        ("contrastive", "9x20"),
        ("metrics", "4x30"),
        ("linear", "4x100"),
    ];
    for (loss, shape) in rows.chain(others) {
        let output = Folder::new(&format!("export-{loss}")).path("call");
        let mut args = vec!["export", loss, "--shape", shape, "-o", &output];
        if loss == "linear" {
            args.extend(["--loss", "zlpr"]);
        }
        let ran = wgloss(&args);
        assert_eq!(ran.code, Some(0), "{loss}: {}", ran.stderr);
        let call = check(&Path::new(&output).join("call.json"));
        assert_eq!(call["loss"], loss);
        assert_eq!(call["limits"]["maxComputeInvocationsPerWorkgroup"], 64);
        let (used, written) = (names(&call, "used"), names(&call, "written"));
        assert!(
            written.is_subset(&used) && written.len() < used.len(),
            "{loss}: {call}"
        );
        let output = if loss == "metrics" { "words" } else { "loss" };
        assert!(
            written.iter().any(|name| name.contains(output)),
            "{loss}: {written:?}"
        );
    }
}

#[test]
fn what_is_written_is_the_call() {
    let path = &Folder::new("export-one").path("call")[..];
    let output = Path::new(path);
    let args = [
        "export",
        "zlpr",
        "--shape",
        "64x1000",
        "--dtype",
        "f16",
        "--targets",
        "bits",
    ];
    let ran = wgloss(&[&args[..], &["--outputs", "both-same", "-o", path]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let call = check(&output.join("call.json"));
    let shape = |name: &str| {
        let all = call["tensors"].as_array().unwrap();
        let tensor = all.iter().find(|tensor| tensor["name"] == name).unwrap();
        (
            tensor["dtype"].clone(),
            tensor["rows"].clone(),
            tensor["cols"].clone(),
        )
    };
    assert_eq!(shape("logits"), ("f16".into(), 64.into(), 1000.into()));
    assert_eq!(shape("target_bits"), ("u32".into(), 64.into(), 32.into()));
    assert_eq!(shape("grad_logits"), ("f16".into(), 64.into(), 1000.into()));
    let expected = ["grad_logits", "loss"].map(String::from);
    assert_eq!(names(&call, "written"), BTreeSet::from(expected));
    // Subgroups are of one size on one device; half in registers is a feature.
    let ran = wgloss(&[&args[..], &["-o", path, "--variant", "subgroup-64-native"]].concat());
    assert!(ran.refusal(2).starts_with("--variant"));
    let ran = wgloss(&[&args[..], &["-o", path, "--variant", "tree-128-native"]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let call = check(&output.join("call.json"));
    assert_eq!(call["features"], serde_json::json!(["shader-f16"]));
}

#[test]
fn cases_are_judged() {
    let path = Folder::new("export-cases").path("");
    let folder = Path::new(&path);
    let ran = wgloss(&["export", "--cases", "--only", "mcm", "-o", &path]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let list: Value =
        serde_json::from_slice(&fs::read(folder.join("cases.json")).unwrap()).unwrap();
    let cases = list["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let own = folder.join(case["folder"].as_str().unwrap());
        for call in 0..case["calls"].as_u64().unwrap() {
            check(&own.join(format!("call-{call}.json")));
        }
    }
    // Nothing was run: a file is missing, then every output is what it was before.
    let ran = wgloss(&["export", "--judge", &path]);
    assert!(ran.refusal(1).contains("after-0.bin"));
    for case in cases {
        let own = folder.join(case["folder"].as_str().unwrap());
        for at in 0.. {
            let Ok(bytes) = fs::read(own.join(format!("before-{at}.bin"))) else {
                break;
            };
            fs::write(own.join(format!("after-{at}.bin")), bytes).unwrap();
        }
    }
    let ran = wgloss(&["export", "--judge", &path]);
    let off = format!("{} of {} cases are off", cases.len(), cases.len());
    assert!(
        ran.code == Some(1) && ran.stdout.contains(&off),
        "{}",
        ran.stdout
    );
    let ran = wgloss(&["export", "--cases", "--only", "no such", "-o", &path]);
    assert!(ran.refusal(2).starts_with("--only"));
    assert!(wgloss(&["export"]).refusal(2).starts_with("loss"));
    let ran = wgloss(&["export", "--judge", &path, "--only", "mcm"]);
    assert!(ran.refusal(2).ends_with("does not go together with --only"));
}
