//! The way to the thread that makes changes, and that thread.

use std::{
    io, iter,
    panic::{AssertUnwindSafe, catch_unwind},
    slice,
    sync::{OnceLock, mpsc},
    thread,
};

use tokio::sync::{oneshot, watch};

use super::change::{Answer, Change, ChangeError};

/// Changes that are written at once, at most.
const BATCH: usize = 1024;

struct Order {
    change: Change,
    done: oneshot::Sender<Answer>,
}

/// The way to the thread that makes changes.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    orders: OnceLock<mpsc::Sender<Order>>,
    /// True until the file, to which another gateway still writes, was read again.
    behind: watch::Sender<bool>,
}

impl Endpoints {
    /// Starts the thread on which `make` makes changes until it gives nothing. What they are made to is
    /// `behind` where another gateway still writes to the file.
    ///
    /// # Errors
    /// The system gave no thread.
    pub(super) fn start(
        &self,
        behind: bool,
        make: impl FnMut(&[Change]) -> Option<Vec<Answer>> + Send + 'static,
    ) -> io::Result<()> {
        self.behind.send_replace(behind);
        let (sender, orders) = mpsc::channel();
        thread::Builder::new()
            .name("endpoints".to_owned())
            .spawn(move || serve(&orders, make))?;
        let _ = self.orders.set(sender);
        Ok(())
    }

    /// Makes a change. It is on the disk and in effect when this returns.
    ///
    /// # Errors
    /// Nothing was changed.
    pub(crate) async fn change(&self, change: Change) -> Answer {
        let orders = self.orders.get().ok_or(ChangeError::NoStore)?;
        let (done, answer) = oneshot::channel();
        let sent = orders.send(Order { change, done });
        let lost = || ChangeError::Store("the registry's thread has ended".to_owned());
        sent.map_err(|_| lost())?;
        answer.await.unwrap_or_else(|_| Err(lost()))
    }

    /// Reads the file again, now that no other gateway writes to it any more.
    pub(crate) async fn catch_up(&self) {
        // A gateway without a registry has nothing to catch up with. One that cannot read its file has
        // told the log, and nobody need wait for it.
        let _ = self.change(Change::CatchUp).await;
        self.behind.send_replace(false);
    }

    /// True where what another gateway wrote may not be known here yet.
    pub(crate) fn are_behind(&self) -> bool {
        *self.behind.borrow()
    }

    /// Ready once they are not.
    pub(crate) async fn caught_up(&self) {
        // An error would mean that the sender is gone, and it is ours.
        let _ = self.behind.subscribe().wait_for(|behind| !behind).await;
    }
}

/// Has `make` make the changes that are asked for, some at once, until it gives nothing.
fn serve(orders: &mpsc::Receiver<Order>, mut make: impl FnMut(&[Change]) -> Option<Vec<Answer>>) {
    while let Ok(first) = orders.recv() {
        let waiting = orders.try_iter().take(BATCH - 1);
        let (changes, askers): (Vec<_>, Vec<_>) = iter::once(first)
            .chain(waiting)
            .map(|order| (order.change, order.done))
            .unzip();
        let Some(answers) = surviving(&changes, &mut make) else {
            return;
        };
        for (asker, answer) in askers.into_iter().zip(answers) {
            // Whoever left meanwhile finds the change made.
            let _ = asker.send(answer);
        }
    }
}

/// Makes changes. Where that panics, what is served is as it was, but the file may be ahead of it: it
/// is read again, and each change is made by itself, so that one bad change costs no other.
fn surviving(
    changes: &[Change],
    make: &mut impl FnMut(&[Change]) -> Option<Vec<Answer>>,
) -> Option<Vec<Answer>> {
    let mut attempt = |changes: &[Change]| {
        // Nothing half made is looked at again: see above.
        catch_unwind(AssertUnwindSafe(|| make(changes))).inspect_err(|_| {
            tracing::error!(changes = changes.len(), "a change to the registry panicked");
        })
    };
    if let Ok(answers) = attempt(changes) {
        return answers;
    }
    let mut answers = Vec::with_capacity(changes.len());
    for change in changes {
        let _ = attempt(&[Change::CatchUp]);
        answers.extend(match attempt(slice::from_ref(change)) {
            Ok(answer) => answer?,
            Err(_) => vec![Err(ChangeError::Panicked)],
        });
    }
    Some(answers)
}

#[cfg(test)]
mod tests {
    use super::{super::version::Expected, *};

    /// Makes changes as the gateway does, as far as their names go: "bad" panics.
    fn make(changes: &[Change], done: &mut Vec<String>) -> Option<Vec<Answer>> {
        let answer = |change: &Change| match change {
            Change::Remove(name, _) if name == "bad" => panic!("a bad change"),
            Change::Remove(name, _) => {
                done.push(name.clone());
                Ok(())
            }
            _ => Ok(()),
        };
        Some(changes.iter().map(answer).collect())
    }

    #[tokio::test]
    async fn a_change_that_panics_is_answered_and_the_next_is_made() {
        let (sender, orders) = mpsc::channel();
        let endpoints = Endpoints {
            orders: OnceLock::from(sender),
            ..Endpoints::default()
        };
        let remove =
            |name: &str| endpoints.change(Change::Remove(name.to_owned(), Expected::Anything));
        // All three wait before the first is taken, and so are made at once.
        let (mut first, mut bad, mut last) = (
            Box::pin(remove("a")),
            Box::pin(remove("bad")),
            Box::pin(remove("b")),
        );
        for waiting in [&mut first, &mut bad, &mut last] {
            assert!(polled(waiting.as_mut()).is_none());
        }
        let thread = thread::spawn(move || {
            let mut done = Vec::new();
            serve(&orders, |changes| make(changes, &mut done));
            done
        });
        assert_eq!(first.await, Ok(()));
        assert_eq!(bad.await, Err(ChangeError::Panicked));
        assert_eq!(last.await, Ok(()));
        assert_eq!(remove("c").await, Ok(()));
        drop(endpoints);
        let done = thread.join().unwrap();
        assert_eq!(done.last().map(String::as_str), Some("c"));
    }

    fn polled<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        match future.poll(&mut cx) {
            std::task::Poll::Ready(done) => Some(done),
            std::task::Poll::Pending => None,
        }
    }
}
