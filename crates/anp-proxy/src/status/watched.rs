//! What the status listener looks at, which a reload changes.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use anp_receiver::Monitor;

/// The receivers of this process, and what became of reloads.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    receivers: Mutex<Vec<Monitor>>,
    taken: AtomicU64,
    refused: AtomicU64,
}

impl Watched {
    /// From now on these are the receivers. Their names tell them apart.
    pub(crate) fn follow(&self, receivers: Vec<Monitor>) {
        *self
            .receivers
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = receivers;
    }

    /// Counts a reload; `taken` says that what was read can be.
    pub(crate) fn count(&self, taken: bool) {
        let count = if taken { &self.taken } else { &self.refused };
        count.fetch_add(1, Relaxed);
    }

    pub(super) fn receivers(&self) -> Vec<Monitor> {
        let receivers = self.receivers.lock();
        receivers.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reloads by what became of them.
    pub(super) fn reloads(&self) -> [(&'static str, u64); 2] {
        let (taken, refused) = (self.taken.load(Relaxed), self.refused.load(Relaxed));
        [("taken", taken), ("refused", refused)]
    }
}
