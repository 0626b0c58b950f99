//! Prepared calls by the places of their tensors. burn's pool hands out the same places step after step, so that most calls of
//! a training loop have been prepared before.

use crate::fused::Call;
use crate::fused::buffers::Key;
use std::sync::{Arc, Mutex, PoisonError};
use wgloss::Prepared;

/// As many are kept. Each keeps the buffers that it reaches alive, even where burn has freed them, so this is small.
const KEPT: usize = 32;

/// The prepared calls of a device, those used last at the end.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<Vec<Kept>>);

#[derive(Debug)]
struct Kept {
    call: Arc<Call>,
    places: Vec<Key>,
    prepared: Arc<Prepared>,
}

impl Cache {
    pub(super) fn find(&self, call: &Arc<Call>, places: &[Key]) -> Option<Arc<Prepared>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |kept: &Kept| {
            kept.places == places && (Arc::ptr_eq(&kept.call, call) || kept.call == *call)
        };
        let at = all.iter().rposition(same)?;
        let found = all.remove(at);
        let prepared = found.prepared.clone();
        all.push(found);
        Some(prepared)
    }

    pub(super) fn keep(&self, call: &Arc<Call>, places: Vec<Key>, prepared: &Arc<Prepared>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == KEPT {
            all.remove(0);
        }
        all.push(Kept {
            call: call.clone(),
            places,
            prepared: prepared.clone(),
        });
    }
}
