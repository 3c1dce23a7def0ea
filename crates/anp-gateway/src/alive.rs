//! Counts what must end before the gateway may.

use std::sync::{
    Arc,
    atomic::{
        AtomicU64, AtomicUsize,
        Ordering::{Relaxed, SeqCst},
    },
};

use tokio::sync::Notify;

/// How many of something are alive.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alive(Arc<Count>);

#[derive(Debug, Default)]
struct Count {
    now: AtomicUsize,
    refused: AtomicU64,
    none: Notify,
}

/// One that is alive, until dropped.
#[derive(Debug)]
pub(crate) struct Life(Arc<Count>);

impl Alive {
    /// Counts one more, unless there are `limit` already.
    pub(crate) fn begin(&self, limit: usize) -> Option<Life> {
        let life = Life(self.0.clone());
        // Counted first: dropping `life` takes it back.
        let fits = life.0.now.fetch_add(1, SeqCst) < limit;
        if !fits {
            self.0.refused.fetch_add(1, Relaxed);
        }
        fits.then_some(life)
    }

    /// How many there were above a limit.
    pub(crate) fn refused(&self) -> u64 {
        self.0.refused.load(Relaxed)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.now.load(SeqCst)
    }

    /// Ready when there are none.
    pub(crate) async fn none(&self) {
        loop {
            let mut changed = std::pin::pin!(self.0.none.notified());
            changed.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            changed.await;
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if self.0.now.fetch_sub(1, SeqCst) == 1 {
            self.0.none.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn counts_lives_and_tells_of_the_last() {
        let alive = Alive::default();
        alive.none().await;
        let (a, b) = (alive.begin(2), alive.begin(2));
        assert!(a.is_some() && b.is_some() && alive.begin(2).is_none());
        assert_eq!((alive.count(), alive.refused()), (2, 1));
        let none = alive.none();
        let (_, ()) = tokio::join!(none, async { drop((a, b)) });
        assert_eq!(alive.count(), 0);
    }
}
