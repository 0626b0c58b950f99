//! Whether a driver computes what it is told to, and the choice of one that does.

use crate::device::caps::Variant;
use crate::device::judge::Fault;
use crate::device::tensor::{DType, Tensor};
use crate::error::{Error, ErrorKind};
use crate::host::gpu::{Gpu, adapters};

/// Runs the probes of [`Context::verify`](crate::Context::verify) in the variant in use. The software Vulkan driver that
/// Debian 12 ships (Mesa 22.3.6) fails the one of long loops. No kernel of this crate needs such a loop (but the gradient
/// to a threshold per label, where sparse targets have over 128 positives in row after row); a driver that is wrong there
/// is trusted nowhere.
///
/// # Errors
/// What the driver did instead, in plain words; device errors.
pub fn self_test(gpu: &Gpu) -> Result<(), Error> {
    match gpu.verify()?.first() {
        None => Ok(()),
        Some(fault) => Err(gpu.blamed(fault)),
    }
}

/// The variant that does without all that is wrong, or the first fault that none does without.
fn around(variant: Variant, faults: &[Fault]) -> Result<Variant, &Fault> {
    faults.iter().try_fold(variant, |variant, fault| {
        // Cooperative matrices were asked for, and need all of it.
        let without = variant.without(fault.probe);
        without.filter(|_| !variant.cooperative).ok_or(fault)
    })
}

impl Gpu {
    /// Runs the probes of [`Context::verify`](crate::Context::verify) in the variant in use, and gives what the driver got
    /// wrong.
    ///
    /// # Errors
    /// Device errors.
    pub fn verify(&self) -> Result<Vec<Fault>, Error> {
        let len = self.context().verify_words();
        let words = self.numbers(len)?;
        let probes = (self.context()).verify(&Tensor::vector(&words, DType::U32, len))?;
        self.run(&[probes.call()])?;
        Ok(probes.faults(&self.read(&words, len)?))
    }

    /// The same device in the variant in use or, where the driver is wrong about something that another does without, in that
    /// one; and what it was wrong about.
    ///
    /// # Errors
    /// A fault that no variant does without, in plain words; device errors.
    pub fn qualified(&self) -> Result<(Gpu, Vec<Fault>), Error> {
        let faults = self.verify()?;
        match around(self.context().variant(), &faults) {
            Ok(variant) => Ok((self.with_variant(variant)?, faults)),
            Err(fault) => Err(self.blamed(fault)),
        }
    }

    /// A fault as an error that names the driver.
    fn blamed(&self, fault: &Fault) -> Error {
        let info = self.info();
        Error::because(
            ErrorKind::Unsupported,
            format!(
                "driver of {} ({} {})",
                info.name, info.driver, info.driver_info
            ),
            fault,
        )
    }

    /// Opens the best adapter that passes the [`self_test`], or the best of those whose name contains `name` (upper and
    /// lower case alike). Where its driver is wrong about subgroups or WGSL's f16 alone, it is opened in the variant without
    /// them, [`Gpu::qualified`].
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if there is none; otherwise the error of the last adapter tried.
    pub fn open(name: Option<&str>) -> Result<Gpu, Error> {
        Gpu::open_by(name, Gpu::from_adapter)
    }

    /// The same with cooperative matrices: the best adapter that offers them. See [`Gpu::cooperative`] for what that means.
    ///
    /// # Errors
    /// As [`Gpu::open`].
    pub fn open_cooperative(name: Option<&str>) -> Result<Gpu, Error> {
        Gpu::open_by(name, |adapter| Gpu::cooperative(adapter, adapter.limits()))
    }

    fn open_by(
        name: Option<&str>,
        open: impl Fn(&wgpu::Adapter) -> Result<Gpu, Error>,
    ) -> Result<Gpu, Error> {
        let wanted = name.unwrap_or("").to_lowercase();
        let mut last = Error::new(
            ErrorKind::Unsupported,
            "adapter",
            match name {
                Some(name) => format!("one whose name contains {name:?}"),
                None => "a GPU or a software driver for one".into(),
            },
            "none",
        );
        for adapter in adapters() {
            if !adapter.get_info().name.to_lowercase().contains(&wanted) {
                continue;
            }
            match open(&adapter).and_then(|gpu| gpu.qualified()) {
                Ok((gpu, _)) => return Ok(gpu),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::judge::Probe;

    #[test]
    fn a_driver_is_gone_round_where_a_variant_does_without_its_faults() -> Result<(), Error> {
        let (shuffles, native) = (Probe::Shuffles, Probe::NativeHalves);
        for (variant, probes, expected) in [
            ("subgroup-64-native", &[][..], Ok("subgroup-64-native")),
            ("subgroup-64-native", &[shuffles], Ok("tree-64-native")),
            (
                "subgroup-64-native",
                &[Probe::Subgroups],
                Ok("tree-64-native"),
            ),
            ("subgroup-64-native", &[native], Ok("subgroup-64-packed")),
            (
                "subgroup-256-native",
                &[native, shuffles],
                Ok("tree-256-packed"),
            ),
            (
                "subgroup-64-native",
                &[shuffles, Probe::Atomics],
                Err(Probe::Atomics),
            ),
            ("tree-64-packed", &[Probe::Loops], Err(Probe::Loops)),
            ("subgroup-256-native-cooperative", &[native], Err(native)),
        ] {
            let fault = |probe: &Probe| Fault {
                probe: *probe,
                reason: String::new(),
            };
            let faults: Vec<Fault> = probes.iter().map(fault).collect();
            let found = around(variant.parse()?, &faults).map(|found| found.to_string());
            let found = found.map_err(|fault| fault.probe);
            assert_eq!(found, expected.map(str::to_owned), "{variant}, {probes:?}");
        }
        Ok(())
    }
}
