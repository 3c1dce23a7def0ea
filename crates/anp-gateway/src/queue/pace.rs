//! How fast those who wait get places.

use std::time::Duration;

use tokio::time::Instant;

/// Fewer places than this say little about the pace: they may have come after a pause.
const FEW: u32 = 16;

/// The pace while anyone waits: over the last two spans of half the time that one may wait.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Until when `now` was reckoned; while anyone waits.
    reckoned: Option<Instant>,
    now: Waited,
    before: Waited,
}

/// A span in which somebody waited.
#[derive(Clone, Copy, Debug, Default)]
struct Waited {
    time: Duration,
    /// How many got a place in it.
    served: u32,
}

impl Pace {
    /// Seconds until one more than `waiting` gets a place; 0 where nothing is known.
    pub(super) fn expected(&self, waiting: usize, limit: Duration, now: Instant) -> f64 {
        if waiting == 0 {
            return 0.0;
        }
        let since = self.reckoned.map(|at| now.saturating_duration_since(at));
        let time = self.before.time + self.now.time + since.unwrap_or_default();
        match self.before.served + self.now.served {
            few if few < FEW && time < limit / 2 => 0.0,
            // Nobody got a place for so long that it takes longer than one may wait.
            0 => f64::INFINITY,
            served => {
                let each = time.as_secs_f64() / f64::from(served);
                // Exact far beyond any size of a queue.
                #[allow(clippy::cast_precision_loss)]
                let ahead = (waiting + 1) as f64;
                ahead * each
            }
        }
    }

    /// The first one waits.
    pub(super) fn begin(&mut self, limit: Duration, now: Instant) {
        let lately = |at| now.saturating_duration_since(at) < 2 * limit;
        if !self.reckoned.is_some_and(lately) {
            *self = Self::default();
        }
        self.reckoned = Some(now);
    }

    /// One of those who wait got a place or gave up.
    pub(super) fn left(&mut self, served: bool, limit: Duration, now: Instant) {
        if let Some(at) = self.reckoned.replace(now) {
            self.now.time += now.saturating_duration_since(at);
        }
        self.now.served += u32::from(served);
        if self.now.time >= limit / 2 {
            self.before = std::mem::take(&mut self.now);
        }
    }
}
