//! One place for a tunnel: connects, serves, and connects again.

use std::{future::pending, rc::Rc, sync::Arc, time::Duration};

use anp_tunnel::{Closed, Observer, Status, Tunnel, Version};
use anpx::CloseCode;
use tokio::{
    sync::{oneshot, watch},
    task::{JoinSet, spawn_local},
    time::Instant,
};
use tracing::{debug, error, info, warn};

use crate::{
    addresses,
    connect::{ConnectError, Connected, Hello, Link, connect},
    current::Current,
    dispatch::dispatch,
    error::{Error, Failure},
    event::{Event, Events},
    gateway::Gateway,
    health::tell_health,
    place::Place,
    printable::printable,
    proxy::Proxies,
    reconnect::{Backoff, Next, Severity},
    settings::Settings,
    stop::{Stop, reached, supervise},
};

/// How long a gateway that took this receiver before, and refuses it now, is left alone, but for
/// `max_reconnect_delay`.
const REFUSED: Duration = Duration::from_secs(60);

/// What every slot of a receiver is given.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) proxies: Arc<Proxies>,
    pub(crate) events: Events,
}

/// One place for a tunnel to one gateway. Runs where `spawn_local` works.
pub(crate) struct Slot {
    shared: Shared,
    settings: Arc<Settings>,
    gateway: Arc<Gateway>,
    index: u16,
    stop: watch::Receiver<Stop>,
    /// Whose tunnels must have ended before one is opened.
    after: Vec<Arc<Gateway>>,
    current: Rc<Current>,
}

/// A tunnel in use.
struct Held {
    tunnel: Tunnel,
    status: watch::Receiver<Status>,
    /// How it ended, once it has.
    closed: oneshot::Receiver<Closed>,
    /// Its share of an address of the gateway, until another is opened in its place.
    address: Option<addresses::Held>,
}

/// What became of a tunnel.
enum Over {
    /// The gateway sends the receiver elsewhere (ANPX 3.9), for this reason: a replacement is due, while
    /// a tunnel that drains serves what it has.
    SentAway(Failure),
    /// It is gone.
    Closed(Closed),
    /// It turned out to be a second one to a gateway of version 1.
    Superfluous,
    /// Another address of the gateway has no tunnel.
    WantedElsewhere,
    /// There are fewer addresses of the gateway than tunnels beyond those that are configured.
    Spare,
}

impl Slot {
    /// A slot at `place`, whose requests go to what is `current`.
    pub(crate) fn new(shared: Shared, place: Place, current: Rc<Current>) -> Self {
        let Place {
            gateway,
            index,
            settings,
            stop,
            after,
        } = place;
        Self {
            shared,
            settings,
            gateway,
            index,
            stop,
            after,
            current,
        }
    }

    /// Holds a tunnel until that is to end or the gateway is given up, and returns when every
    /// tunnel this slot ever opened is closed.
    pub(crate) async fn run(mut self) {
        let mut tunnels = JoinSet::new();
        let gateway = Arc::clone(&self.gateway);
        let mut stop = self.stop.clone();
        let after = std::mem::take(&mut self.after);
        let holding = async {
            for before in after {
                before.is_over().await;
            }
            self.hold(&mut tunnels).await;
        };
        tokio::select! {
            // A place that is to end before it was taken opens nothing.
            biased;
            () = reached(&mut stop, Stop::Drain) => {}
            () = gateway.is_given_up() => {}
            () = holding => {}
        }
        while tunnels.join_next().await.is_some() {}
    }

    /// Opens one tunnel after the other; returns once the gateway is given up, or needs no tunnel here.
    async fn hold(&self, tunnels: &mut JoinSet<()>) {
        let config = &self.settings.config;
        let mut backoff = Backoff::new(
            config.reconnect_delay.0,
            config.max_reconnect_delay.0,
            config.max_reconnect_attempts,
        );
        loop {
            if self.index > 0 {
                self.gateway.takes_several().await;
            }
            while tunnels.try_join_next().is_some() {}
            let (failure, severity) = match self.open().await {
                Err(error) => {
                    self.gateway.tunnels.count_failed();
                    let severity = error.severity();
                    (error.into(), severity)
                }
                Ok(None) => continue,
                Ok(Some(connected)) => match self.serve(connected, tunnels, &mut backoff).await {
                    Served::Again => continue,
                    Served::Last => return self.gateway.loses(self.index),
                    Served::Failed(failure, severity) => (failure, severity),
                },
            };
            self.while_it_runs().await;
            let severity = match severity {
                // It took us before. A clock that is wrong, a host that is down, a configuration that
                // is mended an hour later: what looks final from here is often not, and nobody may
                // be near to start us again.
                Severity::Fatal if self.gateway.was_healthy() => Severity::Passing {
                    retry_after: Some(REFUSED),
                },
                severity => severity,
            };
            match backoff.failed(severity, rand::random()) {
                Next::Retry { after, attempt } => {
                    self.lost(&failure, after, attempt);
                    tokio::time::sleep(after).await;
                }
                Next::Stop(stop) => {
                    let gateway = self.gateway.url.to_string();
                    error!(receiver = self.name(), %gateway, tunnel = self.index, "no tunnel: {failure}; {stop}");
                    self.gateway.tunnels.fails(self.index, &failure, None);
                    // Before anybody is told, who may then ask for a reload.
                    self.gateway.give_up();
                    self.shared.events.send(&Event::GivenUp {
                        gateway: &gateway,
                        reason: &failure,
                    });
                    self.gateway.because(Error::GivenUp {
                        gateway,
                        cause: failure,
                        stop,
                    });
                    return;
                }
            }
        }
    }

    /// Connects. `None` where the gateway takes one tunnel only and this would be another.
    async fn open(&self) -> Result<Option<Connected>, ConnectError> {
        let settings = &self.settings;
        let config = &settings.config;
        let url = &self.gateway.url;
        debug!(gateway = %url, tunnel = self.index, "connecting");
        let timeout = config.handshake_timeout.0;
        let hello = Hello {
            name: config.name.as_deref(),
            endpoints: &config.endpoints,
            identity: &settings.identity,
        };
        let (proxies, tls) = (&self.shared.proxies, settings.tls.as_ref());
        let connected = connect(&self.gateway, &hello, proxies, tls, timeout).await?;
        if self.gateway.gives(&connected.urls) {
            self.granted(&connected.urls);
        }
        // Told once, not for each tunnel.
        for endpoint in connected.missing.iter().filter(|_| self.index == 0) {
            warn!(receiver = self.name(), gateway = %url, endpoint, "the gateway has no such endpoint for this receiver, which serves the others");
        }
        if self.index > 0 && connected.version == Version::V1 {
            self.gateway.speaks(Version::V1);
            return Ok(None);
        }
        Ok(Some(connected))
    }

    /// Serves a tunnel until another is due in its place.
    async fn serve(
        &self,
        connected: Connected,
        tunnels: &mut JoinSet<()>,
        backoff: &mut Backoff,
    ) -> Served {
        let mut held = self.start(connected, tunnels);
        let opened = Instant::now();
        let over = self.watch(&mut held, backoff).await;
        self.while_it_runs().await;
        let lasted = opened.elapsed();
        match over {
            Over::Closed(closed) => {
                match closed.was_ready {
                    true => self.gateway.tunnels.count_lost(),
                    false => self.gateway.tunnels.count_failed(),
                }
                let severity = match closed.code {
                    Some(CloseCode::AUTHENTICATION | CloseCode::NOT_PERMITTED) => Severity::Fatal,
                    _ => Severity::Passing { retry_after: None },
                };
                Served::Failed(failure(&closed), severity)
            }
            Over::Superfluous => {
                held.tunnel.drain();
                Served::Again
            }
            Over::WantedElsewhere => {
                info!(receiver = self.name(), gateway = %self.gateway.url, tunnel = self.index, "another address of the gateway has no tunnel, opening one there");
                held.tunnel.drain();
                Served::Again
            }
            Over::Spare => {
                info!(receiver = self.name(), gateway = %self.gateway.url, tunnel = self.index, "the gateway has fewer addresses than before, closing a tunnel");
                held.tunnel.drain();
                Served::Last
            }
            // A gateway that sends away what it has just taken is not asked again at once.
            Over::SentAway(why) if lasted < self.settings.config.reconnect_delay.0 => {
                Served::Failed(why, Severity::Passing { retry_after: None })
            }
            Over::SentAway(why) => {
                info!(receiver = self.name(), gateway = %self.gateway.url, tunnel = self.index, "{why}; opening another");
                Served::Again
            }
        }
    }

    /// Never ready once the receiver stops: its tunnels drain and end for that, and no other is opened.
    /// Word of the stop comes to each task by itself, and another may have acted on it before.
    async fn while_it_runs(&self) {
        if *self.stop.borrow() >= Stop::Drain {
            pending::<()>().await;
        }
    }

    /// Puts a tunnel on the connection and sets its tasks going.
    fn start(&self, connected: Connected, tunnels: &mut JoinSet<()>) -> Held {
        let (sender, status) = watch::channel(Status::Opening);
        let Connected {
            link,
            read,
            version,
            held,
            ..
        } = connected;
        let observer: Arc<dyn Observer> = Arc::new(StatusSender(sender));
        let config = self.settings.tunnel.clone();
        let (tunnel, driver) = match link {
            Link::Plain(io) => {
                let (tunnel, driver) = Tunnel::new(io, read, version, config, Some(observer));
                (tunnel, spawn_local(driver))
            }
            Link::Tls(io) => {
                let (tunnel, driver) = Tunnel::new(*io, read, version, config, Some(observer));
                (tunnel, spawn_local(driver))
            }
        };
        let accepting = tunnel.clone();
        let current = Rc::clone(&self.current);
        spawn_local(async move { dispatch(&accepting, |incoming| current.take(incoming)).await });
        spawn_local(tell_health(
            tunnel.clone(),
            status.clone(),
            self.current.app_up(),
        ));
        let listed = self.gateway.tunnels.list(tunnel.clone());
        let (ended, closed) = oneshot::channel();
        let supervised = supervise(tunnel.clone(), driver, self.stop.clone());
        tunnels.spawn_local(async move {
            let closed = supervised.await;
            drop(listed);
            // A tunnel that was replaced has nobody waiting for this.
            let _ = ended.send(closed);
        });
        Held {
            tunnel,
            status,
            closed,
            address: held,
        }
    }

    /// Waits until the tunnel is over, telling of its health on the way.
    async fn watch(&self, held: &mut Held, backoff: &mut Backoff) -> Over {
        let mut told = false;
        loop {
            let status = *held.status.borrow_and_update();
            if !told && matches!(status, Status::Ready | Status::Draining) {
                told = true;
                let version = held.tunnel.version();
                if self.index > 0 && version == Version::V1 {
                    self.gateway.speaks(version);
                    return Over::Superfluous;
                }
                backoff.healthy();
                self.gateway.speaks(version);
                self.ready(version);
            }
            if status == Status::Draining {
                return Over::SentAway(Failure::Draining);
            }
            let elsewhere = async {
                match &held.address {
                    Some(address) => self.gateway.addresses.is_wanted_elsewhere(address).await,
                    None => pending().await,
                }
            };
            let spare = async {
                match &held.address {
                    Some(address) if self.is_further() => {
                        self.gateway.addresses.is_spare(address).await;
                    }
                    _ => pending().await,
                }
            };
            tokio::select! {
                () = elsewhere => return Over::WantedElsewhere,
                () = spare => return Over::Spare,
                closed = &mut held.closed => {
                    return match closed.unwrap_or_else(|_| gone()) {
                        // A tunnel with nothing under way is drained and closed in one moment.
                        closed if is_sent_away(&closed) => Over::SentAway(failure(&closed)),
                        closed => Over::Closed(closed),
                    };
                }
                Ok(()) = held.status.changed() => {}
            }
        }
    }

    /// True for a place that is there for an address of its own: the others stay, one a worker at least.
    fn is_further(&self) -> bool {
        self.index >= self.settings.config.tunnels_per_gateway()
    }

    /// What the receiver calls itself: there may be several in one process.
    fn name(&self) -> Option<&str> {
        self.settings.config.name.as_deref()
    }

    fn granted(&self, urls: &[String]) {
        let gateway = self.gateway.url.to_string();
        for url in urls {
            info!(receiver = self.name(), %gateway, url, "callers reach this receiver");
        }
        let gateway = &gateway;
        self.shared.events.send(&Event::Granted { gateway, urls });
    }

    fn ready(&self, version: Version) {
        let gateway = self.gateway.url.to_string();
        let number = match version {
            Version::V1 => 1,
            Version::V2 | Version::Undecided => 2,
        };
        info!(receiver = self.name(), %gateway, tunnel = self.index, version = number, "tunnel ready");
        self.gateway.tunnels.opens(self.index);
        self.gateway.opens();
        self.shared.events.send(&Event::Ready {
            gateway: &gateway,
            tunnel: self.index,
            version,
        });
    }

    fn lost(&self, failure: &Failure, after: Duration, attempt: u32) {
        let gateway = self.gateway.url.to_string();
        let seconds = after.as_secs_f64();
        warn!(
            receiver = self.name(), %gateway, tunnel = self.index, attempt,
            "no tunnel: {failure}; trying again in {seconds:.1} s"
        );
        self.gateway.tunnels.fails(self.index, failure, Some(after));
        self.shared.events.send(&Event::Lost {
            gateway: &gateway,
            tunnel: self.index,
            reason: failure,
            retry_in: after,
            attempt,
        });
    }
}

/// How a tunnel's service ended.
enum Served {
    /// The next may be opened at once.
    Again,
    /// None is to follow.
    Last,
    /// The next has to wait, if there is to be one.
    Failed(Failure, Severity),
}

/// True where the gateway sent the receiver elsewhere (ANPX 3.9).
fn is_sent_away(closed: &Closed) -> bool {
    closed.was_ready && closed.by_peer && closed.code == Some(CloseCode::GOING_AWAY)
}

/// How a tunnel ended, for people.
fn failure(closed: &Closed) -> Failure {
    Failure::Closed {
        code: closed.code.map(|code| code.0),
        // It may be the gateway's text, and goes into the log as it is.
        reason: printable(&closed.reason),
        by_gateway: closed.by_peer && closed.code.is_some(),
    }
}

/// A tunnel whose supervisor was dropped.
fn gone() -> Closed {
    Closed {
        code: None,
        reason: "its worker ended".into(),
        by_peer: false,
        was_ready: false,
    }
}

/// Carries a tunnel's status to its slot.
struct StatusSender(watch::Sender<Status>);

impl Observer for StatusSender {
    fn status(&self, status: Status) {
        self.0.send_replace(status);
    }

    fn capacity(&self) {}
}
