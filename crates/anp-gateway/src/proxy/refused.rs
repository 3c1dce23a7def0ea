//! Requests that nobody took.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{downstream::Downstream, failure::Failure, find::unless_gone};
use crate::{alive::Life, registry::Pool, worker::Worker};

/// A request that the receivers of every tunnel refused. They count requests whose callers left until
/// their apps are done with them (ANPX 3.8), where a place is free here already: it is worth to ask
/// once more, for as long as any request waits for a place.
pub(super) struct ByAll {
    until: Instant,
    pause: Duration,
    /// Its place among those that wait so.
    place: Option<Life>,
}

impl ByAll {
    /// Between two rounds, at first and at most.
    const FIRST: Duration = Duration::from_millis(20);
    const MOST: Duration = Duration::from_millis(320);

    pub(super) fn new(worker: &Worker, pool: &Pool) -> Self {
        let settings = worker.shared.settings.load();
        Self {
            until: Instant::now() + settings.config.queue_timeout.0,
            pause: Self::FIRST,
            place: pool.refused.begin(settings.config.queue_size),
        }
    }

    /// Waits for the next round; false where there shall be none.
    ///
    /// # Errors
    /// The caller left.
    pub(super) async fn wait<D: Downstream>(&mut self, down: &mut D) -> Result<bool, Failure> {
        let at = Instant::now() + self.pause;
        if self.place.is_none() || at > self.until {
            return Ok(false);
        }
        self.pause = Self::MOST.min(self.pause * 2);
        unless_gone(down, sleep_until(at)).await?;
        Ok(true)
    }
}
