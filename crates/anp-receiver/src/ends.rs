//! The ends of a receiver's workers.

use std::{
    future::{Future as _, poll_fn},
    io,
    pin::Pin,
    task::Poll,
};

use tokio::sync::oneshot;

use crate::error::Error;

/// The ends of the workers that run.
pub(crate) struct Ends(pub(crate) Vec<oneshot::Receiver<()>>);

impl Ends {
    /// Waits for every worker, or the first that breaks, which is forgotten.
    pub(crate) async fn over(&mut self) -> Result<(), Error> {
        poll_fn(|cx| {
            let mut broke = false;
            self.0.retain_mut(|worker| match Pin::new(worker).poll(cx) {
                Poll::Pending => true,
                Poll::Ready(over) => {
                    broke |= over.is_err();
                    false
                }
            });
            match (broke, self.0.is_empty()) {
                (true, _) => Poll::Ready(Err(Error::Worker {
                    doing: "broke",
                    source: io::Error::other("it panicked"),
                })),
                (false, true) => Poll::Ready(Ok(())),
                (false, false) => Poll::Pending,
            }
        })
        .await
    }

    /// Waits for every worker, also where one breaks: the others have requests to end.
    pub(crate) async fn all_over(&mut self) -> Result<(), Error> {
        let mut result = Ok(());
        loop {
            match self.over().await {
                Ok(()) => return result,
                broke => result = broke,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two workers, the second of which breaks; what the first tells its end by.
    fn one_breaks() -> (oneshot::Sender<()>, Ends) {
        let (lives, one) = oneshot::channel();
        let (_, two) = oneshot::channel();
        (lives, Ends(vec![one, two]))
    }

    #[tokio::test]
    async fn a_worker_that_breaks_is_noticed_while_another_lives() {
        let (lives, mut workers) = one_breaks();
        let broke = workers.over().await;
        assert!(matches!(broke, Err(Error::Worker { .. })));
        lives.send(()).unwrap();
        assert!(workers.over().await.is_ok());
    }

    #[tokio::test]
    async fn while_a_receiver_stops_the_others_may_end() {
        let (lives, mut workers) = one_breaks();
        let all_over = workers.all_over();
        tokio::pin!(all_over);
        tokio::select! {
            biased;
            _ = &mut all_over => unreachable!(),
            () = std::future::ready(()) => {}
        }
        lives.send(()).unwrap();
        assert!(matches!(all_over.await, Err(Error::Worker { .. })));
    }
}
