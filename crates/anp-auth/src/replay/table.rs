//! The nonces in memory, by DID and by the time they expire.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Hash, MAX_NONCES, MAX_PER_DID, Once, SpendError};

/// Every nonce that has not expired.
#[derive(Debug)]
pub(super) struct Table {
    max_per_did: usize,
    max: usize,
    by_did: HashMap<Hash, HashSet<Hash>>,
    by_expiry: BTreeMap<i64, Vec<(Hash, Hash)>>,
    count: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self::bounded(MAX_PER_DID, MAX_NONCES)
    }
}

impl Table {
    fn bounded(max_per_did: usize, max: usize) -> Self {
        Self {
            max_per_did,
            max,
            by_did: HashMap::new(),
            by_expiry: BTreeMap::new(),
            count: 0,
        }
    }

    /// Spends a nonce, after forgetting what has expired.
    pub(super) fn spend(&mut self, once: &Once) -> Result<(), SpendError> {
        self.forget_before(once.now);
        let nonces = self.by_did.get(&once.did);
        if nonces.is_some_and(|nonces| nonces.contains(&once.nonce)) {
            return Err(SpendError::Used);
        }
        let most = |max: usize| if once.leaves_room { max - max / 4 } else { max };
        if nonces.is_some_and(|nonces| nonces.len() >= most(self.max_per_did)) {
            return Err(SpendError::FullForDid);
        }
        if self.count >= most(self.max) {
            return Err(SpendError::Full);
        }
        self.insert(once.did, once.nonce, once.expires_at);
        Ok(())
    }

    /// Takes over a nonce that was spent before.
    pub(super) fn insert(&mut self, did: Hash, nonce: Hash, expires_at: i64) {
        if self.by_did.entry(did).or_default().insert(nonce) {
            let expiring = self.by_expiry.entry(expires_at).or_default();
            expiring.push((did, nonce));
            self.count += 1;
        }
    }

    fn forget_before(&mut self, now: i64) {
        while let Some(first) = self.by_expiry.first_entry().filter(|e| *e.key() < now) {
            for (did, nonce) in first.remove() {
                self.count -= 1;
                if let Some(nonces) = self.by_did.get_mut(&did) {
                    nonces.remove(&nonce);
                    if nonces.is_empty() {
                        self.by_did.remove(&did);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn once(did: &str, nonce: &str, expires_at: i64, now: i64) -> Once {
        Once::new(&did.parse().unwrap(), nonce, expires_at, now)
    }

    const A: &str = "did:wba:a.example";
    const B: &str = "did:wba:b.example";

    #[test]
    fn a_nonce_is_spent_once_by_each_did_until_it_expires() {
        let mut table = Table::default();
        assert_eq!(table.spend(&once(A, "n", 10, 0)), Ok(()));
        assert_eq!(table.spend(&once(A, "n", 10, 0)), Err(SpendError::Used));
        assert_eq!(table.spend(&once(B, "n", 10, 0)), Ok(()));
        assert_eq!(table.spend(&once(A, "m", 10, 0)), Ok(()));
        assert_eq!(table.spend(&once(A, "n", 20, 10)), Err(SpendError::Used));
        assert_eq!(table.spend(&once(A, "n", 20, 11)), Ok(()));
        assert_eq!((table.count, table.by_did.len()), (1, 1));
    }

    #[test]
    fn full_means_refuse_and_never_forget() {
        let mut table = Table::bounded(2, 3);
        assert_eq!(table.spend(&once(A, "1", 10, 0)), Ok(()));
        assert_eq!(table.spend(&once(A, "2", 20, 0)), Ok(()));
        let another = once(A, "3", 20, 0);
        assert_eq!(table.spend(&another), Err(SpendError::FullForDid));
        assert_eq!(table.spend(&once(A, "1", 10, 0)), Err(SpendError::Used));
        assert_eq!(table.spend(&once(B, "1", 20, 0)), Ok(()));
        assert_eq!(table.spend(&once(B, "2", 20, 0)), Err(SpendError::Full));
        assert_eq!(table.spend(&once(B, "1", 20, 0)), Err(SpendError::Used));
        assert_eq!(
            table.spend(&another.leaving_room()),
            Err(SpendError::FullForDid)
        );
        // What has expired makes place.
        assert_eq!(table.spend(&once(A, "3", 30, 11)), Ok(()));
        assert_eq!(table.spend(&once(B, "2", 30, 11)), Err(SpendError::Full));
        assert_eq!(table.spend(&once(B, "2", 30, 21)), Ok(()));
        assert_eq!(table.count, 2);
    }

    #[test]
    fn what_leaves_room_cannot_take_the_last_quarter() {
        let mut table = Table::bounded(4, 8);
        let spend = |table: &mut Table, did, n: usize, leaves: bool| {
            let once = once(did, &n.to_string(), 10, 0);
            table.spend(&if leaves { once.leaving_room() } else { once })
        };
        for n in 0..3 {
            assert_eq!(spend(&mut table, A, n, true), Ok(()));
        }
        assert_eq!(spend(&mut table, A, 3, true), Err(SpendError::FullForDid));
        assert_eq!(spend(&mut table, A, 3, false), Ok(()));
        for n in 0..2 {
            assert_eq!(spend(&mut table, B, n, true), Ok(()));
        }
        assert_eq!(spend(&mut table, B, 2, true), Err(SpendError::Full));
        assert_eq!(spend(&mut table, B, 2, false), Ok(()));
        assert_eq!(spend(&mut table, A, 1, false), Err(SpendError::Used));
    }
}
