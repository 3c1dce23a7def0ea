//! Threads, each with an event loop of its own: callers and tunnels live on one and stay there.

use std::{
    net::{SocketAddr, TcpListener as StdListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use anp_tunnel::Version;
use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{
    admission::{Admission, Tunnels},
    alive::{Alive, Life},
    auth::Auth,
    callers::Desk,
    config::Config,
    conn::{
        Deadline, Metered,
        http1::{self, Finished},
        http2,
    },
    documents::Documents,
    endpoints::Endpoints,
    error::GatewayError,
    listener,
    metrics::WorkerMetrics,
    places::Places,
    proxy::Origin,
    proxy_protocol::{self, Complaint},
    refusals::Refusals,
    route::Routes,
    settings::Settings,
    stop::{Step, Stop},
    tls::{Detached, Keeper, Tls, Transport},
    tunnels,
};

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
    pub(crate) fn alone(config: Config) -> Arc<Self> {
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
            tls: None,
            stop: Stop::default(),
            callers: Alive::default(),
            beginning: Alive::default(),
            handshakes: Alive::default(),
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

/// Which of the gateway's listeners took a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    /// That of callers.
    Public,
    /// That of receivers.
    Tunnel,
}

/// A connection of a caller.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) worker: Arc<Worker>,
    pub(crate) listener: Listener,
    pub(crate) origin: Origin,
}

impl Listener {
    /// The word in logs and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Tunnel => "tunnel",
        }
    }
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

/// Starts a worker's thread. The receiver tells of its end, and of nothing where it panicked.
///
/// # Errors
/// The system gave no thread or event loop.
pub(crate) fn start(
    worker: Arc<Worker>,
    public: Vec<StdListener>,
    dealt: mpsc::UnboundedReceiver<Dealt>,
) -> Result<oneshot::Receiver<()>, GatewayError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(GatewayError::Worker)?;
    let (ended, end) = oneshot::channel();
    thread::Builder::new()
        .name(format!("gateway-{}", worker.index))
        .spawn(move || {
            runtime.block_on(run(worker, public, dealt));
            // What still runs ends with the loop, before the end is told.
            drop(runtime);
            let _ = ended.send(());
        })
        .map_err(GatewayError::Worker)?;
    Ok(end)
}

async fn run(
    worker: Arc<Worker>,
    public: Vec<StdListener>,
    mut dealt: mpsc::UnboundedReceiver<Dealt>,
) {
    for listener in public {
        tokio::spawn(take_callers(worker.clone(), listener));
    }
    let stop = &worker.shared.stop;
    loop {
        tokio::select! {
            next = dealt.recv() => match next {
                Some(tunnel) => tunnels::start(&worker.shared, tunnel),
                None => return,
            },
            () = stop.reached(Step::Now) => return,
        }
    }
}

async fn take_callers(worker: Arc<Worker>, listener: StdListener) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the public listener failed");
            return;
        }
    };
    let max = || worker.shared.settings.load().config.max_connections;
    let take = |socket: TcpStream, peer| match worker.shared.callers.begin(max()) {
        Some(life) => {
            tokio::spawn(serve(worker.clone(), socket, peer, life));
        }
        None => turn_away(&worker.shared, Listener::Public, &socket),
    };
    listener::accept(
        listener,
        "public",
        &worker.shared.stop,
        Step::Draining,
        take,
    )
    .await;
}

/// Refuses a connection beyond `max_connections`.
pub(crate) fn turn_away(shared: &Shared, listener: Listener, socket: &TcpStream) {
    if shared.tls(listener).is_none() {
        // It fits the buffer of a socket nothing was written to.
        let _ = socket.try_write(TOO_MANY);
    }
}

/// To those beyond `max_connections`, before a byte of theirs is read.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\
    content-length: 0\r\nconnection: close\r\n\r\n";

/// Serves one caller's connection to its end. It counts as one for its `_life`.
async fn serve(worker: Arc<Worker>, mut socket: TcpStream, peer: SocketAddr, _life: Life) {
    let Ok(local) = socket.local_addr() else {
        return;
    };
    let beginning = worker.shared.beginning.begin(usize::MAX);
    let mut deadline = Deadline::new(worker.shared.settings.load().limits.head);
    let ends = proxy_protocol::ends(&worker, &mut socket, (peer, local), &mut deadline).await;
    let Some((peer, local)) = ends else {
        return;
    };
    match worker.shared.tls(Listener::Public) {
        None => converse(worker, socket, (peer, local), deadline, beginning).await,
        Some(tls) => {
            let stream = tls.accept(socket, &worker.shared.stop, &mut deadline).await;
            if let Some(stream) = stream {
                // Boxed, as all that is not plain HTTP/1: connections without it are far smaller then.
                Box::pin(converse(worker, stream, (peer, local), deadline, beginning)).await;
            }
        }
    }
}

/// Speaks HTTP with a caller until its connection ends. The first head must come before `deadline`.
async fn converse<IO: Transport>(
    worker: Arc<Worker>,
    socket: IO,
    (peer, local): (SocketAddr, SocketAddr),
    deadline: Deadline,
    beginning: Option<Life>,
) {
    let caller = Arc::new(Caller::new(worker.clone(), Listener::Public, peer, local));
    let io = Metered::new(socket, worker.metrics.clone());
    let finished = match http1::serve(&caller, io, BytesMut::new(), deadline, beginning).await {
        Finished::Http2(io, read, deadline, beginning) => {
            Box::pin(http2::serve(&caller, io, read, deadline, beginning)).await;
            Finished::Closed
        }
        finished => finished,
    };
    match finished {
        Finished::Closed | Finished::Http2(..) => {}
        Finished::Broken(socket) => socket.abort(),
        Finished::Becomes(socket, read, becomes) => {
            Box::pin(tunnels::take_over(
                &worker.shared,
                socket,
                read,
                becomes,
                peer,
            ))
            .await;
        }
    }
}

/// Validated to fit.
pub(crate) fn max_header_size(config: &Config) -> usize {
    usize::try_from(config.max_header_size.0).unwrap_or(64 << 10)
}
