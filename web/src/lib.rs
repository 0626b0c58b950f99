//! What the page calls: the losses there are, a loss and its gradient by WebGPU and by the reference, the qualification of
//! the visitor's GPU, a small benchmark. Everything shown is wgloss's own; this crate carries numbers to it and back.

mod batch;
mod measure;

use batch::{Batch, Found, Loss};
use js_sys::Function;
use wasm_bindgen::prelude::{JsError, JsValue, wasm_bindgen};
use wgloss::host::{self, Engine, Gpu};

/// What the page calls the versions of.
#[wasm_bindgen]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").into()
}

/// Every loss of the page.
#[wasm_bindgen]
pub fn losses() -> Vec<Loss> {
    batch::all()
}

/// What the reference finds.
///
/// # Errors
/// What wgloss refuses.
#[wasm_bindgen]
pub async fn reference(batch: Batch) -> Result<Found, JsError> {
    Ok(batch.compute(&Engine::reference()).await?)
}

/// The visitor's GPU.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Device {
    gpu: Gpu,
}

#[wasm_bindgen]
impl Device {
    /// Opens the adapter that the browser gives, if it passes the self-test.
    ///
    /// # Errors
    /// Where there is none, or it computes wrongly.
    pub async fn open() -> Result<Device, JsError> {
        let mut adapters = host::adapters_async().await.into_iter();
        let none = || JsError::new("this browser has WebGPU, but gives no adapter");
        let adapter = adapters.next().ok_or_else(none)?;
        let gpu = Gpu::from_adapter_async(&adapter).await?;
        host::self_test_async(&gpu).await?;
        Ok(Device { gpu })
    }

    /// The kernel variant in use.
    pub fn variant(&self) -> String {
        self.gpu.context().variant().to_string()
    }

    /// What the GPU finds.
    ///
    /// # Errors
    /// What wgloss or the device refuses; a device that is lost.
    pub async fn compute(&self, batch: Batch) -> Result<Found, JsError> {
        Ok(batch.compute(&Engine::on(self.gpu.clone())).await?)
    }

    /// Runs the cases of `wgloss check --quick`, and says what came of them, under the lines of `machine`. `progress` is
    /// told how many of how many are done.
    ///
    /// # Errors
    /// Those of `progress`.
    pub async fn qualify(&self, machine: String, progress: Function) -> Result<String, JsValue> {
        measure::qualify(&self.gpu, &machine, &progress).await
    }

    /// Measures some losses of rows, and says what came of it, under the lines of `machine`.
    ///
    /// # Errors
    /// What the device refuses; those of `progress`.
    pub async fn benchmark(&self, machine: String, progress: Function) -> Result<String, JsValue> {
        measure::benchmark(&self.gpu, &machine, &progress).await
    }

    /// Ends the device, as a driver's failure would: to see what the page says then.
    pub fn destroy(&self) {
        self.gpu.context().device().destroy();
    }
}
