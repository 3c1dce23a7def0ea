//! One timer for all the deadlines that follow one another on a connection.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    task::coop,
    time::{Instant, Sleep, sleep_until},
};

/// A deadline that moves several times a request and costs next to nothing for it.
///
/// The timer sleeps until the deadline it last saw and, when it fires, looks again. It is set anew
/// only then, or when a deadline moves before it.
#[derive(Debug)]
pub(crate) struct Deadline {
    at: Instant,
    /// Set and not looked at since.
    set: Option<Duration>,
    timer: Pin<Box<Sleep>>,
    /// Whom the timer wakes.
    waits: Option<Waker>,
}

impl Deadline {
    /// A deadline `after` from now.
    pub(crate) fn new(after: Duration) -> Self {
        let at = Instant::now() + after;
        Self {
            at,
            set: None,
            timer: Box::pin(sleep_until(at)),
            waits: None,
        }
    }

    /// Moves the deadline to `after` from when it is next polled: most are moved again before, and
    /// none of those looks at the clock.
    pub(crate) fn set(&mut self, after: Duration) {
        self.set = Some(after);
    }

    /// Moves the deadline to `at`.
    pub(crate) fn set_at(&mut self, at: Instant) {
        self.set = None;
        self.at = at;
    }

    /// Ready once the deadline has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(after) = self.set.take() {
            self.at = Instant::now() + after;
        }
        let knows = |waker: &Waker| waker.will_wake(cx.waker());
        if self.at < self.timer.deadline() {
            self.timer.as_mut().reset(self.at);
        } else if self.waits.as_ref().is_some_and(knows) && !self.timer.is_elapsed() {
            return Poll::Pending;
        }
        self.waits = Some(cx.waker().clone());
        // A task that has done much must not keep it from the waker: it is not polled again for that.
        while pin!(coop::unconstrained(self.timer.as_mut()))
            .poll(cx)
            .is_ready()
        {
            if self.at <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.at);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn it_is_passed_when_it_was_last_set_to_and_not_before() {
        let begin = Instant::now();
        let mut deadline = Deadline::new(SECOND);
        deadline.set(5 * SECOND);
        poll_fn(|cx| deadline.poll(cx)).await;
        assert!((5..6).contains(&begin.elapsed().as_secs()));
        deadline.set(9 * SECOND);
        deadline.set(2 * SECOND);
        poll_fn(|cx| deadline.poll(cx)).await;
        assert!((7..8).contains(&begin.elapsed().as_secs()));
    }

    #[tokio::test(start_paused = true)]
    async fn it_runs_from_when_it_is_waited_for() {
        let begin = Instant::now();
        let mut deadline = Deadline::new(SECOND);
        deadline.set(3 * SECOND);
        tokio::time::advance(2 * SECOND).await;
        poll_fn(|cx| deadline.poll(cx)).await;
        assert!((5..6).contains(&begin.elapsed().as_secs()));
    }

    #[tokio::test(start_paused = true)]
    async fn it_wakes_a_task_that_had_done_its_share_when_it_first_asked() {
        let begin = Instant::now();
        let mut deadline = Deadline::new(SECOND);
        let mut spent = false;
        poll_fn(|cx| {
            while !spent && pin!(coop::consume_budget()).poll(cx).is_ready() {}
            spent = true;
            deadline.poll(cx)
        })
        .await;
        assert!((1..2).contains(&begin.elapsed().as_secs()));
    }

    #[tokio::test(start_paused = true)]
    async fn it_can_be_set_to_a_time() {
        let begin = Instant::now();
        let mut deadline = Deadline::new(SECOND);
        deadline.set(9 * SECOND);
        deadline.set_at(begin + 3 * SECOND);
        tokio::time::advance(2 * SECOND).await;
        poll_fn(|cx| deadline.poll(cx)).await;
        assert!((3..4).contains(&begin.elapsed().as_secs()));
    }

    #[tokio::test(start_paused = true)]
    async fn it_wakes_whoever_polled_last() {
        let mut deadline = Deadline::new(SECOND);
        let mut nobody = Context::from_waker(Waker::noop());
        assert!(deadline.poll(&mut nobody).is_pending());
        poll_fn(|cx| deadline.poll(cx)).await;
        deadline.set(2 * SECOND);
        assert!(deadline.poll(&mut nobody).is_pending());
        deadline.set(SECOND);
        poll_fn(|cx| deadline.poll(cx)).await;
    }
}
