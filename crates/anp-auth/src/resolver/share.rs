//! What strangers can make us fetch, and that it is not in the way of those who were here before.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;
use tokio::sync::Semaphore;

use super::budget::Budget;
use crate::did::Did;

/// Fetches of one share under way at once, look-ups that outlived theirs included.
const MAX_FETCHES: usize = 64;

/// How many DIDs that had a document are remembered, and for how long.
const KNOWN: u64 = 100_000;
const KNOWN_FOR: Duration = Duration::from_secs(86_400);

/// The share of each DID.
pub(super) struct Shares {
    /// Of those that nobody knows: anybody can make up as many as are allowed.
    strangers: Share,
    /// Of those that had a document lately.
    acquaintances: Share,
    known: Cache<Did, ()>,
}

/// What some DIDs have together.
pub(super) struct Share {
    /// Their fetches of each host.
    pub(super) budget: Budget,
    /// Their fetches at once.
    pub(super) places: Arc<Semaphore>,
}

impl Default for Shares {
    fn default() -> Self {
        Self {
            strangers: Share::default(),
            acquaintances: Share::default(),
            known: Cache::builder()
                .max_capacity(KNOWN)
                .time_to_live(KNOWN_FOR)
                .build(),
        }
    }
}

impl Default for Share {
    fn default() -> Self {
        Self {
            budget: Budget::new(),
            places: Arc::new(Semaphore::new(MAX_FETCHES)),
        }
    }
}

impl Shares {
    /// The share of `did`.
    pub(super) fn of(&self, did: &Did) -> &Share {
        match self.known.contains_key(did) {
            true => &self.acquaintances,
            false => &self.strangers,
        }
    }

    /// `did` is real, and no stranger any more.
    pub(super) fn had_a_document(&self, did: &Did) {
        self.known.insert(did.clone(), ());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn strangers_are_not_in_the_way_of_those_who_had_a_document() {
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
