//! The tunnel listener, and connections that become tunnels: handed over to a worker, and driven to
//! their end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anp_tunnel::{Tunnel, Version};
use anpx::CloseCode;
use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    admission::Admission,
    alive::Life,
    conn::{
        Deadline, Metered,
        http1::{self, Finished},
    },
    handshake::Becomes,
    listener::{self, Listener, Until},
    tls::{Detached, Transport},
    worker::{Caller, Dealt, Shared, Worker},
};

/// How long the peer of a refused tunnel may take to answer our close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves a tunnel listener: that of the gateway until everything ends, so that who comes during a stop
/// is told.
pub(crate) async fn serve(worker: Arc<Worker>, listener: TcpListener, until: Until) {
    let shared = &worker.shared;
    let take = |socket: TcpStream, peer| {
        if let Some(life) = shared.place(Listener::Tunnel, &socket) {
            tokio::spawn(serve_one(worker.clone(), socket, peer, life));
        }
    };
    let name = Listener::Tunnel.name();
    listener::accept(listener, name, &shared.stop, until, take).await;
}

/// Serves one connection to its end, or until it is a tunnel. It counts as one for its `_life`.
async fn serve_one(worker: Arc<Worker>, socket: TcpStream, peer: SocketAddr, _life: Life) {
    let Ok(local) = socket.local_addr() else {
        return;
    };
    let mut deadline = Deadline::new(worker.shared.settings.load().limits.head);
    match worker.shared.tls(Listener::Tunnel) {
        None => shake_hands(worker, socket, (peer, local), deadline).await,
        Some(tls) => {
            let stream = tls.accept(socket, &worker.shared.stop, &mut deadline).await;
            if let Some(stream) = stream {
                shake_hands(worker, stream, (peer, local), deadline).await;
            }
        }
    }
}

/// Does the WebSocket handshake, which must begin before `deadline`, and what follows it.
async fn shake_hands<IO: Transport>(
    worker: Arc<Worker>,
    socket: IO,
    (peer, local): (SocketAddr, SocketAddr),
    deadline: Deadline,
) {
    let caller = Arc::new(Caller::new(worker.clone(), Listener::Tunnel, peer, local));
    let io = Metered::new(socket, worker.metrics.clone());
    let finished = http1::serve(&caller, io, BytesMut::new(), deadline, None).await;
    if let Finished::Becomes(socket, read, becomes) = finished {
        take_over(&worker.shared, socket, read, becomes, peer).await;
    }
}

/// Makes of a connection what its handshake said.
pub(crate) async fn take_over<IO: Transport>(
    shared: &Shared,
    socket: IO,
    read: Bytes,
    becomes: Becomes,
    peer: SocketAddr,
) {
    match becomes {
        Becomes::Tunnel(version, admission) => {
            let worker = admission.worker;
            let socket = match socket.detach() {
                Ok(socket) => socket,
                Err(error) => {
                    tracing::warn!(%error, "a tunnel's socket was lost");
                    return;
                }
            };
            let _ = shared.dealt[worker].send(Dealt {
                socket,
                peer,
                read,
                version,
                admission,
            });
        }
        Becomes::Closed(code, reason) => {
            tracing::debug!(%peer, code = code.0, reason, "closing a connection that may not be a tunnel");
            close(socket, code, &reason).await;
        }
    }
}

/// Starts the driver of a tunnel on the worker this is called on.
pub(crate) fn start(shared: &Arc<Shared>, tunnel: Dealt) {
    let Dealt {
        socket,
        peer,
        read,
        version,
        admission,
    } = tunnel;
    let about = About { admission, peer };
    let started = match socket {
        Detached::Plain(socket) => {
            TcpStream::from_std(socket).map(|socket| drive(shared, socket, read, version, about))
        }
        Detached::Tls(stream) => stream
            .attach()
            .map(|stream| drive(shared, stream, read, version, about)),
    };
    if let Err(error) = started {
        tracing::warn!(%error, "a tunnel's socket was lost");
    }
}

/// A tunnel, as the log and its endpoints know it.
struct About {
    admission: Admission,
    peer: SocketAddr,
}

fn drive<IO: Transport>(
    shared: &Arc<Shared>,
    socket: IO,
    read: Bytes,
    version: Version,
    about: About,
) {
    let About { admission, peer } = about;
    let observer = Some(admission.observer());
    let (handle, driver) = Tunnel::new(
        socket,
        read,
        version,
        shared.settings.load().tunnel.clone(),
        observer,
    );
    admission.attach(&handle, peer);
    let life = shared.connected.begin(usize::MAX);
    tracing::debug!(tunnel = %admission.id, receiver = %admission.owner, %peer, ?version, "tunnel connected");
    tokio::spawn(async move {
        let closed = driver.await;
        let event = match closed.code {
            Some(CloseCode::DONE | CloseCode::GOING_AWAY) => "tunnel closed",
            _ if closed.was_ready => "tunnel lost",
            _ => "tunnel ended before it was ready",
        };
        tracing::info!(
            tunnel = %admission.id,
            receiver = %admission.owner,
            %peer,
            code = closed.code.map(|c| c.0),
            reason = closed.reason,
            by_peer = closed.by_peer,
            "{event}"
        );
        drop((admission, life));
    });
}

/// Sends a close frame (RFC 6455 section 5.5.1) and waits a little for the peer's, or its end.
/// What else it sends is not looked at.
async fn close<IO: Transport>(mut socket: IO, code: CloseCode, reason: &str) {
    // A control frame holds 125 bytes, two of them the code. Our texts are ASCII.
    let reason = reason.as_bytes();
    let reason = &reason[..reason.len().min(123)];
    let mut frame = vec![0x88];
    frame.extend(u8::try_from(reason.len() + 2));
    frame.extend(code.0.to_be_bytes());
    frame.extend(reason);
    let exchange = async {
        socket.write_all(&frame).await?;
        socket.shutdown().await?;
        let mut discard = [0; 1024];
        while socket.read(&mut discard).await? > 0 {}
        std::io::Result::Ok(())
    };
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, exchange).await;
}
