//! Places are played by counters, time is paused.

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
        assert_eq!(places.queue.state.lock().line.called(), 0);
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
        // Nor do others hear of a pace that nobody was held to, or of one from before.
        let paced = queue.wait(patience(8, LONG), full, no_place).await;
        assert_eq!(paced, Err(ProxyError::Full));
        let before = queue.clone();
        tokio::task::spawn_local(async move {
            before.wait(patience(8, 2 * LONG), full, no_place).await
        });
        tokio::task::yield_now().await;
        tokio::time::advance(LONG).await;
        let again = queue.clone();
        tokio::task::spawn_local(async move { again.wait(whatever, full, no_place).await });
        tokio::task::yield_now().await;
        let paced = queue.wait(patience(8, LONG / 4), full, no_place).await;
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
async fn a_place_after_a_pause_is_no_pace() {
    let places = Places::default();
    let set = LocalSet::new();
    for name in ["a", "b", "c", "d", "e"] {
        let places = places.clone();
        set.spawn_local(async move { places.wait(name).await });
    }
    set.run_until(async {
        tokio::task::yield_now().await;
        // By this alone the next would have its turn after 2.5 s.
        tokio::time::advance(LONG / 4).await;
        places.free(1);
        tokio::task::yield_now().await;
        assert_eq!(places.taken.take(), ["a"]);
        let now = Instant::now();
        assert_eq!(places.wait("f").await, Err(ProxyError::Full));
        assert_eq!(now.elapsed(), LONG);
    })
    .await;
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
