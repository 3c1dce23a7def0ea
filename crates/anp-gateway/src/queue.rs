//! The bounded wait for a place when every tunnel of an endpoint is full.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    ops::Bound,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    task::{Poll, Waker},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use crate::error::ProxyError;

/// Most seconds a caller is asked to stay away: by then everything may be different.
const MOST_AWAY: f64 = 60.0;

/// Those who wait for a place on a tunnel of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: AtomicUsize,
    line: Mutex<Line>,
    /// Whether some places are not right for some.
    choosy: bool,
}

/// How long one may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// With so many others at most.
    pub(crate) size: usize,
    pub(crate) limit: Duration,
    /// Not at all where, at the pace at which others get places, its turn would come after `limit`.
    pub(crate) paced: bool,
}

impl Queue {
    /// One of those whom not every place is right for: all of them are asked in turn, one at a time.
    /// In others any place is right for all, and who is first keeps its turn until it has one.
    pub(crate) fn of_the_choosy() -> Self {
        Self {
            choosy: true,
            ..Self::default()
        }
    }

    /// True where nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.load(SeqCst) == 0
    }

    /// A place may have become free. Costs a load where nobody waits.
    pub(crate) fn wake_one(&self) {
        if self.is_empty() {
            return;
        }
        let mut line = self.line.lock();
        match self.choosy {
            true => line.begin_round(),
            false => line.call(Bound::Unbounded, 1),
        }
    }

    /// Many places became free: a tunnel joined, or there is nothing left to wait for.
    pub(crate) fn wake_all(&self) {
        if !self.is_empty() {
            self.line.lock().call_all();
        }
    }

    /// Waits until `attempt` gives something, asking again each time its turn comes. `places` counts
    /// the places that are free.
    ///
    /// # Errors
    /// [`ProxyError::Overloaded`] at once, where the turn would come too late. [`ProxyError::Full`]
    /// once the limit has passed, or at once where too many others wait. Anything else that `attempt`
    /// gave.
    pub(crate) async fn wait<T>(
        &self,
        patience: Patience,
        mut attempt: impl FnMut() -> Result<T, ProxyError>,
        places: impl Fn() -> usize,
    ) -> Result<T, ProxyError> {
        let mut turn = self.enter(patience, &places)?;
        let served = poll_fn(|cx| {
            if !self.line.lock().take_call(turn.number, cx.waker()) {
                return Poll::Pending;
            }
            match attempt() {
                Err(ProxyError::Full) if self.choosy => {
                    let mut line = self.line.lock();
                    turn.number = line.requeue(turn.number);
                    line.go_on();
                    Poll::Pending
                }
                Err(ProxyError::Full) => {
                    // Where a tunnel of version 1 has come, an upgrade may not take all that is free.
                    let others = Bound::Excluded(turn.number);
                    self.line.lock().call_for(places(), others);
                    Poll::Pending
                }
                decided => Poll::Ready(decided),
            }
        });
        let decided = timeout(patience.limit, served)
            .await
            .unwrap_or(Err(ProxyError::Full));
        turn.served = decided.is_ok();
        drop(turn);
        // Of places that became free together the queue is told once.
        if !self.is_empty() {
            let mut line = self.line.lock();
            match self.choosy {
                true => line.go_on(),
                false => line.call_for(places(), Bound::Unbounded),
            }
        }
        decided
    }

    fn enter(
        &self,
        patience: Patience,
        places: impl Fn() -> usize,
    ) -> Result<Turn<'_>, ProxyError> {
        let Patience { size, limit, paced } = patience;
        let now = Instant::now();
        let mut line = self.line.lock();
        let waiting = line.waiters.len();
        // Of those who wait so many are about to have a place.
        let free = match self.choosy {
            true => 0,
            false => places(),
        };
        if waiting >= size.saturating_add(free) {
            return Err(ProxyError::Full);
        }
        let ahead = waiting.saturating_sub(free);
        let expected = match paced {
            true => line.pace.expected(ahead, limit, now),
            false => 0.0,
        };
        if expected > limit.as_secs_f64() {
            let seconds = expected.ceil().clamp(1.0, MOST_AWAY);
            // At most 60, and whole.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            return Err(ProxyError::Overloaded(seconds as u16));
        }
        if paced && waiting == 0 {
            line.pace.begin(limit, now);
        }
        self.waiting.store(waiting + 1, SeqCst);
        // Where there is nobody to pass it tries at once: a place may have become free meanwhile.
        let number = line.enter(waiting == 0 || self.choosy, None);
        line.call_for(free, Bound::Unbounded);
        Ok(Turn {
            queue: self,
            number,
            patience,
            served: false,
        })
    }
}

/// One that waits, until dropped.
struct Turn<'a> {
    queue: &'a Queue,
    number: u64,
    patience: Patience,
    served: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut line = self.queue.line.lock();
        if self.patience.paced {
            let limit = self.patience.limit;
            line.pace.left(self.served, limit, Instant::now());
        }
        line.leave(self.number);
        self.queue.waiting.store(line.waiters.len(), SeqCst);
    }
}

/// Who waits, and how fast they get places.
#[derive(Debug, Default)]
struct Line {
    /// By the number that each drew.
    waiters: BTreeMap<u64, Waiter>,
    drawn: u64,
    /// How many of them were called and have not tried since.
    called: usize,
    /// Of the choosy, who drew no later number than this is asked in the round that goes on.
    round: u64,
    pace: Pace,
}

#[derive(Debug)]
struct Waiter {
    /// It is to try: a place may be free.
    called: bool,
    waker: Option<Waker>,
}

impl Waiter {
    fn call(&mut self) {
        self.called = true;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Line {
    /// Draws a number.
    fn enter(&mut self, called: bool, waker: Option<Waker>) -> u64 {
        self.drawn += 1;
        self.called += usize::from(called);
        self.waiters.insert(self.drawn, Waiter { called, waker });
        self.drawn
    }

    /// Draws another number for one that was asked.
    fn requeue(&mut self, number: u64) -> u64 {
        let waiter = self.waiters.remove(&number);
        let called = waiter.as_ref().is_some_and(|waiter| waiter.called);
        self.called -= usize::from(called);
        self.enter(called, waiter.and_then(|waiter| waiter.waker))
    }

    /// Calls the first `n` behind `after` that were not called yet.
    fn call(&mut self, after: Bound<u64>, n: usize) {
        let behind = self.waiters.range_mut((after, Bound::Unbounded));
        let waiting = behind.map(|(_, waiter)| waiter).filter(|w| !w.called);
        for waiter in waiting.take(n) {
            waiter.call();
            self.called += 1;
        }
    }

    /// Calls as many of those behind `after` as there are `places` that nobody was called for.
    fn call_for(&mut self, places: usize, after: Bound<u64>) {
        self.call(after, places.saturating_sub(self.called));
    }

    fn call_all(&mut self) {
        self.waiters.values_mut().for_each(Waiter::call);
        self.called = self.waiters.len();
    }

    /// Everybody who waits now is to be asked once, one after the other, so that many whom a place is
    /// not right for cost little.
    fn begin_round(&mut self) {
        self.round = self.drawn;
        self.go_on();
    }

    /// Calls the next of the round, unless somebody is called already.
    fn go_on(&mut self) {
        let first = self.waiters.first_key_value();
        if self.called == 0 && first.is_some_and(|(number, _)| *number <= self.round) {
            self.call(Bound::Unbounded, 1);
        }
    }

    /// Whether this one was called since it last asked; else `waker` will tell it.
    fn take_call(&mut self, number: u64, waker: &Waker) -> bool {
        let Some(waiter) = self.waiters.get_mut(&number) else {
            return false;
        };
        match &mut waiter.waker {
            Some(stored) => stored.clone_from(waker),
            None => waiter.waker = Some(waker.clone()),
        }
        let called = std::mem::take(&mut waiter.called);
        self.called -= usize::from(called);
        called
    }

    /// Takes one out; a call that it did not answer goes to the next.
    fn leave(&mut self, number: u64) {
        if let Some(waiter) = self.waiters.remove(&number)
            && waiter.called
        {
            self.called -= 1;
            self.call(Bound::Unbounded, 1);
        }
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
    use std::{
        cell::{Cell, RefCell},
        rc::Rc,
    };

    use tokio::task::LocalSet;

    use super::*;

    const LONG: Duration = Duration::from_secs(2);

    fn patience(size: usize, limit: Duration) -> Patience {
        let paced = true;
        Patience { size, limit, paced }
    }

    fn full() -> Result<(), ProxyError> {
        Err(ProxyError::Full)
    }

    fn no_place() -> usize {
        0
    }

    /// Places that can be taken, and who took one, in order.
    #[derive(Clone, Default)]
    struct Places {
        queue: Rc<Queue>,
        free: Rc<Cell<usize>>,
        taken: Rc<RefCell<Vec<&'static str>>>,
    }

    impl Places {
        fn take(&self, name: &'static str) -> Result<(), ProxyError> {
            let left = self.free.get().checked_sub(1).ok_or(ProxyError::Full)?;
            self.free.set(left);
            self.taken.borrow_mut().push(name);
            Ok(())
        }

        async fn wait(&self, name: &'static str) -> Result<(), ProxyError> {
            let attempt = || self.take(name);
            self.queue
                .wait(patience(8, LONG), attempt, || self.free.get())
                .await
        }

        /// As a request does: not past those who wait.
        async fn open(&self, name: &'static str) -> Result<(), ProxyError> {
            match self.queue.is_empty() && self.take(name).is_ok() {
                true => Ok(()),
                false => self.wait(name).await,
            }
        }

        fn free(&self, n: usize) {
            self.free.set(self.free.get() + n);
            self.queue.wake_one();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_a_place_and_no_longer_than_the_limit() {
        let queue = Queue::default();
        let before = tokio::time::Instant::now();
        assert_eq!(
            queue.wait(patience(1, LONG), full, no_place).await,
            Err(ProxyError::Full)
        );
        assert_eq!(before.elapsed(), LONG);
        assert_eq!(
            queue.wait(patience(0, LONG), full, no_place).await,
            Err(ProxyError::Full)
        );
        assert_eq!(before.elapsed(), LONG);
        let gone = || Err::<(), _>(ProxyError::NoTunnel);
        assert_eq!(
            queue.wait(patience(1, LONG), gone, no_place).await,
            Err(ProxyError::NoTunnel)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn each_place_goes_to_one() {
        let places = Places::default();
        let set = LocalSet::new();
        let waits = ["a", "b", "c"].map(|name| {
            let places = places.clone();
            set.spawn_local(async move { places.wait(name).await })
        });
        set.run_until(async {
            tokio::task::yield_now().await;
            for _ in 0..2 {
                places.free(1);
                tokio::task::yield_now().await;
            }
            let mut results = Vec::new();
            for wait in waits {
                results.push(wait.await.unwrap());
            }
            assert_eq!(results, [Ok(()), Ok(()), Err(ProxyError::Full)]);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_came_first_is_served_first() {
        let places = Places::default();
        let set = LocalSet::new();
        let start = |name| {
            let places = places.clone();
            set.spawn_local(async move { places.open(name).await })
        };
        let waits = ["a", "b", "c"].map(start);
        set.run_until(async {
            tokio::task::yield_now().await;
            // One that comes while a place waits for the first goes behind all, and one that finds
            // another in its place keeps its own.
            places.free(1);
            let late = start("late");
            assert_eq!(places.take("thief"), Ok(()));
            tokio::task::yield_now().await;
            assert_eq!(places.taken.take(), ["thief"]);
            // The queue is told once of places that become free together, and all of them are taken
            // as soon as those who wait run; none by who comes before they do.
            let later = start("later");
            places.free(3);
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            assert_eq!(places.taken.borrow()[..], ["a", "b", "c"]);
            places.free(2);
            for wait in waits {
                assert_eq!(wait.await.unwrap(), Ok(()));
            }
            assert_eq!(late.await.unwrap(), Ok(()));
            assert_eq!(later.await.unwrap(), Ok(()));
            assert_eq!(places.taken.take(), ["a", "b", "c", "late", "later"]);
            assert!(places.queue.is_empty());
            assert_eq!(places.queue.line.lock().called, 0);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_one_leaves_goes_to_the_next() {
        let places = Places::default();
        let set = LocalSet::new();
        let waits = ["a", "b"].map(|name| {
            let places = places.clone();
            set.spawn_local(async move { places.wait(name).await })
        });
        set.run_until(async {
            tokio::task::yield_now().await;
            places.free(1);
            // Called, and gone before it can try.
            let [first, second] = waits;
            first.abort();
            assert_eq!(second.await.unwrap(), Ok(()));
            assert_eq!(places.taken.take(), ["b"]);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_one_may_not_take_goes_to_the_next() {
        let places = Places::default();
        let set = LocalSet::new();
        let picky = {
            let (queue, free) = (places.queue.clone(), places.free.clone());
            set.spawn_local(async move { queue.wait(patience(8, LONG), full, || free.get()).await })
        };
        let start = |name| {
            let places = places.clone();
            set.spawn_local(async move { places.open(name).await })
        };
        set.run_until(async {
            tokio::task::yield_now().await;
            let second = start("b");
            tokio::task::yield_now().await;
            places.free(2);
            assert_eq!(second.await.unwrap(), Ok(()));
            // A place that the first cannot use is there for who comes.
            let now = Instant::now();
            assert_eq!(start("c").await.unwrap(), Ok(()));
            assert_eq!(now.elapsed(), Duration::ZERO);
            assert_eq!(places.taken.take(), ["b", "c"]);
            assert_eq!(picky.await.unwrap(), Err(ProxyError::Full));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn of_the_choosy_each_is_asked_in_turn() {
        let queue = Rc::new(Queue::of_the_choosy());
        let asked = Rc::new(RefCell::new(Vec::new()));
        let set = LocalSet::new();
        let waits = ["a", "b"].map(|name| {
            let (queue, asked) = (queue.clone(), asked.clone());
            let attempt = move || {
                asked.borrow_mut().push(name);
                full()
            };
            set.spawn_local(async move { queue.wait(patience(8, LONG), attempt, || 1).await })
        });
        set.run_until(async {
            tokio::task::yield_now().await;
            for _ in 0..3 {
                queue.wake_one();
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
            }
            for wait in waits {
                assert_eq!(wait.await.unwrap(), Err(ProxyError::Full));
            }
        })
        .await;
        // Each tries when it comes, and once each time a place may be free.
        assert_eq!(
            asked.borrow()[..8],
            ["a", "b", "a", "b", "a", "b", "a", "b"]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_whatever_the_pace_is_not_told_of_it() {
        let queue = Rc::new(Queue::default());
        let set = LocalSet::new();
        let whatever = Patience {
            paced: false,
            ..patience(8, LONG)
        };
        let first = queue.clone();
        set.spawn_local(async move { first.wait(whatever, full, no_place).await });
        set.run_until(async {
            tokio::task::yield_now().await;
            tokio::time::advance(LONG * 3 / 4).await;
            let now = Instant::now();
            let left = Patience {
                limit: LONG / 4,
                ..whatever
            };
            assert_eq!(
                queue.wait(left, full, no_place).await,
                Err(ProxyError::Full)
            );
            assert_eq!(now.elapsed(), LONG / 4);
            // Nor do others hear of a pace that nobody was held to.
            let paced = queue.wait(patience(8, LONG), full, no_place).await;
            assert_eq!(paced, Err(ProxyError::Full));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn those_whom_a_place_awaits_do_not_count_among_those_who_wait() {
        let places = Places::default();
        let set = LocalSet::new();
        let start = |name| {
            let (places, size) = (places.clone(), 1);
            set.spawn_local(async move {
                let attempt = || places.take(name);
                let free = || places.free.get();
                places.queue.wait(patience(size, LONG), attempt, free).await
            })
        };
        let first = start("a");
        set.run_until(async {
            tokio::task::yield_now().await;
            assert_eq!(start("refused").await.unwrap(), Err(ProxyError::Full));
            // It comes before the first has run.
            let second = start("b");
            places.free(1);
            assert_eq!(first.await.unwrap(), Ok(()));
            places.free(1);
            assert_eq!(second.await.unwrap(), Ok(()));
            assert_eq!(places.taken.take(), ["a", "b"]);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn all_are_told_that_there_is_nothing_left_to_wait_for() {
        let places = Places::default();
        let set = LocalSet::new();
        let waits = [1, 2].map(|_| {
            let queue = places.queue.clone();
            let mut first = true;
            let attempt = move || match std::mem::take(&mut first) {
                true => full(),
                false => Err(ProxyError::NoTunnel),
            };
            set.spawn_local(async move { queue.wait(patience(8, LONG), attempt, no_place).await })
        });
        set.run_until(async {
            tokio::task::yield_now().await;
            // The second has not tried: nobody left a place.
            for _ in 0..2 {
                places.queue.wake_all();
                tokio::task::yield_now().await;
            }
            for wait in waits {
                assert_eq!(wait.await.unwrap(), Err(ProxyError::NoTunnel));
            }
        })
        .await;
    }

    /// A queue in which `ahead` wait, of whom one gets a place each half second for a while.
    async fn busy(set: &LocalSet, ahead: usize) -> Rc<Queue> {
        let queue = Rc::new(Queue::default());
        let places = Rc::new(Cell::new(0));
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
                queue
                    .wait(patience(64, 10 * LONG), attempt, || places.get())
                    .await
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
        let queue = busy(&set, 4).await;
        let now = Instant::now();
        // The fifth would have its turn after 2.5 s.
        assert_eq!(
            queue.wait(patience(64, LONG), full, no_place).await,
            Err(ProxyError::Overloaded(3))
        );
        assert_eq!(now.elapsed(), Duration::ZERO);
        let queue = busy(&set, 3).await;
        assert_eq!(
            queue.wait(patience(64, LONG), full, no_place).await,
            Err(ProxyError::Full)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn where_nobody_gets_a_place_one_may_try() {
        let queue = Rc::new(Queue::default());
        let set = LocalSet::new();
        for _ in 0..2 {
            let queue = queue.clone();
            set.spawn_local(async move { queue.wait(patience(64, LONG), full, no_place).await });
        }
        set.run_until(async {
            tokio::task::yield_now().await;
            assert_eq!(queue.waiting.load(SeqCst), 2);
            tokio::time::advance(LONG / 2).await;
            assert_eq!(
                queue.wait(patience(64, LONG), full, no_place).await,
                Err(ProxyError::Overloaded(60))
            );
            tokio::time::advance(LONG).await;
            tokio::task::yield_now().await;
            assert_eq!(queue.waiting.load(SeqCst), 0);
            // It waits its time, and is not told of what was.
            assert_eq!(
                queue.wait(patience(64, LONG), full, no_place).await,
                Err(ProxyError::Full)
            );
        })
        .await;
    }
}
