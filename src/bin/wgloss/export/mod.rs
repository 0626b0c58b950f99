//! `wgloss export`: what a call is, for any host of WebGPU to run.

mod call;
mod cases;

use crate::options::{self, Loss};
use crate::report;
use crate::subject::{self, Size, Subject};
use call::{Folder, Origin};
use clap::{ArgMatches, Args, Command};
use std::path::PathBuf;
use std::process::ExitCode;
use wgloss::host::Gpu;
use wgloss::{Entry, Error, Half, Reduce, Variant, wgpu};

const NOTES: &str = "\
Writes call.json and the WGSL of its kernels. docs/export.md says how a host runs a call, docs/call.schema.json what the
file holds. No GPU is needed, and no data are written: each tensor has a buffer of its own, which the host fills.

`wgloss export --cases -o DIR` writes the cases of `wgloss check --quick`, with their data. A host that runs them writes
what each buffer holds afterwards beside it, and `wgloss export --judge DIR` compares that with the CPU reference, as
`wgloss check` does.

Exit code 2 and one line on stderr where arguments are wrong; 1 where something could not be written or is off.";

/// What every loss takes beside its settings.
#[derive(Args)]
struct ExportArgs {
    #[command(flatten)]
    size: Size,
    #[command(flatten)]
    kernels: KernelArgs,
    /// Folder to write to
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

#[derive(Args)]
struct KernelArgs {
    /// Kernel variant. The default runs on every device; others ask for the feature shader-f16 or more lanes. Those of
    /// subgroups are planned for one device
    #[arg(long, value_name = "VARIANT", default_value_t = PORTABLE)]
    variant: Variant,
}

/// All cases instead of one call.
#[derive(Args)]
struct CasesArgs {
    /// The cases of `wgloss check --quick`, with their data
    #[arg(long, requires = "output", conflicts_with = "judge")]
    cases: bool,
    /// Cases: with this in their name alone
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    only: String,
    #[command(flatten)]
    kernels: KernelArgs,
    /// Cases: folder to write to
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Compare what a host has found with the reference
    #[arg(long, value_name = "DIR", conflicts_with_all = ["only", "variant", "output"])]
    judge: Option<PathBuf>,
}

const PORTABLE: Variant = Variant {
    reduce: Reduce::Tree,
    workgroup: 64,
    half: Half::Packed,
    cooperative: false,
};

/// The command with a subcommand for each loss; that of a last layer has the options of the loss that the arguments name.
pub fn command(command: Command, layer: Option<&'static Entry>) -> Command {
    let command = command.after_long_help(NOTES);
    let command = options::per_loss(command, Loss::measured(layer), |command, loss| {
        let (command, data) = subject::augment(command, loss);
        ExportArgs::augment_args(command).after_long_help(data)
    });
    let about = command.get_about().cloned().unwrap_or_default();
    CasesArgs::augment_args(command)
        .about(about)
        .subcommand_required(false)
        .args_conflicts_with_subcommands(true)
}

pub fn export(matches: &ArgMatches) -> Result<ExitCode, Error> {
    if matches.subcommand().is_some() {
        return one(matches);
    }
    let args: CasesArgs = options::read(matches)?;
    match (&args.judge, &args.output) {
        (Some(folder), _) => cases::judge(folder),
        (None, Some(folder)) if args.cases => {
            cases::write(&nowhere(args.kernels.variant)?, folder, &args.only)
        }
        _ => {
            let reason = "wgloss export needs one, or --cases, or --judge";
            Err(Error::refused("loss", reason))
        }
    }
}

/// Writes one call.
fn one(matches: &ArgMatches) -> Result<ExitCode, Error> {
    let (loss, matches) = options::chosen(matches)?;
    let args: ExportArgs = options::read(matches)?;
    let subject = Subject::chosen(loss, args.size, matches)?;
    let gpu = nowhere(args.kernels.variant)?;
    let work = subject.workload.on_gpu(&gpu)?;
    let call = work
        .call()
        .ok_or_else(|| Error::refused("call", "was not kept"))?;
    let mut folder = Folder::create(&args.output, "")?;
    let origin = Origin {
        loss: subject.loss.into(),
        settings: subject.workload.settings(),
        variant: gpu.context().variant(),
    };
    folder.write("call.json", &origin, call, work.tensors())?;
    let (steps, scratch) = (call.steps.len(), call.scratch_bytes);
    let what = subject.name();
    report::print(&format!(
        "{} {what}: {steps} dispatches, {} WGSL files, {scratch} bytes of scratch",
        subject.loss,
        folder.shaders()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// A device that computes nothing, with the limits that every device has.
fn nowhere(variant: Variant) -> Result<Gpu, Error> {
    if variant.reduce == Reduce::Subgroup || variant.cooperative {
        return Err(Error::value(
            "--variant",
            "one without subgroups, whose calls are planned for one device",
            variant,
        ));
    }
    let lanes = variant.workgroup.max(256);
    let limits = wgpu::Limits {
        max_compute_invocations_per_workgroup: lanes,
        max_compute_workgroup_size_x: lanes,
        ..wgpu::Limits::default()
    };
    let features = match variant.half == Half::Native {
        true => wgpu::Features::SHADER_F16,
        false => wgpu::Features::empty(),
    };
    let gpu = Gpu::noop(features, limits)?.with_variant(variant)?;
    gpu.context().keep_calls();
    Ok(gpu)
}
