//! The case table as data, and what a host made of it.

use super::call::{Folder, Origin, failed, make, put};
use crate::report;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;
use wgloss::check::{self, Case, Depth, Outcome};
use wgloss::host::Gpu;
use wgloss::{Error, Variant};

const INDEX: &str = "cases.json";

fn table(variant: Variant) -> Vec<Box<dyn Case>> {
    check::cases(Depth::Sample, variant, variant)
}

/// Writes the cases, a folder each, with a list of them.
pub fn write(gpu: &Gpu, path: &Path, only: &str) -> Result<ExitCode, Error> {
    let variant = gpu.context().variant();
    let mut folder = Folder::create(path, "../wgsl/")?;
    let mut list = Vec::new();
    for (number, case) in table(variant).iter().enumerate() {
        let text = case.to_string();
        if !text.contains(only) {
            continue;
        }
        let exported = check::export(gpu, &**case)?;
        let name = format!("{number:03}");
        let own = path.join(&name);
        make(&own)?;
        for (at, (_, bytes)) in exported.buffers.iter().enumerate() {
            put(&own.join(format!("before-{at}.bin")), bytes)?;
        }
        let origin = Origin {
            loss: case.name().into(),
            settings: text.clone(),
            variant,
        };
        for (at, call) in exported.calls.iter().enumerate() {
            folder.write(
                &format!("{name}/call-{at}.json"),
                &origin,
                call,
                &exported.tensors,
            )?;
        }
        list.push(json!({ "folder": name, "case": text, "calls": exported.calls.len() }));
    }
    if list.is_empty() {
        return Err(Error::refused(
            "--only",
            format!("no case has {only:?} in its name"),
        ));
    }
    let all = json!({ "variant": variant.to_string(), "cases": list });
    put(&path.join(INDEX), all.to_string().as_bytes())?;
    report::print(&format!(
        "{} cases, {} WGSL files",
        list.len(),
        folder.shaders()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Compares what a host has left beside each case.
pub fn judge(path: &Path) -> Result<ExitCode, Error> {
    let index = path.join(INDEX);
    let bytes = std::fs::read(&index).map_err(|error| failed(&index, &error))?;
    let all: Value = serde_json::from_slice(&bytes).map_err(|error| failed(&index, &error))?;
    let variant = all["variant"].as_str().unwrap_or_default();
    let table = table(variant.parse()?);
    let (mut count, mut worst, mut failures) = (0, 0.0_f64, 0);
    for listed in all["cases"].as_array().into_iter().flatten() {
        let folder = listed["folder"].as_str().unwrap_or_default();
        let found = folder
            .parse()
            .ok()
            .and_then(|number: usize| table.get(number));
        let case = found.filter(|case| listed["case"] == case.to_string());
        let case = case.ok_or_else(|| {
            Error::refused(
                INDEX,
                format!("{} is no case of this version", listed["case"]),
            )
        })?;
        let mut after = Vec::new();
        loop {
            let at = after.len();
            let (before, file) = ["before", "after"]
                .map(|when| path.join(folder).join(format!("{when}-{at}.bin")))
                .into();
            if !before.exists() {
                break;
            }
            after.push(std::fs::read(&file).map_err(|error| failed(&file, &error))?);
        }
        count += 1;
        match check::judge(&**case, &after)? {
            Outcome::Passed(share) => worst = worst.max(share),
            Outcome::Failed(message) => {
                failures += 1;
                report::print(&format!("FAILED {folder} {case}: {message}"))?;
            }
        }
    }
    if count == 0 {
        return Err(Error::refused(INDEX, "has no cases"));
    }
    if failures > 0 {
        report::print(&format!("{failures} of {count} cases are off"))?;
        return Ok(ExitCode::FAILURE);
    }
    report::print(&format!(
        "all {count} cases within tolerance of the CPU reference, largest error {worst:.3} of it"
    ))?;
    Ok(ExitCode::SUCCESS)
}
