//! What the log hears of callers and receivers that were turned away.

use std::{fmt, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

/// Refusals told at the info level in a second; more are told at debug.
const TOLD: u32 = 10;

/// Tells the log of refusals. Strangers can cause them as often as they like.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<Lately>);

/// What was told since when.
#[derive(Debug, Default)]
struct Lately {
    since: Option<Instant>,
    told: u32,
}

impl Refusals {
    /// Tells that `what` happened to `peer`, and why; where it was a request, which.
    pub(crate) fn tell(
        &self,
        peer: &[u8],
        request: Option<&[u8]>,
        reason: &dyn fmt::Display,
        what: &'static str,
    ) {
        let peer = String::from_utf8_lossy(peer);
        let request_id = request.map(String::from_utf8_lossy);
        let request_id = request_id.as_deref();
        if self.is_news(Instant::now()) {
            tracing::info!(%peer, request_id, %reason, "{what}");
        } else {
            tracing::debug!(%peer, request_id, %reason, "{what}");
        }
    }

    fn is_news(&self, now: Instant) -> bool {
        let second = Duration::from_secs(1);
        let mut lately = self.0.lock();
        if lately
            .since
            .is_none_or(|since| now.duration_since(since) >= second)
        {
            *lately = Lately {
                since: Some(now),
                told: 0,
            };
        }
        lately.told = lately.told.saturating_add(1);
        lately.told <= TOLD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn so_many_a_second_are_news() {
        let refusals = Refusals::default();
        let news = || {
            (0..100)
                .filter(|_| refusals.is_news(Instant::now()))
                .count()
        };
        assert_eq!(news(), 10);
        tokio::time::advance(Duration::from_millis(999)).await;
        assert_eq!(news(), 0);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(news(), 10);
    }
}
