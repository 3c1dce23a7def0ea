//! How often strangers can make us call one host: naming a DID of it is enough for a fetch, and one
//! document says nothing about the next.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use moka::sync::Cache;

/// Fetches of one host that may follow each other at once.
const BURST: f64 = 256.0;

/// Fetches of one host in a second, after the burst.
const RATE: f64 = 32.0;

/// Hosts remembered.
const HOSTS: u64 = 10_000;

/// A token bucket for each host.
pub(super) struct Budget(Cache<String, Arc<Mutex<Bucket>>>);

struct Bucket {
    left: f64,
    at: Instant,
}

impl Budget {
    pub(super) fn new() -> Self {
        // An idle bucket is a full one.
        let full = Duration::from_secs_f64(BURST / RATE);
        Self(
            Cache::builder()
                .max_capacity(HOSTS)
                .time_to_idle(full)
                .build(),
        )
    }

    /// Takes one fetch of `host`; false if there is none left.
    pub(super) fn take(&self, host: &str, now: Instant) -> bool {
        let full = || {
            Arc::new(Mutex::new(Bucket {
                left: BURST,
                at: now,
            }))
        };
        let bucket = self.0.get_with_by_ref(host, full);
        let Ok(mut bucket) = bucket.lock() else {
            return false;
        };
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.left = (bucket.left + passed * RATE).min(BURST);
        bucket.at = now;
        if bucket.left < 1.0 {
            return false;
        }
        bucket.left -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_called_so_often_and_others_do_not_pay() {
        let budget = Budget::new();
        let start = Instant::now();
        let taken = (0..1000)
            .filter(|_| budget.take("a.example", start))
            .count();
        assert_eq!(taken, 256);
        assert!(budget.take("b.example", start));
        let later = start + Duration::from_secs(1);
        let taken = (0..1000)
            .filter(|_| budget.take("a.example", later))
            .count();
        assert_eq!(taken, 32);
    }
}
