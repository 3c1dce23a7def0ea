//! From a configuration to a running gateway and to its end.

use std::{
    iter::{once, repeat},
    net::{SocketAddr, TcpListener as StdListener},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    time::Instant,
};

use crate::{
    admin::{self, Admin},
    admission::Tunnels,
    alive::Alive,
    auth::{self, Auth, permissions},
    callers::Desk,
    config::Config,
    documents::Documents,
    endpoints::{self, Endpoints, Kept, Store},
    error::GatewayError,
    handover::Handover,
    inherited::Listeners,
    listener::Until,
    metrics::{Handshakes, LogMetrics, Metrics, Reloads, WorkerMetrics},
    places::Places,
    redirect::{self, Redirects},
    refusals::Refusals,
    registry::Embedded,
    reload::{Reloader, Source},
    route::Routes,
    running::Running,
    settings::Settings,
    stop::{Shutdown, Step, Stop},
    tls::{Keeper, acme},
    tunnels,
    worker::{Shared, Worker},
    workers,
};

/// How long a gateway whose listeners served before lets requests wait for receivers to come over:
/// the grace of the one that stops, with time to connect.
const RECEIVERS_COME: Duration = Duration::from_secs(10);

/// The public side of tunnels.
#[derive(Debug)]
pub struct Gateway;

/// A gateway whose listeners are open. Callers are served once it runs.
#[derive(Debug)]
pub struct Bound {
    config: Config,
    tls: Option<Arc<Keeper>>,
    public: Vec<StdListener>,
    tunnel: StdListener,
    redirect: Option<StdListener>,
    admin: Option<StdListener>,
    /// Those of the gateway before at other addresses.
    left: Listeners,
    /// The registry's file, and what it held.
    registry: Option<(Store, Kept)>,
    addresses: Addresses,
    /// Some came from elsewhere: whoever served them before had receivers, which will come.
    inherited: bool,
    /// Another gateway still changes the registry.
    catches_up: bool,
    /// When, in seconds since 1970.
    opened_at: i64,
    reloader: Reloader,
    /// What counts the lines of the log that were dropped.
    log_lines_dropped: Option<fn() -> u64>,
}

#[derive(Clone, Copy, Debug)]
struct Addresses {
    public: SocketAddr,
    tunnel: SocketAddr,
    redirect: Option<SocketAddr>,
    admin: Option<SocketAddr>,
}

impl Gateway {
    /// Checks the configuration and opens every listener.
    ///
    /// # Errors
    /// A setting cannot be, or an address cannot be listened on.
    pub async fn bind(config: Config) -> Result<Bound, GatewayError> {
        Self::bind_with(config, Listeners::default()).await
    }

    /// As [`Gateway::bind`], with listeners that are open already. Where receivers are expected to
    /// follow them, requests wait for those at first: up to 10 s.
    ///
    /// # Errors
    /// As [`Gateway::bind`].
    pub async fn bind_with(config: Config, mut given: Listeners) -> Result<Bound, GatewayError> {
        config.validate()?;
        let tls = Keeper::new(&config)?.map(Arc::new);
        let registry = match config.endpoint_store.clone() {
            Some(path) => Some(load(path).await?),
            None => None,
        };
        let inherited = !given.is_empty();
        let opened_at = auth::now();
        let workers = config.worker_count();
        let public = open("listen", config.listen, |a| given.public(a, workers))?;
        let tunnel = open("tunnel_listen", config.tunnel_listen, |a| given.tunnel(a))?;
        let redirect = config.redirect_listen;
        let redirect = redirect.map(|at| open("redirect_listen", at, |a| given.redirect(a)));
        let redirect = redirect.transpose()?;
        let admin = config.admin_listen;
        let admin = admin.map(|at| open("admin_listen", at, |a| given.admin(a)));
        let admin = admin.transpose()?;
        let local =
            |key, address, listener: &StdListener| open(key, address, |_| listener.local_addr());
        let local_of = |key, address: Option<_>, listener: &Option<_>| {
            let both = address.zip(listener.as_ref());
            both.map(|(address, listener)| local(key, address, listener))
                .transpose()
        };
        let addresses = Addresses {
            public: local("listen", config.listen, &public[0])?,
            tunnel: local("tunnel_listen", config.tunnel_listen, &tunnel)?,
            redirect: local_of("redirect_listen", config.redirect_listen, &redirect)?,
            admin: local_of("admin_listen", config.admin_listen, &admin)?,
        };
        Ok(Bound {
            config,
            tls,
            public,
            tunnel,
            redirect,
            admin,
            left: given.left(),
            registry,
            addresses,
            inherited,
            catches_up: false,
            opened_at,
            reloader: Reloader::default(),
            log_lines_dropped: None,
        })
    }
}

/// Reads the registry's file, off the event loop.
async fn load(path: PathBuf) -> Result<(Store, Kept), GatewayError> {
    let read = tokio::task::spawn_blocking(move || {
        let shown = path.display().to_string();
        let mut store = Store::new(path);
        let kept = store.load()?;
        let (endpoints, documents) = (kept.endpoints.len(), kept.documents.len());
        tracing::info!(
            path = shown,
            endpoints,
            documents,
            "read the registry of endpoints"
        );
        Ok((store, kept))
    });
    read.await.unwrap_or(Err(GatewayError::WorkerLost))
}

fn open<T>(
    key: &'static str,
    address: SocketAddr,
    open: impl FnOnce(SocketAddr) -> std::io::Result<T>,
) -> Result<T, GatewayError> {
    open(address).map_err(|source| GatewayError::Listen {
        key,
        address,
        source,
    })
}

impl Bound {
    /// Where callers connect.
    pub fn public_addr(&self) -> SocketAddr {
        self.addresses.public
    }

    /// Where receivers connect.
    pub fn tunnel_addr(&self) -> SocketAddr {
        self.addresses.tunnel
    }

    /// What callers speak: `http` or `https`.
    pub fn public_scheme(&self) -> &'static str {
        match self.config.has_public_tls() {
            true => "https",
            false => "http",
        }
    }

    /// What receivers speak on the tunnel listener: `ws` or `wss`.
    pub fn tunnel_scheme(&self) -> &'static str {
        match self.config.has_tunnel_tls() {
            true => "wss",
            false => "ws",
        }
    }

    /// Where callers are sent on to https, if anywhere.
    pub fn redirect_addr(&self) -> Option<SocketAddr> {
        self.addresses.redirect
    }

    /// Where health and metrics are served, if anywhere.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.addresses.admin
    }

    /// The configuration comes from `source`, which a reload asks again. What it gives when the
    /// configuration cannot be read is shown to whoever asked for the reload.
    #[must_use]
    pub fn reads(
        self,
        source: impl Fn() -> Result<Config, String> + Send + Sync + 'static,
    ) -> Self {
        self.reloader.is_from(Source::from(Box::new(source)));
        self
    }

    /// Calls `then` whenever a reload has taken up what [`Bound::reads`] gave.
    #[must_use]
    pub fn reloaded(self, then: impl Fn() + Send + Sync + 'static) -> Self {
        self.reloader.tells(Box::new(then));
        self
    }

    /// The gateway that gave the listeners still runs, and changes the registry until
    /// [`Handover::catch_up`]: who asks for what is not there waits for that, as for receivers.
    #[must_use]
    pub fn catches_up(mut self) -> Self {
        self.catches_up = true;
        self
    }

    /// Lines of the program's log may be dropped, and `count` says how many were: a series of `/metrics`.
    #[must_use]
    pub fn counts_dropped_log_lines(mut self, count: fn() -> u64) -> Self {
        self.log_lines_dropped = Some(count);
        self
    }

    /// What takes up the configuration anew, once the gateway runs.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// What is to be known where another gateway takes this one's place, once it runs.
    pub fn handover(&self) -> Handover {
        Handover::new(self.reloader.gateway())
    }

    /// Other handles on the listeners, to hand over to the process that will follow this one. What
    /// the system holds of connections is then taken by either.
    ///
    /// # Errors
    /// The system gave no more descriptors.
    pub fn listeners(&self) -> std::io::Result<Listeners> {
        let all = |listener: &StdListener| listener.try_clone();
        Ok(Listeners {
            public: self.public.iter().map(all).collect::<Result<_, _>>()?,
            tunnel: Some(self.tunnel.try_clone()?),
            redirect: self.redirect.as_ref().map(all).transpose()?,
            admin: self.admin.as_ref().map(all).transpose()?,
            handed_over: true,
        })
    }

    /// Serves until `shutdown` says otherwise; its sender's end is a graceful stop.
    ///
    /// # Errors
    /// A worker could not be started, or ended by itself.
    pub async fn run(self, shutdown: watch::Receiver<Shutdown>) -> Result<(), GatewayError> {
        self.run_then(shutdown, || {}).await
    }

    /// As [`Bound::run`]; calls `serving` once every listener is served.
    ///
    /// # Errors
    /// As [`Bound::run`].
    pub async fn run_then(
        self,
        shutdown: watch::Receiver<Shutdown>,
        serving: impl FnOnce(),
    ) -> Result<(), GatewayError> {
        let Addresses {
            public,
            tunnel,
            redirect,
            admin,
        } = self.addresses;
        let running = self.start()?;
        serving();
        tracing::info!(listener = "public", address = %public, "listening");
        tracing::info!(listener = "tunnel", address = %tunnel, "listening");
        if let Some(address) = redirect {
            tracing::info!(listener = "redirect", %address, "listening");
        }
        if let Some(address) = admin {
            tracing::info!(listener = "admin", %address, "listening");
        }
        running.until(shutdown).await
    }

    fn start(self) -> Result<Running, GatewayError> {
        let config = self.config;
        let count = config.worker_count();
        let routes = Arc::new(Routes::new(&config));
        let hosted = config.auth.as_ref().and_then(|a| a.hosted_domain.clone());
        let documents = Arc::new(Documents::new(hosted));
        let store = self.registry.map(|(store, kept)| {
            routes.register(&config, kept.endpoints);
            documents.load(kept.documents);
            store
        });
        let registry = Arc::new(Embedded);
        let mut tunnels = Tunnels::new(routes.clone(), registry, count);
        if self.inherited {
            tunnels = tunnels.expecting(Instant::now() + RECEIVERS_COME);
        }
        let places = Arc::new(Places::new(routes.clone(), &config));
        let auth = match &config.auth {
            Some(settings) => {
                // What another process took until now is not known to a new store.
                let since = match self.inherited {
                    true => auth::now(),
                    false => self.opened_at,
                };
                let ports = [self.addresses.tunnel.port(), self.addresses.public.port()];
                let known = (routes.clone(), places.clone(), documents.clone());
                Some(Auth::new(settings, known, ports, self.inherited, since)?)
            }
            None => None,
        };
        let public = share_out(&self.public, self.addresses.public, count)?;
        // Few come to these, and not for long.
        let mut left = self.left;
        let mut left_public = std::mem::take(&mut left.public);
        let (dealt, taken): (Vec<_>, Vec<_>) =
            (0..count).map(|_| mpsc::unbounded_channel()).unzip();
        let shared = Arc::new(Shared {
            tunnels: Arc::new(tunnels),
            routes,
            tls: self.tls,
            auth,
            documents,
            places,
            desk: Desk::here(),
            refusals: Refusals::default(),
            handshake_outcomes: Handshakes::default(),
            reloads: Reloads::default(),
            endpoints: Endpoints::default(),
            stop: Stop::default(),
            callers: Alive::default(),
            beginning: Alive::default(),
            handshakes: Alive::default(),
            redirects: Redirects::to(self.addresses.public.port()),
            connected: Alive::default(),
            dealt,
            settings: ArcSwap::from_pointee(Settings::new(config)?),
        });
        if let Some(store) = store {
            let started = endpoints::start(&shared, store, self.catches_up);
            started.map_err(GatewayError::Worker)?;
        }
        self.reloader.runs(&shared);
        // From here on an error must end the threads that run: dropping `Running` does.
        let mut running = Running::new(shared.clone());
        let mut counters = Vec::new();
        for ((index, public), taken) in public.into_iter().enumerate().zip(taken) {
            let metrics = Arc::new(WorkerMetrics::default());
            counters.push(metrics.clone());
            let worker = Arc::new(Worker::new(index, shared.clone(), metrics));
            let own = public.into_iter().zip(repeat(Until::Step(Step::Draining)));
            let left = left_public.drain(..).zip(repeat(Until::Left));
            let public = own.chain(left).collect();
            running.ends_with(workers::start(worker, public, taken)?);
        }
        // Handshakes run here, on the caller's event loop, and are not callers' requests.
        let apart = Arc::new(WorkerMetrics::default());
        let worker = Arc::new(Worker::new(0, shared.clone(), apart));
        for (listener, until) in with_left(self.tunnel, Step::Now, left.tunnel) {
            let listener = from_std("tunnel_listen", self.addresses.tunnel, listener)?;
            tokio::spawn(tunnels::serve(worker.clone(), listener, until));
        }
        if let Some((address, listener)) = self.addresses.redirect.zip(self.redirect) {
            for (listener, until) in with_left(listener, Step::Draining, left.redirect) {
                let listener = from_std("redirect_listen", address, listener)?;
                tokio::spawn(redirect::serve(worker.clone(), listener, until));
            }
        }
        if let Some(keeper) = shared.tls.clone() {
            let (watching, watched) = (shared.clone(), keeper.clone());
            tokio::spawn(async move { watched.watch(&watching.stop).await });
            let acme = shared.settings.load().config.acme.clone();
            if let (Some(acme), Some(store)) = (acme, keeper.public_store().cloned()) {
                let shared = shared.clone();
                tokio::spawn(async move { acme::keep(acme, keeper, store, &shared.stop).await });
            }
        }
        if shared.auth.is_some() {
            tokio::spawn(permissions::watch(shared.clone()));
            tokio::spawn(permissions::watch_documents(shared.clone()));
        }
        if let Some((address, listener)) = self.addresses.admin.zip(self.admin) {
            let metrics = Metrics::new(counters, shared.clone());
            let mut admin = Admin::new(shared, metrics, self.reloader);
            if let Some(count) = self.log_lines_dropped {
                admin = admin.with_log(LogMetrics(count));
            }
            let admin = Arc::new(admin);
            for (listener, until) in with_left(listener, Step::Now, left.admin) {
                let listener = from_std("admin_listen", address, listener)?;
                tokio::spawn(admin::serve(admin.clone(), listener, until));
            }
        }
        Ok(running)
    }
}

/// Gives every worker its listeners: each is served by one at least, since what the system queues
/// on one nobody serves would wait for ever. Workers beyond them share the first.
fn share_out(
    public: &[StdListener],
    address: SocketAddr,
    workers: usize,
) -> Result<Vec<Vec<StdListener>>, GatewayError> {
    let mut shares = Vec::with_capacity(workers);
    for index in 0..workers {
        // Those it has to itself, or one that it shares.
        let own = public.iter().skip(index).step_by(workers);
        let shared = public.first().filter(|_| index >= public.len());
        let handles = own.chain(shared).map(StdListener::try_clone);
        shares.push(open("listen", address, |_| handles.collect())?);
    }
    Ok(shares)
}

/// A listener that is served until the gateway's stop is so far, and one that the gateway before left.
fn with_left(
    listener: StdListener,
    until: Step,
    left: Option<StdListener>,
) -> impl Iterator<Item = (StdListener, Until)> {
    let left = left.map(|left| (left, Until::Left));
    once((listener, Until::Step(until))).chain(left)
}

fn from_std(
    key: &'static str,
    address: SocketAddr,
    listener: StdListener,
) -> Result<TcpListener, GatewayError> {
    open(key, address, |_| TcpListener::from_std(listener))
}
