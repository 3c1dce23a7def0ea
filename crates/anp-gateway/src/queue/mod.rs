//! The bounded wait for a place when every tunnel of an endpoint is full.

mod line;
mod pace;
#[cfg(test)]
mod tests;

use std::{
    future::poll_fn,
    sync::atomic::{AtomicUsize, Ordering::SeqCst, fence},
    task::Poll,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use self::{line::Line, pace::Pace};
use crate::error::ProxyError;

/// Most seconds a caller is asked to stay away: by then everything may be different.
const MOST_AWAY: f64 = 60.0;

/// Those who wait for a place on a tunnel of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    line: Line,
    pace: Pace,
}

/// What one who waits is held to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Most others that may wait.
    pub(crate) size: usize,
    /// How long it may wait.
    pub(crate) limit: Duration,
    /// It may not wait at all where, at the pace at which others get places, its turn would come after
    /// `limit`.
    pub(crate) paced: bool,
}

impl Queue {
    /// One of those whom not every place is right for, who are asked in turn. In others any place is
    /// right for all, and who is first keeps its turn until it has one.
    pub(crate) fn of_the_choosy() -> Self {
        let (line, pace) = (Line::of_the_choosy(), Pace::default());
        Self {
            waiting: AtomicUsize::default(),
            state: Mutex::new(State { line, pace }),
        }
    }

    /// True where nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.load(SeqCst) == 0
    }

    /// A place may have become free. Costs a load where nobody waits.
    pub(crate) fn wake_one(&self) {
        if !self.is_empty() {
            self.state.lock().line.offer();
        }
    }

    /// Many places became free: a tunnel joined, or there is nothing left to wait for.
    pub(crate) fn wake_all(&self) {
        if !self.is_empty() {
            self.state.lock().line.call_all();
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
            if !self.state.lock().line.take_call(turn.number, cx.waker()) {
                return Poll::Pending;
            }
            // Places are looked for once others see that this one waits, and will tell it.
            fence(SeqCst);
            match attempt() {
                Err(ProxyError::Full) => {
                    turn.number = self.state.lock().line.decline(turn.number, &places);
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
        if !self.is_empty() {
            self.state.lock().line.pass_on(&places);
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
        let State { line, pace } = &mut *self.state.lock();
        let waiting = line.len();
        let free = line.about_to_leave(places);
        if waiting >= size.saturating_add(free) {
            return Err(ProxyError::Full);
        }
        let ahead = waiting.saturating_sub(free);
        let expected = match paced {
            true => pace.expected(ahead, limit, now),
            false => 0.0,
        };
        if expected > limit.as_secs_f64() {
            let seconds = expected.ceil().clamp(1.0, MOST_AWAY);
            // At most 60, and whole.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            return Err(ProxyError::Overloaded(seconds as u16));
        }
        match paced {
            true if waiting == 0 => pace.begin(limit, now),
            true => {}
            // What passes now says nothing of the pace.
            false => *pace = Pace::default(),
        }
        self.waiting.store(waiting + 1, SeqCst);
        Ok(Turn {
            queue: self,
            number: line.enter(free),
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
        let State { line, pace } = &mut *self.queue.state.lock();
        if self.patience.paced {
            let limit = self.patience.limit;
            pace.left(self.served, limit, Instant::now());
        }
        line.leave(self.number);
        self.queue.waiting.store(line.len(), SeqCst);
    }
}
