//! What every command that serves does first.

use std::future::Future;

use tokio::sync::watch;

use crate::{
    config::Loaded,
    exit::{Failure, SUCCESS},
    signals::{self, Stop},
};

pub(crate) fn start_log(loaded: &Loaded) -> Result<(), Failure> {
    loaded.check_log()?;
    loaded.config.log.start()
}

/// Runs `work` on an event loop of this thread. Workers have threads of their own.
pub(crate) fn serve(work: impl Future<Output = Result<(), Failure>>) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::runtime(format!("cannot start an event loop: {error}")))?;
    runtime.block_on(work).map(|()| SUCCESS)
}

pub(super) fn follow() -> Result<watch::Receiver<Stop>, Failure> {
    signals::follow().map_err(no_signals)
}

pub(super) fn no_signals(error: std::io::Error) -> Failure {
    Failure::runtime(format!("cannot take signals: {error}"))
}

pub(super) fn list<T: std::fmt::Display>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(T::to_string).collect();
    items.join(", ")
}
