//! A receiver at one moment.

use std::time::Duration;

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
    /// Its gateways, in the order of the configuration; behind them those that it has no more.
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
    /// The configuration names it no more since a reload: its tunnels end with what is under way.
    pub leaving: bool,
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

impl Snapshot {
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
                let gateways = self.gateways.iter();
                let given_up = gateways.filter(|gateway| gateway.given_up && !gateway.leaving);
                let why = given_up.map(GatewaySnapshot::missing);
                return std::iter::once("it has ended".to_owned())
                    .chain(why)
                    .collect();
            }
            Phase::Running => Vec::new(),
        };
        let is_without = |gateway: &&GatewaySnapshot| gateway.ready == 0 && !gateway.leaving;
        let without = self.gateways.iter().filter(is_without);
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
