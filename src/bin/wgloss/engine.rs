//! Where a command computes: the options, and the way from `auto` to the reference.

use crate::report;
use clap::{Args, ValueEnum};
use wgloss::host::{Engine, Gpu};
use wgloss::{Error, ErrorKind, Variant};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// The GPU if there is one, else the CPU reference, with a notice
    #[default]
    Auto,
    /// The GPU
    Gpu,
    /// The CPU reference
    Cpu,
}

#[derive(Args, Clone, Debug)]
pub struct EngineArgs {
    /// Where to compute
    #[arg(long, value_enum, default_value_t)]
    backend: Backend,
    /// Part of an adapter's name; asks for a GPU
    #[arg(long, value_name = "TEXT")]
    adapter: Option<String>,
    /// Kernel variant, such as tree-64-packed; asks for a GPU
    #[arg(long, value_name = "TEXT")]
    variant: Option<Variant>,
    /// Multiply matrices of f16 and bf16 (embeddings; hidden states and weights) by cooperative matrices, as --variant
    /// X-cooperative does: an experimental feature of wgpu, which may have bugs; asks for a GPU
    #[arg(long)]
    cooperative: bool,
}

impl EngineArgs {
    /// Opens what the options ask for.
    pub fn open(&self) -> Result<Engine, Error> {
        let asks = [
            ("--adapter", self.adapter.is_some()),
            ("--variant", self.variant.is_some()),
            ("--cooperative", self.cooperative),
        ];
        let asks = asks.iter().find(|(_, given)| *given);
        match (self.backend, asks) {
            (Backend::Cpu, Some((option, _))) => {
                Err(Error::value(option, "a GPU backend", "--backend cpu"))
            }
            (Backend::Cpu, None) => Ok(Engine::reference()),
            (Backend::Auto, None) => Ok(Engine::auto()),
            (Backend::Auto | Backend::Gpu, _) => {
                let name = self.adapter.as_deref();
                let cooperative = self.cooperative || self.variant.is_some_and(|v| v.cooperative);
                let gpu = match cooperative {
                    true => Gpu::open_cooperative(name)?,
                    false => Gpu::open(name)?,
                };
                Ok(Engine::on(match self.variant {
                    Some(variant) => gpu.with_variant(Variant {
                        cooperative,
                        ..variant
                    })?,
                    None => gpu,
                }))
            }
        }
    }

    /// Opens an engine and works with it. Where `auto` found a GPU that cannot do this work, the reference does it.
    /// That the reference was used instead of a GPU is said on stderr, after the work: an error stays alone there.
    pub fn compute<T>(
        &self,
        work: impl Fn(&Engine) -> Result<T, Error>,
    ) -> Result<(Engine, T), Error> {
        let mut engine = self.open()?;
        let mut notice = engine.notice().map(String::from);
        let mut done = work(&engine);
        let free = self.backend == Backend::Auto
            && self.adapter.is_none()
            && self.variant.is_none()
            && !self.cooperative;
        if let Err(error) = &done {
            let beyond = [ErrorKind::Unsupported, ErrorKind::OutOfMemory].contains(&error.kind());
            if free && beyond && engine.gpu().is_some() {
                notice = Some(format!("computing on the CPU reference ({error})"));
                engine = Engine::reference();
                done = work(&engine);
            }
        }
        let done = done?;
        if let Some(notice) = notice {
            report::notice(&notice);
        }
        Ok((engine, done))
    }
}

/// The kernel variant in use; `reference` on the CPU.
pub fn variant(engine: &Engine) -> String {
    match engine.gpu() {
        Some(gpu) => gpu.context().variant().to_string(),
        None => "reference".into(),
    }
}
