//! What the event loops of a gateway share, and what each has of its own.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use anp_tunnel::Version;
use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::{net::TcpStream, sync::mpsc, time::timeout};

use crate::{
    admission::{Admission, Tunnels},
    alive::{Alive, Life},
    auth::Auth,
    callers::Desk,
    documents::Documents,
    endpoints::Endpoints,
    listener::Listener,
    metrics::{Handshakes, Reloads, WorkerMetrics},
    places::Places,
    proxy::Origin,
    proxy_protocol::complaint::Complaint,
    redirect::Redirects,
    refusals::Refusals,
    route::Routes,
    settings::Settings,
    stop::Stop,
    tls::{Detached, Keeper, Tls},
};

/// To those beyond `max_connections`, before a byte of theirs is read.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\
    content-length: 0\r\nconnection: close\r\n\r\n";

/// What all of a gateway shares.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Replaced as a whole by a reload.
    pub(crate) settings: ArcSwap<Settings>,
    pub(crate) routes: Arc<Routes>,
    /// How receivers prove who they are, where they can.
    pub(crate) auth: Option<Auth>,
    /// DID documents that are served here.
    pub(crate) documents: Arc<Documents>,
    /// Endpoints that DIDs have by their names.
    pub(crate) places: Arc<Places>,
    /// Where the signatures of callers are verified.
    pub(crate) desk: Desk,
    /// Tells the log who was turned away.
    pub(crate) refusals: Refusals,
    /// What became of the handshakes of receivers.
    pub(crate) handshake_outcomes: Handshakes,
    pub(crate) reloads: Reloads,
    pub(crate) endpoints: Endpoints,
    pub(crate) tunnels: Arc<Tunnels>,
    /// TLS of the listeners that speak it.
    pub(crate) tls: Option<Arc<Keeper>>,
    pub(crate) stop: Stop,
    /// Connections of callers.
    pub(crate) callers: Alive,
    /// Those of them whose first request is still to come, or to find a tunnel.
    pub(crate) beginning: Alive,
    /// Connections of the tunnel listener that are no tunnels yet, or will be none.
    pub(crate) handshakes: Alive,
    /// Callers who are sent on to https.
    pub(crate) redirects: Redirects,
    /// Tunnels whose handshake is over.
    pub(crate) connected: Alive,
    /// Ways to the workers, by index.
    pub(crate) dealt: Vec<mpsc::UnboundedSender<Dealt>>,
}

/// A tunnel on its way to the worker that will drive it.
#[derive(Debug)]
pub(crate) struct Dealt {
    pub(crate) socket: Detached,
    pub(crate) peer: SocketAddr,
    /// Bytes read past the handshake.
    pub(crate) read: Bytes,
    pub(crate) version: Version,
    pub(crate) admission: Admission,
}

/// One of the event loops, as its connections see it.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) metrics: Arc<WorkerMetrics>,
    /// About connections without a PROXY header that can be used.
    pub(crate) complaint: Complaint,
    turn: AtomicUsize,
}

#[cfg(test)]
impl Shared {
    /// That of a gateway without workers, listeners, identities and a registry's file.
    pub(crate) fn alone(config: crate::config::Config) -> Arc<Self> {
        let routes = Arc::new(Routes::new(&config));
        let registry = Arc::new(crate::registry::Embedded);
        Arc::new(Self {
            tunnels: Arc::new(Tunnels::new(routes.clone(), registry, 1)),
            documents: Arc::new(Documents::new(None)),
            places: Arc::new(Places::new(routes.clone(), &config)),
            routes,
            endpoints: Endpoints::default(),
            auth: None,
            desk: Desk::here(),
            refusals: Refusals::default(),
            handshake_outcomes: Handshakes::default(),
            reloads: Reloads::default(),
            tls: None,
            stop: Stop::default(),
            callers: Alive::default(),
            beginning: Alive::default(),
            handshakes: Alive::default(),
            redirects: Redirects::to(443),
            connected: Alive::default(),
            dealt: Vec::new(),
            settings: Arc::new(Settings::new(config).unwrap()).into(),
        })
    }
}

impl Shared {
    /// TLS of a listener; `None` where it is plain.
    pub(crate) fn tls(&self, listener: Listener) -> Option<&Arc<Tls>> {
        self.tls.as_ref()?.of(listener)
    }

    /// The place of a connection among the `max_connections` of its listener; one beyond them is refused.
    pub(crate) fn place(&self, listener: Listener, socket: &TcpStream) -> Option<Life> {
        let connections = match listener {
            Listener::Public => &self.callers,
            Listener::Tunnel => &self.handshakes,
            // A count of its own: who looks for open ports must not take the places of callers.
            Listener::Redirect => &self.redirects.connections,
        };
        let place = connections.begin(self.settings.load().config.max_connections);
        if place.is_none() {
            self.turn_away(listener, socket);
        }
        place
    }

    /// Refuses a connection beyond `max_connections`.
    fn turn_away(&self, listener: Listener, socket: &TcpStream) {
        if self.tls(listener).is_none() {
            // It fits the buffer of a socket nothing was written to.
            let _ = socket.try_write(TOO_MANY);
        }
    }

    /// How many callers are connected, those included who are sent on to https.
    pub(crate) fn caller_count(&self) -> usize {
        self.callers.count() + self.redirects.connections.count()
    }

    /// Ready when none is.
    pub(crate) async fn no_callers(&self) {
        self.callers.none().await;
        self.redirects.connections.none().await;
    }

    /// Ready once all is known that a gateway which was replaced wrote to the registry. Nobody waits
    /// longer for that than for its receivers.
    pub(crate) async fn caught_up(&self) {
        if self.endpoints.are_behind()
            && let Some(left) = self.tunnels.expects_for()
        {
            let _ = timeout(left, self.endpoints.caught_up()).await;
        }
    }
}

impl Worker {
    pub(crate) fn new(index: usize, shared: Arc<Shared>, metrics: Arc<WorkerMetrics>) -> Self {
        Self {
            index,
            shared,
            metrics,
            complaint: Complaint::default(),
            turn: AtomicUsize::new(0),
        }
    }

    /// A number that grows with each call.
    pub(crate) fn turn(&self) -> usize {
        self.turn.fetch_add(1, Relaxed)
    }
}

/// A connection of a caller.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) worker: Arc<Worker>,
    pub(crate) listener: Listener,
    pub(crate) origin: Origin,
}

impl Caller {
    /// A connection from `peer` to `local`.
    pub(crate) fn new(
        worker: Arc<Worker>,
        listener: Listener,
        peer: SocketAddr,
        local: SocketAddr,
    ) -> Self {
        let scheme = match worker.shared.tls(listener) {
            Some(_) => "https",
            None => "http",
        };
        let settings = worker.shared.settings.load();
        let origin = Origin::new(peer, local, scheme).trusting(&settings.trusted);
        drop(settings);
        Self {
            worker,
            listener,
            origin,
        }
    }
}
