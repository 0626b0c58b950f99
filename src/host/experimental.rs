//! The one place of the crate where something is unsafe by its name: consent to wgpu's experimental features.

/// Leave to make a device with experimental features, for callers who asked for one.
#[expect(
    unsafe_code,
    reason = "wgpu takes consent to experimental features in no other form; nothing is dereferenced here"
)]
pub(super) fn consent() -> wgpu::ExperimentalFeatures {
    // SAFETY: wgpu asks for the knowledge that these features may have bugs that are undefined behaviour. Callers of this
    // layer have it from the documentation of what they call, which does nothing of the kind unasked.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}
