//! A thread that runs a gateway or a receiver to its end.

use std::{
    future::Future,
    thread::{self, JoinHandle},
};

use parking_lot::Mutex;
use pyo3::{exceptions::PyOSError, prelude::*};
use tokio::{runtime::Builder, sync::watch};

/// How far a stop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    No,
    /// What is under way may end.
    Graceful,
    Now,
}

/// The thread, and the way to stop it.
pub(crate) struct Runner {
    stop: watch::Sender<Stop>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Runner {
    /// Runs what `work` makes, on an event loop and a thread of its own.
    ///
    /// # Errors
    /// The system gave no thread or no event loop.
    pub(crate) fn start<F: Future<Output = ()>>(
        name: &str,
        work: impl FnOnce(watch::Receiver<Stop>) -> F + Send + 'static,
    ) -> PyResult<Self> {
        let (stop, stopping) = watch::channel(Stop::No);
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(PyOSError::new_err)?;
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || runtime.block_on(work(stopping)))
            .map_err(PyOSError::new_err)?;
        Ok(Self {
            stop,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Asks for a stop; one that was asked for is never taken back.
    pub(crate) fn stop(&self, how: Stop) {
        self.stop.send_if_modified(|now| {
            let more = how > *now;
            if more {
                *now = how;
            }
            more
        });
    }

    /// Waits until the thread is over. Call it without the GIL.
    pub(crate) fn join(&self) {
        if let Some(thread) = self.thread.lock().take() {
            // That it panicked, whoever waits for its end is told there.
            let _ = thread.join();
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.stop(Stop::Now);
    }
}

/// Ready once `stop` says `what`, or nobody can any more.
pub(crate) async fn reached(mut stop: watch::Receiver<Stop>, what: Stop) {
    let _ = stop.wait_for(|now| *now >= what).await;
}
