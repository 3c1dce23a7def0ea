//! The bounded wait for a place when every tunnel of an endpoint is full.

use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

use crate::error::ProxyError;

/// Those who wait for a place on a tunnel of one endpoint, in the order they came.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: AtomicUsize,
    place: Notify,
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
    /// What `attempt` gave last, once `limit` has passed or where `size` others wait already; at
    /// once where it gave anything but [`ProxyError::Full`].
    pub(crate) async fn wait<T>(
        &self,
        size: usize,
        limit: Duration,
        mut attempt: impl FnMut() -> Result<T, ProxyError>,
    ) -> Result<T, ProxyError> {
        if self.waiting.fetch_add(1, SeqCst) >= size {
            self.waiting.fetch_sub(1, SeqCst);
            return Err(ProxyError::Full);
        }
        let _waiting = Waiting(&self.waiting);
        let turn = async {
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
        timeout(limit, turn).await.unwrap_or(Err(ProxyError::Full))
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
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
}
