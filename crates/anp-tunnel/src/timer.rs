//! The clock, and the one timer of a driver.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Waker},
    time::Instant,
};

use tokio::{task::unconstrained, time::Sleep};

use crate::shared::set;

/// The one timer of a driver, armed anew only where its deadline would come too late.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    armed: Option<Instant>,
    waker: Option<Waker>,
}

impl Timer {
    pub(crate) fn has_fired(&self, now: Instant) -> bool {
        self.armed.is_some_and(|armed| now >= armed)
    }

    pub(crate) fn arm(&mut self, cx: &mut Context<'_>, deadline: Instant, now: Instant) {
        let same_task = self
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()));
        let in_time = self
            .armed
            .is_some_and(|armed| armed <= deadline && armed > now);
        if same_task && in_time {
            return;
        }
        let at = tokio::time::Instant::from_std(deadline);
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        sleep.as_mut().reset(at);
        self.armed = Some(deadline);
        set(&mut self.waker, cx.waker());
        // Whatever the task has done before: it may not be asked again.
        let sleep = pin!(unconstrained(sleep.as_mut()));
        if sleep.poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}

/// The time, as tokio's clock tells it: tests pause that one.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
