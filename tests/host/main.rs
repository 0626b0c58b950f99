//! The host layer on wgpu's noop device, which validates as any device does and computes nothing: checks, plans,
//! pipelines, recording. Needs no GPU.

mod any_call;
mod any_hierarchy;
mod bytes;
mod call;
mod calls;
mod context;
mod contrastive;
mod edges;
mod errors;
mod gradients;
mod hierarchy;
mod linear;
mod metrics;
mod overlap;
mod pipelines;
mod plans;
mod record;
mod refusals;
mod scopes;
mod settings;
mod shards;
mod sizes;
#[cfg(feature = "serde")]
mod text;
mod verify;
mod views;
mod wdl;

use arbitrary::{Result, Unstructured};
use wgloss::check::Rng;

/// Runs something on bytes of each seed. What fails has a message of its own; this names the seed.
fn seeded(cases: u64, len: usize, mut run: impl FnMut(&mut Unstructured<'_>) -> Result<()>) {
    struct Named(u64);
    impl Drop for Named {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("seed {}", self.0);
            }
        }
    }
    for seed in 0..cases {
        let named = Named(seed);
        let mut rng = Rng(seed);
        let bytes: Vec<u8> = (0..len / 8)
            .flat_map(|_| rng.word().to_le_bytes())
            .collect();
        run(&mut Unstructured::new(&bytes)).expect("as many bytes as are wanted");
        drop(named);
    }
}
