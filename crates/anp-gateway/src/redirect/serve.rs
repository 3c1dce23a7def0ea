//! The connections of the listener.

use std::{net::SocketAddr, sync::Arc};

use bytes::BytesMut;
use tokio::net::{TcpListener, TcpStream};

use crate::{
    alive::Life,
    conn::{Deadline, Metered, http1},
    listener::{self, Listener, Until},
    proxy_protocol,
    worker::{Caller, Worker},
};

/// Serves a redirect listener: that of the gateway until it drains.
pub(crate) async fn serve(worker: Arc<Worker>, listener: TcpListener, until: Until) {
    let shared = &worker.shared;
    let take = |socket: TcpStream, peer| {
        if let Some(life) = shared.place(Listener::Redirect, &socket) {
            tokio::spawn(serve_one(worker.clone(), socket, peer, life));
        }
    };
    let name = Listener::Redirect.name();
    listener::accept(listener, name, &shared.stop, until, take).await;
}

/// Serves one connection to its end. It counts as one for its `_life`.
async fn serve_one(worker: Arc<Worker>, mut socket: TcpStream, peer: SocketAddr, _life: Life) {
    let Ok(local) = socket.local_addr() else {
        return;
    };
    let beginning = worker.shared.beginning.begin(usize::MAX);
    let mut deadline = Deadline::new(worker.shared.settings.load().limits.head);
    // A balancer in front of the public listener is in front of this one, too.
    let ends = proxy_protocol::ends(&worker, &mut socket, (peer, local), &mut deadline).await;
    let Some((peer, local)) = ends else {
        return;
    };
    let caller = Caller::new(worker.clone(), Listener::Redirect, peer, local);
    let io = Metered::new(socket, worker.metrics.clone());
    // What turns out to be HTTP/2 is closed.
    http1::serve(&Arc::new(caller), io, BytesMut::new(), deadline, beginning).await;
}
