//! Receivers that could not reach their app just now.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::members::ReceiverId;

/// How long a receiver is passed over once it could not reach its app.
const LASTS: Duration = Duration::from_secs(1);
/// Most receivers of an endpoint that are passed over: of more the oldest is asked again.
const MOST: usize = 64;

/// The receivers of one endpoint that are asked only where no other takes a request. One whose app is
/// gone answers at once and so has the least to do: without this it would be chosen first each time.
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    any: AtomicBool,
    receivers: Mutex<Vec<(ReceiverId, Instant)>>,
}

impl Doubts {
    /// `receiver` could not reach its app.
    pub(crate) fn add(&self, receiver: ReceiverId) {
        let mut receivers = self.receivers.lock();
        receivers.retain(|(other, _)| *other != receiver);
        if receivers.len() == MOST {
            receivers.remove(0);
        }
        receivers.push((receiver, Instant::now() + LASTS));
        self.any.store(true, Relaxed);
    }

    /// Those in doubt now. Costs a load where there are none.
    pub(crate) fn now(&self) -> Vec<ReceiverId> {
        if !self.any.load(Relaxed) {
            return Vec::new();
        }
        let now = Instant::now();
        let mut receivers = self.receivers.lock();
        receivers.retain(|(_, until)| *until > now);
        self.any.store(!receivers.is_empty(), Relaxed);
        receivers.iter().map(|(receiver, _)| *receiver).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_receiver_is_in_doubt_for_a_second_after_it_last_failed() {
        let doubts = Doubts::default();
        let [one, other] = [ReceiverId(1), ReceiverId(2)];
        assert_eq!(doubts.now(), []);
        doubts.add(one);
        tokio::time::advance(LASTS / 2).await;
        doubts.add(other);
        assert_eq!(doubts.now(), [one, other]);
        doubts.add(one);
        tokio::time::advance(LASTS / 2).await;
        assert_eq!(doubts.now(), [other, one]);
        doubts.add(other);
        tokio::time::advance(LASTS / 2).await;
        assert_eq!(doubts.now(), [other]);
        tokio::time::advance(LASTS / 2).await;
        assert_eq!(doubts.now(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_in_doubt_is_bounded() {
        let doubts = Doubts::default();
        (0..=MOST as u64).for_each(|id| doubts.add(ReceiverId(id)));
        let now = doubts.now();
        assert_eq!((now.len(), now.first()), (MOST, Some(&ReceiverId(1))));
    }
}
