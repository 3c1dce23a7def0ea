//! One timer for all the deadlines that follow one another on a connection.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// A deadline that moves with every request and costs no timer for it.
///
/// The timer sleeps until the deadline it last saw and, when it fires, looks again. It is set anew
/// only then, or when a deadline moves before it.
#[derive(Debug)]
pub(crate) struct Deadline {
    at: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Deadline {
    /// A deadline `after` from now.
    pub(crate) fn new(after: Duration) -> Self {
        let at = Instant::now() + after;
        Self {
            at,
            timer: Box::pin(sleep_until(at)),
        }
    }

    /// Moves the deadline to `after` from now.
    pub(crate) fn set(&mut self, after: Duration) {
        self.at = Instant::now() + after;
    }

    /// Ready once the deadline has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.at < self.timer.deadline() {
            self.timer.as_mut().reset(self.at);
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if self.at <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.at);
        }
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
}
