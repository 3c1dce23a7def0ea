//! What unknown DIDs can make us fetch, and that it is not in the way of those seen before.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;
use tokio::sync::Semaphore;

use super::budget::Budget;
use crate::did::Did;

/// Fetches of one share under way at once, look-ups that outlived theirs included.
const MAX_FETCHES: usize = 64;

/// Requests that wait at once for documents of one share, whatever they name. Whoever waits holds a
/// place of its caller's, and some of those must be left to who needs no fetch.
const MAX_WAITING: usize = 256;

/// How many DIDs that had a document are remembered, and for how long.
const SEEN: u64 = 100_000;
const SEEN_FOR: Duration = Duration::from_secs(86_400);

/// The share of each DID.
pub(super) struct Shares {
    /// Of those that nobody knows: anybody can make up as many as are allowed.
    unknown: Share,
    /// Of those that had a document lately.
    known: Share,
    /// Which those are.
    seen: Cache<Did, ()>,
}

/// What some DIDs have together.
pub(super) struct Share {
    /// Their fetches of each host.
    pub(super) budget: Budget,
    /// Their fetches at once.
    pub(super) places: Arc<Semaphore>,
    /// Those who wait for them.
    pub(super) waiting: Semaphore,
}

impl Default for Shares {
    fn default() -> Self {
        Self {
            unknown: Share::default(),
            known: Share::default(),
            seen: Cache::builder()
                .max_capacity(SEEN)
                .time_to_live(SEEN_FOR)
                .build(),
        }
    }
}

impl Default for Share {
    fn default() -> Self {
        Self {
            budget: Budget::new(),
            places: Arc::new(Semaphore::new(MAX_FETCHES)),
            waiting: Semaphore::new(MAX_WAITING),
        }
    }
}

impl Shares {
    /// The share of `did`.
    pub(super) fn of(&self, did: &Did) -> &Share {
        match self.seen.contains_key(did) {
            true => &self.known,
            false => &self.unknown,
        }
    }

    /// `did` is real, and known from now on.
    pub(super) fn had_a_document(&self, did: &Did) {
        self.seen.insert(did.clone(), ());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn unknown_dids_are_not_in_the_way_of_those_who_had_a_document() {
        let shares = Shares::default();
        let alice: Did = "did:wba:did.example:alice".parse().unwrap();
        shares.had_a_document(&alice);
        let now = Instant::now();
        let takes = |did: &Did| shares.of(did).budget.take(did.host(), now);
        let forged = (0..1000).map(|n| format!("did:wba:did.example:{n}").parse().unwrap());
        let taken = forged.filter(|did: &Did| takes(did)).count();
        assert!(taken < 1000);
        assert!(takes(&alice));
    }
}
