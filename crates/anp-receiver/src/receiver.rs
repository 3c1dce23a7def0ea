//! A receiver from start to stop.

use std::{future::Future, pin::pin, sync::Arc};

use anp_auth::Signer;
use http::{Request, Response};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tower_service::Service;
use tracing::{info, warn};

use crate::{
    app::{
        Source, TakeStreams,
        error::BoxError,
        service::{self, Body},
    },
    check::{Finding, check},
    config::{Config, changes::Files},
    error::Error,
    event::{Event, Events},
    fleet::{CLOSE_TIMEOUT, Fleet},
    monitor::{Monitor, Watched},
    proof::Identity,
    proxy::Proxies,
    reload::{Next, Reloader, Validate},
    settings::Settings,
    slot::Shared,
    stop::Stop,
};

/// A receiver that has not been started.
#[derive(Debug)]
pub struct Receiver {
    config: Config,
    files: Files,
    validate: Validate,
    source: Source,
    identity: Arc<Identity>,
    /// It is the program's, and not of the configuration.
    is_signer: bool,
    watched: Arc<Watched>,
    proxies: Option<Proxies>,
    events: Events,
    reloads: (mpsc::UnboundedSender<Next>, mpsc::UnboundedReceiver<Next>),
}

impl Receiver {
    /// A receiver of `config` that calls the apps at its URLs.
    ///
    /// # Errors
    /// [`Error::Config`]: see [`Config::validate`], and `status_listen` is set, which nobody here would
    /// serve; [`Error::Identity`]: the files it proves itself with cannot be used.
    pub fn new(config: Config) -> Result<Self, Error> {
        Self::of(config, Source::Http, |config| {
            config.validate()?;
            config.validate_unserved()
        })
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
        let source = Source::Service(service::maker(make));
        Self::of(config, source, Config::validate_in_process)
    }

    /// A receiver of `config` that gives every request to `taker` as the tunnel has it.
    ///
    /// # Errors
    /// [`Error::Config`]: see [`Config::validate_streams`].
    pub fn with_streams(config: Config, taker: Arc<dyn TakeStreams>) -> Result<Self, Error> {
        Self::of(config, Source::Streams(taker), Config::validate_streams)
    }

    fn of(config: Config, source: Source, validate: Validate) -> Result<Self, Error> {
        validate(&config)?;
        let files = Files::of(&config);
        let identity = Identity::load(&config)?;
        identity.tell();
        Ok(Self {
            identity: Arc::new(identity),
            is_signer: false,
            watched: Arc::new(Watched::new(&config)),
            config,
            files,
            validate,
            source,
            proxies: None,
            events: Events::none(),
            reloads: mpsc::unbounded_channel(),
        })
    }

    /// What it is doing, from now to its end and beyond.
    pub fn monitor(&self) -> Monitor {
        Monitor::new(Arc::clone(&self.watched))
    }

    /// What lets it take up another configuration while it runs. There is to be one.
    pub fn reloader(&self) -> Reloader {
        let (config, files) = (self.config.clone(), self.files.clone());
        Reloader::new(config, files, self.validate, self.reloads.0.clone())
    }

    /// Proves who it is by `signer`, now and after every reload, in place of what the configuration names,
    /// in the form that [`Config::auth_form`] says.
    #[must_use]
    pub fn with_signer(mut self, signer: Signer) -> Self {
        let identity = Identity::Key(Box::new(signer), self.config.auth_form);
        (self.identity, self.is_signer) = (Arc::new(identity), true);
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
        let shared = Shared {
            proxies: Arc::new(proxies),
            events: self.events,
        };
        let signer = self.is_signer.then(|| Arc::clone(&self.identity));
        let settings = Settings::new(self.config, self.identity)?;
        let watched = &self.watched;
        let (mut fleet, mut ends) = Fleet::start(&shared, &self.source, settings, signer, watched)?;
        let (_, mut reloads) = self.reloads;
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                // Why it ended is told before a reload begins anew.
                biased;
                result = ends.over() => {
                    result?;
                    let gateways = watched.gateways();
                    let reason = gateways.iter().rev().find_map(|g| g.take_reason());
                    return reason.map_or(Ok(()), Err);
                }
                Some(next) = reloads.recv() => fleet.follow(next, &mut ends),
                () = &mut shutdown => break,
            }
        }
        // Who asks for a reload now does not wait for the end.
        drop(reloads);
        fleet.rests();
        running.stops();
        let config = &Arc::clone(fleet.settings()).config;
        let name = config.name.as_deref();
        info!(receiver = name, drain_timeout = %config.drain_timeout, "receiver stopping");
        fleet.stops(Stop::Drain);
        if let Ok(result) = tokio::time::timeout(config.drain_timeout.0, ends.all_over()).await {
            return result;
        }
        warn!(
            receiver = name,
            "requests still in flight at the drain deadline are cut off"
        );
        fleet.stops(Stop::Now);
        // Workers that do not end in time end with their tunnels' peers.
        tokio::time::timeout(CLOSE_TIMEOUT, ends.all_over())
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
