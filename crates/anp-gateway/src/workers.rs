//! Threads, each with an event loop of its own: callers and tunnels live on one and stay there.

use std::{
    net::{SocketAddr, TcpListener as StdListener},
    sync::Arc,
    thread,
};

use bytes::BytesMut;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
};

use crate::{
    alive::Life,
    conn::{
        Deadline, Metered,
        http1::{self, Finished},
        http2,
    },
    error::GatewayError,
    listener::{self, Listener, Until},
    proxy_protocol,
    stop::Step,
    tls::Transport,
    tunnels,
    worker::{Caller, Dealt, Worker},
};

/// Starts a worker's thread, which takes callers from each listener as long as it says. The receiver
/// tells of its end, and of nothing where it panicked.
///
/// # Errors
/// The system gave no thread or event loop.
pub(crate) fn start(
    worker: Arc<Worker>,
    public: Vec<(StdListener, Until)>,
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
    public: Vec<(StdListener, Until)>,
    mut dealt: mpsc::UnboundedReceiver<Dealt>,
) {
    for (listener, until) in public {
        tokio::spawn(take_callers(worker.clone(), listener, until));
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

async fn take_callers(worker: Arc<Worker>, listener: StdListener, until: Until) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the public listener failed");
            return;
        }
    };
    let shared = &worker.shared;
    let take = |socket: TcpStream, peer| {
        if let Some(life) = shared.place(Listener::Public, &socket) {
            tokio::spawn(serve(worker.clone(), socket, peer, life));
        }
    };
    let name = Listener::Public.name();
    listener::accept(listener, name, &shared.stop, until, take).await;
}

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
