//! Nonces that end with the process.

use std::sync::{Mutex, PoisonError};

use super::{Once, ReplayStore, SpendError, table::Table};
use crate::resolver::BoxFuture;

/// Keeps nonces in memory. After a restart it knows nothing of what was used before, and headers of
/// that time have to be made again.
#[derive(Debug)]
pub struct MemoryReplay {
    table: Mutex<Table>,
    since: i64,
}

impl MemoryReplay {
    /// An empty store. `now` is in seconds since 1970.
    pub fn new(now: i64) -> Self {
        Self {
            table: Mutex::default(),
            since: now,
        }
    }
}

impl ReplayStore for MemoryReplay {
    fn spend<'a>(&'a self, once: &Once) -> BoxFuture<'a, Result<(), SpendError>> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        Box::pin(std::future::ready(table.spend(once)))
    }

    fn complete_since(&self) -> BoxFuture<'_, Result<i64, SpendError>> {
        Box::pin(std::future::ready(Ok(self.since)))
    }
}
