//! The bounded wait for a place when every tunnel of an endpoint is full.

use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use crate::error::ProxyError;

/// Most seconds a caller is asked to stay away: by then everything may be different.
const MOST_AWAY: f64 = 60.0;

/// Those who wait for a place on a tunnel of one endpoint, in the order they came.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: AtomicUsize,
    place: Notify,
    pace: Mutex<Pace>,
}

impl Queue {
    /// A place may have become free. Costs a load where nobody waits.
    pub(crate) fn wake_one(&self) {
        if self.waiting.load(SeqCst) > 0 {
            self.place.notify_one();
        }
    }

    /// Many places became free: a tunnel joined, or there is nothing left to wait for.
    pub(crate) fn wake_all(&self) {
        if self.waiting.load(SeqCst) > 0 {
            self.place.notify_waiters();
        }
    }

    /// Waits until `attempt` gives something, asking again each time a place may be free.
    ///
    /// # Errors
    /// [`ProxyError::Overloaded`] at once, where so many wait that, at the pace at which they get
    /// places now, the turn would come after `limit`. What `attempt` gave last, once `limit` has
    /// passed or where `size` others wait already; at once where it gave anything but
    /// [`ProxyError::Full`].
    pub(crate) async fn wait<T>(
        &self,
        size: usize,
        limit: Duration,
        mut attempt: impl FnMut() -> Result<T, ProxyError>,
    ) -> Result<T, ProxyError> {
        let mut turn = self.enter(size, limit)?;
        let served = async {
            loop {
                let mut place = pin!(self.place.notified());
                // Registered before the attempt, so that a place freed meanwhile is not missed.
                place.as_mut().enable();
                match attempt() {
                    Err(ProxyError::Full) => place.await,
                    decided => return decided,
                }
            }
        };
        let decided = timeout(limit, served)
            .await
            .unwrap_or(Err(ProxyError::Full));
        turn.served = decided.is_ok();
        decided
    }

    fn enter(&self, size: usize, limit: Duration) -> Result<Turn<'_>, ProxyError> {
        let now = Instant::now();
        let mut pace = self.pace.lock();
        let waiting = self.waiting.load(SeqCst);
        if waiting >= size {
            return Err(ProxyError::Full);
        }
        let expected = pace.expected(waiting, limit, now);
        if expected > limit.as_secs_f64() {
            let seconds = expected.ceil().clamp(1.0, MOST_AWAY);
            // At most 60, and whole.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            return Err(ProxyError::Overloaded(seconds as u16));
        }
        if waiting == 0 {
            pace.begin(limit, now);
        }
        self.waiting.store(waiting + 1, SeqCst);
        Ok(Turn {
            queue: self,
            limit,
            served: false,
        })
    }
}

/// One that waits, until dropped.
struct Turn<'a> {
    queue: &'a Queue,
    limit: Duration,
    served: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut pace = self.queue.pace.lock();
        pace.left(self.served, self.limit, Instant::now());
        self.queue.waiting.fetch_sub(1, SeqCst);
    }
}

/// How fast those who wait get places, while anyone waits: over the last two spans of half the
/// time that one may wait.
#[derive(Debug, Default)]
struct Pace {
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
    fn expected(&self, waiting: usize, limit: Duration, now: Instant) -> f64 {
        if waiting == 0 {
            return 0.0;
        }
        let since = self.reckoned.map(|at| now.saturating_duration_since(at));
        let time = self.before.time + self.now.time + since.unwrap_or_default();
        match self.before.served + self.now.served {
            // Nobody got a place for so long that it takes longer than one may wait.
            0 if time >= limit / 2 => f64::INFINITY,
            0 => 0.0,
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
    fn begin(&mut self, limit: Duration, now: Instant) {
        let lately = |at| now.saturating_duration_since(at) < 2 * limit;
        if !self.reckoned.is_some_and(lately) {
            *self = Self::default();
        }
        self.reckoned = Some(now);
    }

    /// One of those who wait got a place or gave up.
    fn left(&mut self, served: bool, limit: Duration, now: Instant) {
        if let Some(at) = self.reckoned.replace(now) {
            self.now.time += now.saturating_duration_since(at);
        }
        self.now.served += u32::from(served);
        if self.now.time >= limit / 2 {
            self.before = std::mem::take(&mut self.now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use tokio::task::LocalSet;

    use super::*;

    const LONG: Duration = Duration::from_secs(2);

    #[tokio::test(start_paused = true)]
    async fn waits_for_a_place_and_no_longer_than_the_limit() {
        let queue = Queue::default();
        let full = || Err::<(), _>(ProxyError::Full);
        let before = tokio::time::Instant::now();
        assert_eq!(queue.wait(1, LONG, full).await, Err(ProxyError::Full));
        assert_eq!(before.elapsed(), LONG);
        assert_eq!(queue.wait(0, LONG, full).await, Err(ProxyError::Full));
        assert_eq!(before.elapsed(), LONG);
        let gone = || Err::<(), _>(ProxyError::NoTunnel);
        assert_eq!(queue.wait(1, LONG, gone).await, Err(ProxyError::NoTunnel));
    }

    #[tokio::test(start_paused = true)]
    async fn each_place_goes_to_one() {
        let queue = Rc::new(Queue::default());
        let places = Rc::new(Cell::new(0));
        let set = LocalSet::new();
        let waits: Vec<_> = (0..3)
            .map(|_| {
                let (queue, places) = (queue.clone(), places.clone());
                set.spawn_local(async move {
                    let attempt = || match places.get() {
                        0 => Err(ProxyError::Full),
                        n => {
                            places.set(n - 1);
                            Ok(())
                        }
                    };
                    queue.wait(8, LONG, attempt).await
                })
            })
            .collect();
        set.run_until(async {
            tokio::task::yield_now().await;
            for _ in 0..2 {
                places.set(places.get() + 1);
                queue.wake_one();
                tokio::task::yield_now().await;
            }
        })
        .await;
        set.run_until(async {
            let mut results = Vec::new();
            for wait in waits {
                results.push(wait.await.unwrap());
            }
            assert_eq!(results, [Ok(()), Ok(()), Err(ProxyError::Full)]);
        })
        .await;
    }

    /// A queue in which `ahead` wait, of whom one gets a place each half second for a while.
    async fn busy(set: &LocalSet, ahead: usize) -> Rc<Queue> {
        let queue = Rc::new(Queue::default());
        let places = Rc::new(Cell::new(0_u32));
        for _ in 0..ahead + 4 {
            let (queue, places) = (queue.clone(), places.clone());
            set.spawn_local(async move {
                let attempt = || match places.get() {
                    0 => Err(ProxyError::Full),
                    n => {
                        places.set(n - 1);
                        Ok(())
                    }
                };
                queue.wait(64, 10 * LONG, attempt).await
            });
        }
        set.run_until(async {
            tokio::task::yield_now().await;
            for _ in 0..4 {
                tokio::time::advance(LONG / 4).await;
                places.set(1);
                queue.wake_one();
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(queue.waiting.load(SeqCst), ahead);
        queue
    }

    #[tokio::test(start_paused = true)]
    async fn whose_turn_would_come_too_late_is_told_so_at_once() {
        let set = LocalSet::new();
        let full = || Err::<(), _>(ProxyError::Full);
        let queue = busy(&set, 4).await;
        let now = Instant::now();
        // The fifth would have its turn after 2.5 s.
        assert_eq!(
            queue.wait(64, LONG, full).await,
            Err(ProxyError::Overloaded(3))
        );
        assert_eq!(now.elapsed(), Duration::ZERO);
        let queue = busy(&set, 3).await;
        assert_eq!(queue.wait(64, LONG, full).await, Err(ProxyError::Full));
    }

    #[tokio::test(start_paused = true)]
    async fn where_nobody_gets_a_place_one_may_try() {
        let queue = Rc::new(Queue::default());
        let set = LocalSet::new();
        let full = || Err::<(), _>(ProxyError::Full);
        for _ in 0..2 {
            let queue = queue.clone();
            set.spawn_local(async move { queue.wait(64, LONG, full).await });
        }
        set.run_until(async {
            tokio::task::yield_now().await;
            assert_eq!(queue.waiting.load(SeqCst), 2);
            tokio::time::advance(LONG / 2).await;
            assert_eq!(
                queue.wait(64, LONG, full).await,
                Err(ProxyError::Overloaded(60))
            );
            tokio::time::advance(LONG).await;
            tokio::task::yield_now().await;
            assert_eq!(queue.waiting.load(SeqCst), 0);
            // It waits its time, and is not told of what was.
            assert_eq!(queue.wait(64, LONG, full).await, Err(ProxyError::Full));
        })
        .await;
    }
}
