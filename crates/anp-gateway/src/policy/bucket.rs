//! Bytes a second, by delay: a token bucket that lets itself be overdrawn.
//!
//! governor refuses what is larger than a burst, and says when to come back. Bytes of a body are
//! here already when they are counted: they are taken in any case, and whoever took them waits
//! until the debt is paid before it asks for more. So nothing is dropped, and the sender is held
//! back by its own flow control.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

/// Bytes that were not used for this long are saved up.
const BURST: Duration = Duration::from_secs(1);

/// The bytes of all that share a limit.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: u64,
    since: Instant,
    /// Until when what was taken is paid for, in nanoseconds since `since`.
    paid: AtomicU64,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(per_second: u64) -> Self {
        Self {
            per_second: per_second.max(1),
            since: Instant::now(),
            paid: AtomicU64::new(0),
        }
    }

    /// Takes `bytes`; how long to wait then before more may be taken. Those who ask one after the
    /// other wait one after the other.
    fn take(&self, bytes: u64, now: Instant) -> Duration {
        let now = nanos(now.saturating_duration_since(self.since));
        let cost = u128::from(bytes) * 1_000_000_000 / u128::from(self.per_second);
        let cost = u64::try_from(cost).unwrap_or(u64::MAX);
        let after = |paid: u64| paid.max(now).saturating_add(cost);
        let before = self
            .paid
            .fetch_update(Relaxed, Relaxed, |paid| Some(after(paid)));
        let paid = before.map_or(now, after);
        Duration::from_nanos(paid.saturating_sub(now.saturating_add(nanos(BURST))))
    }

    /// True where nothing is owed and the bucket is full.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.paid.load(Relaxed) <= nanos(now.saturating_duration_since(self.since))
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Holds one direction of a request back to the pace of the buckets it takes from.
#[derive(Debug)]
pub(crate) struct Pace {
    buckets: Arc<[Arc<Bucket>]>,
    wait: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    /// Takes from all of `buckets`, and waits for what others owe them first.
    pub(super) fn new(buckets: Arc<[Arc<Bucket>]>) -> Self {
        let mut pace = Self {
            buckets,
            wait: None,
        };
        pace.took(0);
        pace
    }

    /// Bytes moved.
    pub(crate) fn took(&mut self, bytes: usize) {
        let now = Instant::now();
        let waits = self.buckets.iter().map(|b| b.take(bytes as u64, now));
        let wait = waits.max().filter(|wait| !wait.is_zero());
        if let Some(wait) = wait {
            self.wait = Some(Box::pin(sleep(wait)));
        }
    }

    /// Ready once more may be moved.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(wait) = &mut self.wait {
            ready!(wait.as_mut().poll(cx));
            self.wait = None;
        }
        Poll::Ready(())
    }

    /// True while it holds something back.
    pub(crate) fn waits(&self) -> bool {
        self.wait.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_that_share_a_bucket_get_its_rate_together() {
        let begin = Instant::now();
        let bucket = Arc::new(Bucket::new(1000));
        let paces = (0..4).map(|_| Pace::new([bucket.clone()].into()));
        let tasks: Vec<_> = paces
            .map(|mut pace| {
                tokio::spawn(async move {
                    for _ in 0..10 {
                        poll_fn(|cx| pace.poll(cx)).await;
                        pace.took(250);
                    }
                    poll_fn(|cx| pace.poll(cx)).await;
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        // 10,000 bytes, of which a second's worth was saved up.
        let took = begin.elapsed().as_secs_f64();
        assert!((8.9..9.2).contains(&took), "{took}");
        assert!(!bucket.is_full(Instant::now()));
        tokio::time::advance(BURST + Duration::from_millis(1)).await;
        assert!(bucket.is_full(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn newcomers_wait_for_what_is_owed() {
        let bucket = Arc::new(Bucket::new(1000));
        let mut first = Pace::new([bucket.clone()].into());
        first.took(3000);
        let begin = Instant::now();
        let mut second = Pace::new([bucket].into());
        assert!(second.waits());
        poll_fn(|cx| second.poll(cx)).await;
        assert!((2.0..2.1).contains(&begin.elapsed().as_secs_f64()));
        assert!(!second.waits());
    }
}
