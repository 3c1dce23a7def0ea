//! A receiver from start to stop.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use anp_auth::Signer;
use http::{Request, Response};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tower_service::Service;
use tracing::{info, warn};

use crate::{
    app::{
        Source, TakeStreams,
        error::BoxError,
        service::{self, Body},
    },
    check::{Finding, check},
    config::{Config, MAX_TUNNELS},
    error::Error,
    event::{Event, Events},
    gateway::Gateway,
    monitor::{Monitor, Watched},
    proof::Identity,
    proxy::Proxies,
    slot::Shared,
    stop::Stop,
    tls::Tls,
    worker,
};

/// How long closing everything may take once a drain is over: the close handshakes (ANPX 3.9).
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Time between two looks at the addresses of gateways.
const BALANCE_INTERVAL: Duration = Duration::from_secs(15);

/// A receiver that has not been started.
#[derive(Debug)]
pub struct Receiver {
    config: Config,
    source: Source,
    identity: Identity,
    watched: Arc<Watched>,
    proxies: Option<Proxies>,
    events: Events,
}

impl Receiver {
    /// A receiver of `config` that calls the apps at its URLs.
    ///
    /// # Errors
    /// [`Error::Config`]: see [`Config::validate`], and `status_listen` is set, which nobody here would
    /// serve; [`Error::Identity`]: the files it proves itself with cannot be used.
    pub fn new(config: Config) -> Result<Self, Error> {
        config.validate()?;
        config.validate_unserved()?;
        Self::of(config, Source::Http)
    }

    /// A receiver of `config` that calls `service`, an app in this process: an axum router, tonic's
    /// routes, or any `tower::Service`. Each request gets a clone, on the thread that carries its
    /// tunnel: what takes the processor for long belongs elsewhere (`tokio::spawn_blocking`, or a
    /// runtime of the user's own).
    ///
    /// The request's body streams ([`Body`]), and [`Caller`](crate::Caller) is in its extensions. An
    /// upgrade has hyper's `OnUpgrade` there, as axum's WebSockets need. When a caller leaves, the
    /// call or the response's body is dropped at once. A service that panics or returns an error
    /// answers 500; once its response has begun, that breaks off.
    ///
    /// # Errors
    /// [`Error::Config`]: see [`Config::validate_in_process`].
    pub fn with_service<S, B>(config: Config, service: S) -> Result<Self, Error>
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: 'static,
        B: http_body::Body + 'static,
        B::Error: Into<BoxError>,
    {
        let service = Mutex::new(service);
        Self::with_services(config, move || service.lock().clone())
    }

    /// As [`Receiver::with_service`]; `make` makes each worker a service of its own, on its thread.
    /// It need not be `Send`.
    ///
    /// # Errors
    /// As [`Receiver::with_service`].
    pub fn with_services<S, B>(
        config: Config,
        make: impl Fn() -> S + Send + Sync + 'static,
    ) -> Result<Self, Error>
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + 'static,
        S::Error: Into<BoxError>,
        S::Future: 'static,
        B: http_body::Body + 'static,
        B::Error: Into<BoxError>,
    {
        config.validate_in_process()?;
        Self::of(config, Source::Service(service::maker(make)))
    }

    /// A receiver of `config` that gives every request to `taker` as the tunnel has it.
    ///
    /// # Errors
    /// [`Error::Config`]: see [`Config::validate_streams`].
    pub fn with_streams(config: Config, taker: Arc<dyn TakeStreams>) -> Result<Self, Error> {
        config.validate_streams()?;
        Self::of(config, Source::Streams(taker))
    }

    fn of(config: Config, source: Source) -> Result<Self, Error> {
        let checks = matches!(source, Source::Http) && config.health_path.is_some();
        Ok(Self {
            identity: Identity::load(&config)?,
            watched: Arc::new(Watched::new(&config, checks)),
            config,
            source,
            proxies: None,
            events: Events::none(),
        })
    }

    /// What it is doing, from now to its end and beyond.
    pub fn monitor(&self) -> Monitor {
        Monitor::new(Arc::clone(&self.watched))
    }

    /// Proves who it is by `signer`, in place of what the configuration names, in the form that
    /// [`Config::auth_form`] says.
    #[must_use]
    pub fn with_signer(mut self, signer: Signer) -> Self {
        self.identity = Identity::Key(Box::new(signer), self.config.auth_form);
        self
    }

    /// Connects through `proxies` instead of those the environment names.
    #[must_use]
    pub fn with_proxies(mut self, proxies: Proxies) -> Self {
        self.proxies = Some(proxies);
        self
    }

    /// Tells `observer` of every [`Event`], on the thread where it happens: it must be quick.
    #[must_use]
    pub fn with_observer(mut self, observer: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.events = Events::to(observer);
        self
    }

    /// Asks every gateway whether it takes this receiver, and every app at a URL whether it answers,
    /// once each. No request comes through meanwhile.
    ///
    /// # Errors
    /// Nothing could be asked: TLS could not be set up, or a proxy variable cannot be used.
    pub async fn check(&self) -> Result<Vec<Finding>, Error> {
        match &self.proxies {
            Some(proxies) => check(&self.config, &self.identity, proxies).await,
            None => check(&self.config, &self.identity, &Proxies::from_env()?).await,
        }
    }

    /// Holds tunnels and answers requests until `shutdown` is ready; then lets requests in flight
    /// end, for `drain_timeout` at most, and closes the tunnels (ANPX 3.9). Dropping the future
    /// closes everything at once.
    ///
    /// # Errors
    /// Nothing could be started, or every gateway was given up; never after `shutdown`.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let running = self.watched.begin();
        let proxies = match self.proxies {
            Some(proxies) => proxies,
            None => Proxies::from_env()?,
        };
        let config = Arc::new(self.config);
        let (stop, stopping) = watch::channel(Stop::No);
        let shared = Shared {
            tunnel: config.tunnel(),
            config: Arc::clone(&config),
            identity: Arc::new(self.identity),
            proxies: Arc::new(proxies),
            tls: Tls::new(&config)?,
            events: self.events,
            source: self.source,
            stop: stopping,
        };
        let gateways = &self.watched.gateways;
        let dealt = worker::deal(gateways, config.tunnels_per_gateway(), config.workers);
        let mut workers = Vec::with_capacity(dealt.len());
        let mut more = Vec::with_capacity(dealt.len());
        let counts = self.watched.workers.iter().map(Arc::clone);
        for (number, (places, counts)) in dealt.into_iter().zip(counts).enumerate() {
            let (sender, added) = mpsc::unbounded_channel();
            more.push(sender);
            let worker = worker::start(number, places, added, shared.clone(), counts)?;
            workers.push(worker);
        }
        let balancing = balance(gateways.clone(), config.tunnels_per_gateway(), more);
        let balancing = AbortOnDrop(tokio::spawn(balancing));
        let mut workers = Workers(workers);
        tokio::select! {
            result = workers.over() => {
                result?;
                let reason = gateways.iter().rev().find_map(|g| g.take_reason());
                return reason.map_or(Ok(()), Err);
            }
            () = shutdown => {}
        }
        drop(balancing);
        running.stops();
        let drain_timeout = config.drain_timeout.0;
        let name = config.name.as_deref();
        info!(receiver = name, drain_timeout = %config.drain_timeout, "receiver stopping");
        stop.send_replace(Stop::Drain);
        if let Ok(result) = tokio::time::timeout(drain_timeout, workers.all_over()).await {
            return result;
        }
        warn!(
            receiver = name,
            "requests still in flight at the drain deadline are cut off"
        );
        stop.send_replace(Stop::Now);
        // Workers that do not end in time end with their tunnels' peers.
        tokio::time::timeout(CLOSE_TIMEOUT, workers.all_over())
            .await
            .unwrap_or(Ok(()))
    }
}

/// Serves `service` through the gateways of `config` until `shutdown` is ready, and lets requests in
/// flight end then: [`Receiver::with_service`] and [`Receiver::run`] in one.
///
/// # Errors
/// As those.
pub async fn serve<S, B>(
    config: Config,
    service: S,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: 'static,
    B: http_body::Body + 'static,
    B::Error: Into<BoxError>,
{
    Receiver::with_service(config, service)?.run(shutdown).await
}

/// Gives every address of every gateway a tunnel: further places where there are more addresses than
/// `tunnels`, which go again once the addresses do, and a tunnel moved where one has several and another
/// none. Never ends.
async fn balance(
    gateways: Vec<Arc<Gateway>>,
    tunnels: u16,
    workers: Vec<mpsc::UnboundedSender<(Arc<Gateway>, u16)>>,
) {
    let mut turn = workers.iter().cycle();
    loop {
        for gateway in &gateways {
            // A name that cannot be resolved now is told of by whoever needs it.
            let Ok(addresses) = gateway.addresses.balance().await else {
                continue;
            };
            let wanted = u16::try_from(addresses.len()).unwrap_or(u16::MAX);
            let wanted = wanted.min(MAX_TUNNELS).max(tunnels);
            for index in gateway.extend(tunnels, wanted) {
                if let Some(worker) = turn.next() {
                    let _ = worker.send((Arc::clone(gateway), index));
                }
            }
            // A tunnel that is not there yet takes no other's place.
            let excess = gateway.tunnels.ready().saturating_sub(wanted.into());
            gateway.addresses.spare(&addresses, excess);
        }
        tokio::time::sleep(BALANCE_INTERVAL).await;
    }
}

/// A task that ends with whoever waits for it.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The ends of the workers that run.
struct Workers(Vec<oneshot::Receiver<()>>);

impl Workers {
    /// Waits for every worker, or the first that breaks, which is forgotten.
    async fn over(&mut self) -> Result<(), Error> {
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
    async fn all_over(&mut self) -> Result<(), Error> {
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
    fn one_breaks() -> (oneshot::Sender<()>, Workers) {
        let (lives, one) = oneshot::channel();
        let (_, two) = oneshot::channel();
        (lives, Workers(vec![one, two]))
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
