//! What each worker counts.

use std::sync::{
    Arc,
    atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::app::{
    error::{AppError, FailureKind},
    sparing::Sparing,
};

/// What became of a request. The first two had no response: its caller left, or the app gave none.
pub(super) const CLASSES: [&str; 7] = ["aborted", "failed", "1xx", "2xx", "3xx", "4xx", "5xx"];

const ABORTED: usize = 0;
const FAILED: usize = 1;

/// The counters of one worker, and the health of the app as it sees it.
#[derive(Debug)]
pub(crate) struct WorkerCounts {
    requests: [AtomicU64; CLASSES.len()],
    failures: [AtomicU64; FailureKind::ALL.len()],
    /// What the log was told of failures, of each kind.
    told: [Arc<Sparing>; FailureKind::ALL.len()],
    /// What it was told of services that gave no response.
    pub(crate) faults: Arc<Sparing>,
    /// False while health checks find no app up.
    app_up: Mutex<watch::Receiver<bool>>,
}

impl Default for WorkerCounts {
    fn default() -> Self {
        Self {
            requests: Default::default(),
            failures: Default::default(),
            told: Default::default(),
            faults: Arc::default(),
            app_up: Mutex::new(watch::Sender::new(true).subscribe()),
        }
    }
}

impl WorkerCounts {
    /// Counts a request that is over: the status it was answered with, and what went wrong.
    pub(crate) fn request(&self, status: Option<u16>, error: Option<&AppError>) {
        let kind = error.and_then(AppError::kind);
        let class = match status {
            // Apps' statuses are of three digits; those from 600 up count as the last.
            Some(status) => usize::from(status / 100 + 1).min(CLASSES.len() - 1),
            None if kind.is_some() => FAILED,
            None => ABORTED,
        };
        if let Some(kind) = kind {
            self.failures[kind as usize].fetch_add(1, Relaxed);
        }
        // Whoever sees the request sees its failure, too.
        self.requests[class].fetch_add(1, Release);
    }

    /// From now on `app_up` says whether an app is up.
    pub(crate) fn follow_health(&self, app_up: watch::Receiver<bool>) {
        *self.app_up.lock() = app_up;
    }

    /// Whether an app is up, as far as this worker knows.
    pub(super) fn app_up(&self) -> bool {
        *self.app_up.lock().borrow()
    }

    /// What the log was told of failures of a kind.
    pub(crate) fn told(&self, kind: FailureKind) -> &Arc<Sparing> {
        &self.told[kind as usize]
    }

    /// Requests of a class of [`CLASSES`]; to be read before failures.
    pub(super) fn requests(&self, class: usize) -> u64 {
        self.requests[class].load(Acquire)
    }

    /// Failures of a kind.
    pub(super) fn failures(&self, kind: FailureKind) -> u64 {
        self.failures[kind as usize].load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use anpx::{ResetCode, StreamError};

    use super::*;

    #[test]
    fn every_end_of_a_request_has_its_class_and_its_kind() {
        let gone = || AppError::Gone(StreamError::Reset(ResetCode::CANCELLED));
        let broken = || AppError::Stale { reached: true };
        for (status, error, class, kind) in [
            (Some(101), None, "1xx", None),
            (Some(200), None, "2xx", None),
            (Some(204), Some(gone()), "2xx", None),
            (Some(200), Some(broken()), "2xx", Some(FailureKind::Broken)),
            (Some(304), None, "3xx", None),
            (Some(418), None, "4xx", None),
            (Some(599), None, "5xx", None),
            (Some(999), None, "5xx", None),
            (None, Some(gone()), "aborted", None),
            (None, Some(broken()), "failed", Some(FailureKind::Broken)),
            (
                None,
                Some(AppError::NoApp),
                "failed",
                Some(FailureKind::Unreachable),
            ),
        ] {
            let counts = WorkerCounts::default();
            counts.request(status, error.as_ref());
            for (index, name) in CLASSES.iter().enumerate() {
                let expected = u64::from(*name == class);
                assert_eq!(counts.requests(index), expected, "{status:?} {name}");
            }
            for any in FailureKind::ALL {
                let expected = u64::from(kind == Some(any));
                assert_eq!(counts.failures(any), expected, "{error:?} {any:?}");
            }
        }
    }
}
