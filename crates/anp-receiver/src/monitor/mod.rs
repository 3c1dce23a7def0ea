//! What a receiver is doing, for health checks and metrics.
//!
//! Requests are counted by each worker for itself, tunnels by each gateway; everything is added up
//! when somebody asks ([`Monitor::snapshot`]).

mod counts;
mod snapshot;
pub(crate) mod tunnels;

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use counts::CLASSES;
pub(crate) use counts::WorkerCounts;
pub use snapshot::{GatewaySnapshot, Phase, Snapshot, Trouble};

use crate::{app::error::FailureKind, config::Config, gateway::Gateway};

/// A look at a receiver from outside, cheap to clone and usable from any thread. It outlives the
/// receiver.
#[derive(Clone, Debug)]
pub struct Monitor {
    watched: Arc<Watched>,
}

impl Monitor {
    pub(crate) fn new(watched: Arc<Watched>) -> Self {
        Self { watched }
    }

    /// What it is doing now, and what it has counted since it was made. Takes a short lock for each
    /// gateway, and none that a request waits for.
    pub fn snapshot(&self) -> Snapshot {
        self.watched.snapshot()
    }
}

/// The parts of a receiver that can be looked at.
#[derive(Debug)]
pub(crate) struct Watched {
    phase: watch::Sender<Phase>,
    seen: Mutex<Seen>,
    /// One for each worker.
    pub(crate) workers: Vec<Arc<WorkerCounts>>,
}

/// What a reload changes.
#[derive(Debug)]
struct Seen {
    name: Option<String>,
    /// The app's health is asked for.
    checks: bool,
    /// In the order of the configuration.
    gateways: Vec<Arc<Gateway>>,
    /// Those that it has no more, until their tunnels are over.
    leaving: Vec<Arc<Gateway>>,
}

impl Watched {
    /// Of a receiver of `config`.
    pub(crate) fn new(config: &Config) -> Self {
        let gateways = config.gateways.iter();
        let gateway = |url: &_| Arc::new(Gateway::new(Clone::clone(url), config));
        Self {
            phase: watch::Sender::new(Phase::Created),
            seen: Mutex::new(Seen {
                name: config.name.clone(),
                checks: config.health_path.is_some(),
                gateways: gateways.map(gateway).collect(),
                leaving: Vec::new(),
            }),
            workers: (0..config.workers.max(1)).map(|_| Arc::default()).collect(),
        }
    }

    /// Its gateways, in the order of the configuration.
    pub(crate) fn gateways(&self) -> Vec<Arc<Gateway>> {
        self.seen.lock().gateways.clone()
    }

    /// Those that it has no more, and whose tunnels are not over.
    pub(crate) fn leaving(&self) -> Vec<Arc<Gateway>> {
        self.seen.lock().leaving.clone()
    }

    /// From now on it is a receiver of `config`, and has these gateways; those in `left` no more.
    pub(crate) fn follow(
        &self,
        config: &Config,
        gateways: Vec<Arc<Gateway>>,
        left: &[Arc<Gateway>],
    ) {
        let mut seen = self.seen.lock();
        seen.name.clone_from(&config.name);
        seen.checks = config.health_path.is_some();
        seen.gateways = gateways;
        seen.leaving.extend_from_slice(left);
    }

    /// Of a gateway that it has no more the last tunnel is over.
    pub(crate) fn forget(&self, gateway: &Arc<Gateway>) {
        let mut seen = self.seen.lock();
        seen.leaving.retain(|other| !Arc::ptr_eq(gateway, other));
    }

    /// It runs, for as long as what is given back lives.
    pub(crate) fn begin(&self) -> Running<'_> {
        self.phase.send_replace(Phase::Running);
        Running(&self.phase)
    }

    fn snapshot(&self) -> Snapshot {
        let workers = &self.workers;
        let any_up = || workers.iter().any(|worker| worker.app_up());
        let seen = self.seen.lock();
        let look = |gateway: &Arc<Gateway>, leaving| {
            let url = gateway.url.to_string();
            let given_up = gateway.was_given_up();
            let snapshot = gateway.tunnels.snapshot(url, given_up);
            GatewaySnapshot {
                leaving,
                ..snapshot
            }
        };
        // One that another took the place of is counted with that.
        let counted_with = |a: &Arc<Gateway>, b: &Arc<Gateway>| Arc::ptr_eq(&a.tunnels, &b.tunnels);
        let alone = |(at, gone): &(usize, &Arc<Gateway>)| {
            let earlier = seen.leaving.iter().take(*at);
            let mut others = seen.gateways.iter().chain(earlier);
            !others.any(|other| counted_with(other, gone))
        };
        let gateways = seen.gateways.iter().map(|gateway| look(gateway, false));
        let leaving = seen.leaving.iter().enumerate().filter(alone);
        Snapshot {
            name: seen.name.clone(),
            phase: *self.phase.borrow(),
            app_up: seen.checks.then(any_up),
            gateways: gateways
                .chain(leaving.map(|(_, gateway)| look(gateway, true)))
                .collect(),
            requests: CLASSES
                .iter()
                .enumerate()
                .map(|(class, name)| (*name, workers.iter().map(|w| w.requests(class)).sum()))
                .collect(),
            failures: FailureKind::ALL
                .iter()
                .map(|kind| {
                    let sum = workers.iter().map(|w| w.failures(*kind)).sum();
                    (kind.name(), sum)
                })
                .collect(),
        }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn watched(checks: bool) -> Arc<Watched> {
        let config = Config {
            gateways: vec![
                "ws://a.example:1/x?token=secret".parse().unwrap(),
                "ws://b.example".parse().unwrap(),
            ],
            name: Some("lab".to_owned()),
            workers: 2,
            health_path: checks.then(|| "/".to_owned()),
            ..Config::default()
        };
        Arc::new(Watched::new(&config))
    }

    #[test]
    fn from_creation_to_the_end_each_phase_is_told() {
        let watched = watched(false);
        let monitor = Monitor::new(Arc::clone(&watched));
        let told = || (monitor.snapshot().phase, monitor.snapshot().missing());
        let only = |phase, line: &str| (phase, vec![line.to_owned()]);
        assert_eq!(told(), only(Phase::Created, "it is not started"));
        let running: Running<'_> = watched.begin();
        assert_eq!(told().0, Phase::Running);
        running.stops();
        assert_eq!(told(), only(Phase::Stopping, "it is stopping"));
        drop(running);
        assert_eq!(told(), only(Phase::Ended, "it has ended"));
        assert!(!monitor.snapshot().is_ready());
    }

    #[test]
    fn each_gateway_without_a_tunnel_is_told_without_its_secrets() {
        let watched = watched(true);
        let _running = watched.begin();
        watched.gateways()[1].tunnels.fails(0, &"refused", None);
        let told = || watched.snapshot().missing();
        let [a, b] = [
            "no tunnel to ws://a.example:1/x: none is ready yet".to_owned(),
            "no tunnel to ws://b.example: refused; it is not tried again".to_owned(),
        ];
        assert_eq!(told(), [a.clone(), b.clone()]);
        let soon = Some(Duration::ZERO);
        watched.gateways()[1].tunnels.fails(0, &"refused", soon);
        assert_eq!(
            told()[1],
            "no tunnel to ws://b.example: refused; trying again now"
        );
        // Requests get through where any worker finds the app up.
        let down = || watch::channel(false).1;
        watched.workers[0].follow_health(down());
        assert_eq!(watched.snapshot().app_up, Some(true));
        watched.workers[1].follow_health(down());
        assert_eq!(watched.snapshot().app_up, Some(false));
        assert_eq!(told()[2], "the app is down");
    }

    #[test]
    fn requests_of_all_workers_are_added_up() {
        let watched = watched(false);
        for worker in &watched.workers {
            worker.request(Some(200), None);
        }
        watched.workers[1].request(Some(404), None);
        let snapshot = watched.snapshot();
        let counted = snapshot.requests.into_iter().filter(|(_, n)| *n > 0);
        assert_eq!(counted.collect::<Vec<_>>(), [("2xx", 2), ("4xx", 1)]);
        assert_eq!(snapshot.app_up, None);
    }
}
