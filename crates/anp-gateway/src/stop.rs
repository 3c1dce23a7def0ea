//! How a gateway is told to stop, and how far it is.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

use tokio::sync::watch;

/// What the owner of a gateway asks of it, on the channel given to [`crate::Bound::run`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shutdown {
    /// Serve.
    #[default]
    No,
    /// As [`Shutdown::Graceful`], while another process accepts on the same sockets: without a delay,
    /// and no connection is taken any more, not even to refuse it.
    Replaced,
    /// Stop: say so where health is asked for, serve on for [`crate::Config::stop_delay`], then finish
    /// what is under way, up to the drain deadline.
    Graceful,
    /// Stop at once.
    Now,
}

/// The steps of a stop, each reached after the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Step {
    /// Not stopping.
    #[default]
    Running,
    /// Health says so, to whoever leads callers here; all else goes on.
    Leaving,
    /// Nothing new is accepted; every answer closes its connection.
    Draining,
    /// Connections without a request are closed.
    CloseIdle,
    /// Everything ends.
    Now,
}

/// Where a gateway's stop stands. Asking costs a load; waiting is for those who must be woken.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    step: AtomicU8,
    replaced: AtomicBool,
    changed: watch::Sender<Step>,
}

impl Stop {
    /// Goes on to `step` and wakes who waits for it.
    pub(crate) fn go(&self, step: Step) {
        // First the number: who is woken must see it.
        self.step.fetch_max(step as u8, Relaxed);
        self.changed.send_if_modified(|now| {
            let forward = step > *now;
            *now = step.max(*now);
            forward
        });
    }

    /// Another process takes what comes to the listeners from now on.
    pub(crate) fn replace(&self) {
        self.replaced.store(true, Relaxed);
    }

    /// True where another process took over the listeners.
    pub(crate) fn is_replaced(&self) -> bool {
        self.replaced.load(Relaxed)
    }

    /// True once `step` is reached.
    pub(crate) fn is(&self, step: Step) -> bool {
        self.step.load(Relaxed) >= step as u8
    }

    /// Ready once `step` is reached.
    pub(crate) async fn reached(&self, step: Step) {
        // An error would mean that the sender is gone, and it is ours.
        let _ = self.changed.subscribe().wait_for(|now| *now >= step).await;
    }
}
