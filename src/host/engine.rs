//! Where the convenience layer computes.

use crate::host::gpu::Gpu;

/// Where things are computed: a GPU, or the reference where there is none.
#[derive(Clone, Debug)]
pub struct Engine {
    gpu: Option<Gpu>,
    notice: Option<String>,
}

impl Engine {
    /// The best GPU that passes the self-test, else the reference; [`Engine::notice`] says why.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn auto() -> Engine {
        match Gpu::open(None) {
            Ok(gpu) => Engine::on(gpu),
            Err(error) => Engine {
                gpu: None,
                notice: Some(format!("computing on the CPU reference ({error})")),
            },
        }
    }

    /// A GPU.
    pub fn on(gpu: Gpu) -> Engine {
        Engine {
            gpu: Some(gpu),
            notice: None,
        }
    }

    /// The CPU reference.
    pub fn reference() -> Engine {
        Engine {
            gpu: None,
            notice: None,
        }
    }

    /// The GPU, if it is one.
    pub fn gpu(&self) -> Option<&Gpu> {
        self.gpu.as_ref()
    }

    /// `gpu` or `cpu`.
    pub fn backend(&self) -> &'static str {
        if self.gpu.is_some() { "gpu" } else { "cpu" }
    }

    /// The adapter's name, or that it is the reference.
    pub fn adapter(&self) -> String {
        match &self.gpu {
            Some(gpu) => gpu.info().name.clone(),
            None => "CPU reference (f64)".into(),
        }
    }

    /// The driver and its version; empty for the reference.
    pub fn driver(&self) -> String {
        match &self.gpu {
            Some(gpu) => format!("{} {}", gpu.info().driver, gpu.info().driver_info)
                .trim()
                .into(),
            None => String::new(),
        }
    }

    /// Why the reference is used though a GPU was looked for.
    pub fn notice(&self) -> Option<&str> {
        self.notice.as_deref()
    }
}
