//! `wgloss adapters`: what this machine has, and what would be used.

use crate::report;
use std::process::ExitCode;
use wgloss::host::{self, Gpu};
use wgloss::{Context, Error, wgpu};

const HEADER: [&str; 9] = [
    "",
    "name",
    "type",
    "backend",
    "driver",
    "features",
    "max binding",
    "self-test",
    "variant",
];

pub fn adapters() -> Result<ExitCode, Error> {
    let mut table = vec![HEADER.map(String::from)];
    let mut taken = false;
    for adapter in host::adapters() {
        let info = adapter.get_info();
        let tested = Gpu::from_adapter(&adapter).and_then(|gpu| gpu.qualified());
        let passed = tested.is_ok();
        let variant = match tested {
            Ok((gpu, faults)) => {
                let variant = gpu.context().variant();
                for fault in faults {
                    report::notice(&format!("{}: {fault}; used without: {variant}", info.name));
                }
                variant.to_string()
            }
            Err(error) => {
                report::notice(&error);
                "-".into()
            }
        };
        // In the order of `Gpu::open`, which takes the first that passes.
        let mark = if passed && !taken { "*" } else { "" };
        taken |= passed;
        table.push([
            mark.into(),
            info.name.clone(),
            format!("{:?}", info.device_type),
            format!("{:?}", info.backend),
            format!("{} {}", info.driver, info.driver_info)
                .trim()
                .into(),
            features(&adapter, &info),
            mebibytes(adapter.limits().max_storage_buffer_binding_size),
            if passed { "pass" } else { "FAIL" }.into(),
            variant,
        ]);
    }
    if table.len() > 1 {
        report::print(&aligned(&table))?;
    }
    if taken {
        report::print("* taken by --backend auto and gpu")?;
        return Ok(ExitCode::SUCCESS);
    }
    report::notice(
        &"no adapter passes the self-test: install a Vulkan driver; scripts/driver.sh installs a software one on \
          Debian and Ubuntu",
    );
    Ok(ExitCode::FAILURE)
}

/// The features that the kernels use where they are there.
fn features(adapter: &wgpu::Adapter, info: &wgpu::AdapterInfo) -> String {
    let useful = Context::useful_features(adapter);
    let mut all = Vec::new();
    if useful.contains(wgpu::Features::SUBGROUP) {
        let (least, most) = (info.subgroup_min_size, info.subgroup_max_size);
        all.push(match least == most {
            true => format!("subgroups of {least}"),
            false => format!("subgroups of {least}-{most}"),
        });
    }
    if useful.contains(wgpu::Features::SHADER_F16) {
        all.push("f16".into());
    }
    if useful.contains(wgpu::Features::TIMESTAMP_QUERY) {
        all.push("timestamps".into());
    }
    // Used where asked for alone.
    if let Some(side) = Context::cooperative_matrices(adapter) {
        all.push(format!("cooperative {side}x{side}"));
    }
    if all.is_empty() {
        return "-".into();
    }
    all.join(", ")
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// The rows with their columns aligned.
fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
