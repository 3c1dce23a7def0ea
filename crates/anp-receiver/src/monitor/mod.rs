//! What a receiver is doing, for health checks and metrics.
//!
//! Requests are counted by each worker for itself, tunnels by each gateway; everything is added up
//! when somebody asks ([`Monitor::snapshot`]).

mod counts;
mod snapshot;
mod tunnels;

use std::sync::Arc;

use tokio::sync::watch;

pub(crate) use counts::{FailureKind, WorkerCounts};
pub use snapshot::{GatewaySnapshot, Snapshot, Trouble};
pub(crate) use tunnels::Tunnels;

use crate::{config::Config, gateway::Gateway};

/// A look at a receiver from outside, cheap to clone and usable from any thread. It outlives the
/// receiver.
#[derive(Clone, Debug)]
pub struct Monitor {
    watched: Arc<Watched>,
}

/// How far a receiver is. It only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Phase {
    /// [`Receiver::run`](crate::Receiver::run) was not polled yet.
    Created,
    /// It holds tunnels, or tries to.
    Running,
    /// It takes nothing new; requests under way end.
    Stopping,
    /// It is over.
    Ended,
}

impl Monitor {
    pub(crate) fn new(watched: Arc<Watched>) -> Self {
        Self { watched }
    }

    /// What it is doing now, and what it has counted since it was made. Takes a short lock for each
    /// gateway, and none that a request waits for.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.watched)
    }
}

/// The parts of a receiver that can be looked at.
#[derive(Debug)]
pub(crate) struct Watched {
    name: Option<String>,
    phase: watch::Sender<Phase>,
    /// The app's health is asked for.
    checks: bool,
    /// In the order of the configuration.
    pub(crate) gateways: Vec<Arc<Gateway>>,
    /// One for each worker.
    pub(crate) workers: Vec<Arc<WorkerCounts>>,
}

impl Watched {
    /// Of a receiver of `config`; `checks` says that it asks for its app's health.
    pub(crate) fn new(config: &Config, checks: bool) -> Self {
        let gateways = config.gateways.iter();
        let gateway = |url: &_| Arc::new(Gateway::new(Clone::clone(url), config));
        Self {
            name: config.name.clone(),
            phase: watch::Sender::new(Phase::Created),
            checks,
            gateways: gateways.map(gateway).collect(),
            workers: (0..config.workers.max(1)).map(|_| Arc::default()).collect(),
        }
    }

    /// It runs, for as long as what is given back lives.
    pub(crate) fn begin(&self) -> Running<'_> {
        self.phase.send_replace(Phase::Running);
        Running(&self.phase)
    }
}

/// A receiver that runs. With the drop of it the receiver is over, whatever ended it.
pub(crate) struct Running<'a>(&'a watch::Sender<Phase>);

impl Running<'_> {
    /// It takes nothing new.
    pub(crate) fn stops(&self) {
        self.0.send_replace(Phase::Stopping);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.send_replace(Phase::Ended);
    }
}
