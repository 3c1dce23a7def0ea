//! Requests that nobody took.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{downstream::Downstream, failure::Failure, find::unless_gone};
use crate::{registry::Pool, worker::Worker};

/// The rounds of a request that every receiver refused, or as many as it may be sent to. A receiver
/// counts requests whose callers left until its app is done with them (ANPX 3.8), while their places are
/// free here already: it is worth to ask again, for as long as a request may wait for a place.
pub(super) struct Rounds {
    until: Instant,
    pause: Duration,
    /// Most requests of its endpoint that wait so.
    queue_size: usize,
}

impl Rounds {
    /// Between two rounds, at first and at most.
    const FIRST: Duration = Duration::from_millis(20);
    const MOST: Duration = Duration::from_millis(320);

    /// Of a request that began at `started`.
    pub(super) fn new(worker: &Worker, started: Instant) -> Self {
        let settings = worker.shared.settings.load();
        Self {
            until: started + settings.config.queue_timeout.0,
            pause: Self::FIRST,
            queue_size: settings.config.queue_size,
        }
    }

    /// Waits for the next round; false where there shall be none.
    ///
    /// # Errors
    /// The caller left.
    pub(super) async fn wait<D: Downstream>(
        &mut self,
        pool: &Pool,
        down: &mut D,
    ) -> Result<bool, Failure> {
        let at = Instant::now() + self.pause;
        if at > self.until {
            return Ok(false);
        }
        // Not kept while it is asked again: an app may have it for long.
        let Some(_place) = pool.refused.begin(self.queue_size) else {
            return Ok(false);
        };
        self.pause = Self::MOST.min(self.pause * 2);
        unless_gone(down, sleep_until(at)).await?;
        Ok(true)
    }
}
