//! What is counted, most of it by each worker for itself.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;

/// Upper bounds of the histogram of response heads, in seconds.
pub(super) const BOUNDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0,
];

/// What became of a request, as the metrics class it.
pub(crate) const CLASSES: [&str; 6] = ["aborted", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// The index in [`CLASSES`] of a request answered with `status`; `None` where its caller left before
/// the answer.
pub(crate) fn class(status: Option<u16>) -> usize {
    status.map_or(0, |s| usize::from(s / 100).min(CLASSES.len() - 1))
}

/// Handshakes of receivers that are over, by status: 101, or that of the refusal.
#[derive(Debug, Default)]
pub(crate) struct Handshakes(Mutex<BTreeMap<u16, u64>>);

impl Handshakes {
    /// Counts one.
    pub(crate) fn count(&self, status: u16) {
        *self.0.lock().entry(status).or_default() += 1;
    }

    /// How many there were.
    pub(super) fn counted(&self) -> BTreeMap<u16, u64> {
        self.0.lock().clone()
    }
}

/// Reloads since the start.
#[derive(Debug, Default)]
pub(crate) struct Reloads {
    pub(crate) taken: AtomicU64,
    /// Those that changed nothing, for a mistake in the configuration.
    pub(crate) refused: AtomicU64,
}

/// The counters of one worker.
#[derive(Debug, Default)]
pub(crate) struct WorkerMetrics {
    /// Bytes read from callers, framing included.
    pub(super) received: AtomicU64,
    /// Bytes written to callers, framing included.
    pub(super) sent: AtomicU64,
    /// Requests under way.
    pub(crate) in_flight: AtomicU64,
    /// Requests that were sent to a further tunnel.
    pub(crate) retries: AtomicU64,
    /// Requests that had to wait for a place.
    pub(crate) queued: AtomicU64,
    /// Requests refused because a place would have come too late.
    pub(crate) overloaded: AtomicU64,
    /// Requests refused because a limit on their rate was used up.
    pub(crate) rate_limited: AtomicU64,
    /// Requests for no endpoint, by class.
    pub(super) nowhere: [AtomicU64; CLASSES.len()],
    pub(super) heads: [AtomicU64; BOUNDS.len() + 1],
    pub(super) heads_micros: AtomicU64,
}

impl WorkerMetrics {
    /// Counts bytes from callers.
    pub(crate) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Relaxed);
    }

    /// Counts bytes to callers.
    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
    }

    /// Counts a request for no endpoint that is over.
    pub(crate) fn nowhere(&self, status: Option<u16>) {
        self.nowhere[class(status)].fetch_add(1, Relaxed);
    }

    /// Counts a response head and the time it took from the request's head.
    pub(crate) fn head(&self, took: Duration) {
        let secs = took.as_secs_f64();
        let bucket = BOUNDS
            .iter()
            .position(|b| secs <= *b)
            .unwrap_or(BOUNDS.len());
        self.heads[bucket].fetch_add(1, Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.heads_micros.fetch_add(micros, Relaxed);
    }
}
