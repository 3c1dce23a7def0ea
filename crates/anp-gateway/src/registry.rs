//! Which tunnels serve which endpoint, now.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::{
    alive::Alive,
    doubts::Doubts,
    members::{Member, Members, TunnelId},
    metrics::{CLASSES, class},
    queue::Queue,
};

/// What an endpoint has while the gateway runs, whatever becomes of its settings: its tunnels, who
/// waits for one, and what was counted.
#[derive(Debug)]
pub(crate) struct Pool {
    members: ArcSwap<Members>,
    changes: Mutex<()>,
    /// Those who wait for a place on one of the tunnels, whichever it is.
    pub(crate) queue: Queue,
    /// Those who may not take every place.
    pub(crate) choosy: Queue,
    /// Receivers that are asked last.
    pub(crate) doubts: Doubts,
    /// Requests that every receiver refused, and that wait to ask again.
    pub(crate) refused: Alive,
    /// Requests under way.
    pub(crate) requests: Alive,
    /// By worker.
    counts: Arc<[Counts]>,
}

/// Requests that are over, by class. Apart from other workers' in memory.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Counts([AtomicU64; CLASSES.len()]);

impl Pool {
    /// A pool without tunnels.
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            members: ArcSwap::default(),
            changes: Mutex::new(()),
            doubts: Doubts::default(),
            queue: Queue::default(),
            choosy: Queue::of_the_choosy(),
            refused: Alive::default(),
            requests: Alive::default(),
            counts: (0..workers).map(|_| Counts::default()).collect(),
        }
    }

    /// The pool of the same endpoint at another place: with what was counted, and without tunnels and
    /// those who wait.
    pub(crate) fn elsewhere(&self) -> Self {
        Self {
            requests: self.requests.clone(),
            counts: self.counts.clone(),
            ..Self::new(0)
        }
    }

    /// There are other tunnels now, or other places on them: whoever waits may try.
    pub(crate) fn wake_all(&self) {
        self.choosy.wake_all();
        self.queue.wake_all();
    }

    /// Counts a request that is over. `status` is `None` where its caller left before the answer.
    pub(crate) fn count(&self, worker: usize, status: Option<u16>) {
        if let Some(counts) = self.counts.get(worker) {
            counts.0[class(status)].fetch_add(1, Relaxed);
        }
    }

    /// How many requests of a class are over.
    pub(crate) fn counted(&self, class: usize) -> u64 {
        self.counts.iter().map(|c| c.0[class].load(Relaxed)).sum()
    }

    fn change(&self, change: impl FnOnce(&mut Members)) {
        let _one_at_a_time = self.changes.lock();
        let mut members = Members::clone(&self.members.load());
        change(&mut members);
        self.members.store(Arc::new(members));
    }
}

/// Who serves what. The seam where a directory that several gateways share will go.
pub(crate) trait Registry: fmt::Debug + Send + Sync {
    /// `member` serves the endpoint of `pool` from now on.
    fn join(&self, pool: &Pool, member: Member);
    /// The tunnel serves it no more.
    fn leave(&self, pool: &Pool, tunnel: TunnelId);
    /// Shows the members of `pool` as they are now. Called for every request.
    fn members(&self, pool: &Pool, visit: &mut dyn FnMut(&Members));
}

/// The registry of a gateway that stands alone: readers take a snapshot without a lock.
#[derive(Debug)]
pub(crate) struct Embedded;

impl Registry for Embedded {
    fn join(&self, pool: &Pool, member: Member) {
        pool.change(|members| members.push(member));
    }

    fn leave(&self, pool: &Pool, tunnel: TunnelId) {
        pool.change(|members| members.remove(tunnel));
    }

    fn members(&self, pool: &Pool, visit: &mut dyn FnMut(&Members)) {
        visit(&pool.members.load());
    }
}
