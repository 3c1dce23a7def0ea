//! A receiver at one moment.

use std::time::Duration;

use super::{
    Phase, Watched,
    counts::{CLASSES, FailureKind},
};
use crate::printable::without_user;

/// A receiver at one moment. Counts are those since it was made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// The name it gives itself.
    pub name: Option<String>,
    /// How far it is.
    pub phase: Phase,
    /// Whether any of its apps is up, as far as the checks of any worker know; up until proved
    /// otherwise. `None` where nothing is checked (`health_path`).
    pub app_up: Option<bool>,
    /// Its gateways, in the order of the configuration.
    pub gateways: Vec<GatewaySnapshot>,
    /// Requests that are over: `1xx` to `5xx` by the status of their answer; `aborted` where the caller
    /// left before one, `failed` where the app gave none. All zero with
    /// [`Receiver::with_streams`](crate::Receiver::with_streams): whoever takes the streams knows.
    pub requests: Vec<(&'static str, u64)>,
    /// Requests that the app gave no answer, or no whole one, by what went wrong. Always the same kinds.
    pub failures: Vec<(&'static str, u64)>,
}

/// A receiver's tunnels to one gateway, at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GatewaySnapshot {
    /// Its address as configured, without a user name and a query, which may be secrets.
    pub url: String,
    /// Tunnels that take requests.
    pub ready: usize,
    /// Requests under way.
    pub in_flight: usize,
    /// Tunnels that became ready.
    pub opened: u64,
    /// Tunnels that ended although they had been ready, those that the gateway drained left out.
    pub lost: u64,
    /// Attempts that came to nothing.
    pub failed: u64,
    /// Bytes read from its tunnels, WebSocket framing included, TLS not.
    pub received: u64,
    /// Bytes written to them, as above.
    pub sent: u64,
    /// It is not tried again.
    pub given_up: bool,
    /// Why a tunnel is missing, where one is.
    pub trouble: Option<Trouble>,
}

/// Why there is no tunnel in a place for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What failed last, fit for a log.
    pub reason: String,
    /// When another is opened, from now; 0 where that is under way. `None`: never.
    pub retry_in: Option<Duration>,
}

impl Snapshot {
    pub(super) fn of(watched: &Watched) -> Self {
        let workers = &watched.workers;
        let any_up = || workers.iter().any(|worker| *worker.app_up.borrow());
        let gateways = watched.gateways.iter();
        Self {
            name: watched.name.clone(),
            phase: *watched.phase.borrow(),
            app_up: watched.checks.then(any_up),
            gateways: gateways
                .map(|gateway| {
                    let url = shown(&gateway.url.to_string());
                    gateway.tunnels.snapshot(url, gateway.was_given_up())
                })
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

    /// True where requests can get through: it runs, a tunnel to any gateway is ready, and the app is
    /// up as far as is known.
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Running
            && self.app_up != Some(false)
            && self.gateways.iter().any(|gateway| gateway.ready > 0)
    }

    /// What is missing, a line each, for people: also of a receiver that is ready, where another
    /// gateway has no tunnel. Holds what gateways say, in a form fit for terminals, and no secrets.
    pub fn missing(&self) -> Vec<String> {
        let mut lines = match self.phase {
            Phase::Created => return vec!["it is not started".to_owned()],
            Phase::Stopping => return vec!["it is stopping".to_owned()],
            // Every tunnel is gone; of interest is who refused it.
            Phase::Ended => {
                let given_up = self.gateways.iter().filter(|gateway| gateway.given_up);
                let why = given_up.map(GatewaySnapshot::missing);
                return std::iter::once("it has ended".to_owned())
                    .chain(why)
                    .collect();
            }
            Phase::Running => Vec::new(),
        };
        let without = self.gateways.iter().filter(|gateway| gateway.ready == 0);
        lines.extend(without.map(GatewaySnapshot::missing));
        if self.app_up == Some(false) {
            lines.push("the app is down".to_owned());
        }
        lines
    }
}

impl GatewaySnapshot {
    fn missing(&self) -> String {
        let Self { url, trouble, .. } = self;
        let Some(Trouble { reason, retry_in }) = trouble else {
            return format!("no tunnel to {url}: none is ready yet");
        };
        let next = match retry_in {
            None => "it is not tried again".to_owned(),
            Some(_) if self.given_up => "it is not tried again".to_owned(),
            Some(Duration::ZERO) => "trying again now".to_owned(),
            Some(wait) => format!("trying again in {:.1} s", wait.as_secs_f64()),
        };
        format!("no tunnel to {url}: {reason}; {next}")
    }
}

/// What a gateway is called where anybody may read it.
fn shown(url: &str) -> String {
    let url = without_user(url);
    match url.split_once(['?', '#']) {
        Some((before, _)) => before.to_owned(),
        None => url,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        config::Config,
        monitor::{Monitor, Running},
    };

    fn watched(checks: bool) -> Arc<Watched> {
        let config = Config {
            gateways: vec![
                "ws://a.example:1/x?token=secret".parse().unwrap(),
                "ws://b.example".parse().unwrap(),
            ],
            name: Some("lab".to_owned()),
            workers: 2,
            ..Config::default()
        };
        Arc::new(Watched::new(&config, checks))
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
        watched.gateways[1].tunnels.fails(0, &"refused", None);
        let told = || Snapshot::of(&watched).missing();
        let [a, b] = [
            "no tunnel to ws://a.example:1/x: none is ready yet".to_owned(),
            "no tunnel to ws://b.example: refused; it is not tried again".to_owned(),
        ];
        assert_eq!(told(), [a.clone(), b.clone()]);
        let soon = Some(Duration::ZERO);
        watched.gateways[1].tunnels.fails(0, &"refused", soon);
        assert_eq!(
            told()[1],
            "no tunnel to ws://b.example: refused; trying again now"
        );
        // Requests get through where any worker finds the app up.
        watched.workers[0].app_up.send_replace(false);
        assert_eq!(Snapshot::of(&watched).app_up, Some(true));
        watched.workers[1].app_up.send_replace(false);
        assert_eq!(Snapshot::of(&watched).app_up, Some(false));
        assert_eq!(told()[2], "the app is down");
    }

    #[test]
    fn requests_of_all_workers_are_added_up() {
        let watched = watched(false);
        for worker in &watched.workers {
            worker.request(Some(200), None);
        }
        watched.workers[1].request(Some(404), None);
        let snapshot = Snapshot::of(&watched);
        let counted = snapshot.requests.into_iter().filter(|(_, n)| *n > 0);
        assert_eq!(counted.collect::<Vec<_>>(), [("2xx", 2), ("4xx", 1)]);
        assert_eq!(snapshot.app_up, None);
    }
}
