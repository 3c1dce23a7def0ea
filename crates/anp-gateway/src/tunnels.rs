//! Takes tunnels: the WebSocket handshake (RFC 6455 section 4.2), admission, and the hand-over to a
//! worker (ANPX sections 1 and 3.10).

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anp_tunnel::{Tunnel, Version, handshake as ws};
use anpx::CloseCode;
use bytes::{Bytes, BytesMut};
use http::{
    HeaderValue, Response, StatusCode,
    header::{
        CONNECTION, CONTENT_TYPE, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL,
        SEC_WEBSOCKET_VERSION, UPGRADE,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    admission::{Admission, NotAdmitted},
    conn::{
        Deadline, Metered,
        http1::{self, Finished, Head},
    },
    listener,
    owner::{Owner, is_name},
    respond::RETRY_AFTER_SECS,
    stop::Step,
    tls::{Detached, Transport},
    workers::{Caller, Dealt, Listener, Shared, Worker},
};

/// The header in which a receiver names itself; `receiver` in the query does as well.
const RECEIVER: &str = "anp-receiver";

/// What a receiver is called that gives no name.
const UNNAMED: &str = "unnamed";

/// How long the peer of a refused tunnel may take to answer our close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What a connection becomes after 101.
#[derive(Debug)]
pub(crate) enum Becomes {
    /// A tunnel.
    Tunnel(Version, Admission),
    /// Closed with a code, for a receiver that understands no other refusal (ANPX 3.10).
    Closed(CloseCode, String),
}

/// True for requests that are handshakes of tunnels: all on the tunnel listener, and those for the
/// path of the public listener that takes tunnels.
pub(crate) fn is_for_us(caller: &Caller, target: &str) -> bool {
    match caller.listener {
        Listener::Tunnel => true,
        Listener::Public => {
            let settings = caller.worker.shared.settings.load();
            let path = settings.config.tunnel_path.as_deref();
            path.is_some() && path == target.split('?').next()
        }
    }
}

/// Serves the tunnel listener until everything ends, so that who comes during a stop is told.
pub(crate) async fn serve(worker: Arc<Worker>, listener: TcpListener) {
    let take = |socket, peer| {
        tokio::spawn(serve_one(worker.clone(), socket, peer));
    };
    listener::accept(listener, "tunnel", &worker.shared.stop, Step::Now, take).await;
}

async fn serve_one(worker: Arc<Worker>, socket: TcpStream, peer: SocketAddr) {
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
    let finished = http1::serve(&caller, io, BytesMut::new(), deadline).await;
    if let Finished::Becomes(socket, read, becomes) = finished {
        take_over(&worker.shared, socket, read, becomes, peer).await;
    }
}

/// Answers a handshake: with 101, and what the connection becomes, or with a refusal.
pub(crate) fn handshake(caller: &Caller, head: &Head<'_>) -> (Response<Bytes>, Option<Becomes>) {
    match accept(caller, head) {
        Ok((response, becomes)) => (response, Some(becomes)),
        Err(refusal) => (refusal.into_response(), None),
    }
}

fn accept(caller: &Caller, head: &Head<'_>) -> Result<(Response<Bytes>, Becomes), Refusal> {
    let key = check(head)?;
    let shared = &caller.worker.shared;
    let offer = head.values("sec-websocket-protocol");
    let offer = offer.filter_map(|v| std::str::from_utf8(v).ok());
    let settings = shared.settings.load();
    let config = &settings.config;
    let Some(choice) = ws::choose(offer, config.min_version) else {
        let text = match config.min_version {
            2 => "this gateway speaks anpx.v2 only; offer it in Sec-WebSocket-Protocol",
            _ => "this gateway speaks anpx.v2 and anpx.v1; offer one in Sec-WebSocket-Protocol",
        };
        return Err(Refusal::new(StatusCode::BAD_REQUEST, text));
    };
    let admitted = receiver_name(head).and_then(|name| {
        let admission = shared
            .tunnels
            .admit(Owner::Name(name.clone()), config.max_tunnels);
        admission.map_err(|error| Refusal::not_admitted(error, &name))
    });
    let becomes = match admitted {
        Ok(admission) => Becomes::Tunnel(choice.version, admission),
        Err(refusal) if choice.offered_v2 => return Err(refusal),
        Err(refusal) => Becomes::Closed(refusal.code, refusal.text),
    };
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::try_from(ws::accept_key(key)) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(version) = choice.answer {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(version));
    }
    Ok((response, becomes))
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
            tracing::warn!(%peer, code = code.0, reason, "tunnel refused");
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
    admission.attach(&handle);
    let life = shared.connected.begin(usize::MAX);
    tracing::debug!(tunnel = %admission.id, receiver = %admission.owner, %peer, ?version, "tunnel connected");
    tokio::spawn(async move {
        let closed = driver.await;
        let event = if closed.was_ready {
            "tunnel lost"
        } else {
            "tunnel ended before it was ready"
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

/// A handshake that is not accepted.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    /// For a receiver that is told after the upgrade.
    code: CloseCode,
    text: String,
}

impl Refusal {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            code: CloseCode::PROTOCOL,
            text: text.into(),
        }
    }

    fn not_admitted(error: NotAdmitted, receiver: &str) -> Self {
        let (status, code) = match error {
            NotAdmitted::NotNamed => (StatusCode::FORBIDDEN, CloseCode::NOT_PERMITTED),
            NotAdmitted::TooMany => (StatusCode::SERVICE_UNAVAILABLE, CloseCode::LIMIT),
            NotAdmitted::Stopping => (StatusCode::SERVICE_UNAVAILABLE, CloseCode::GOING_AWAY),
        };
        Self {
            status,
            code,
            text: format!("{error}: receiver \"{receiver}\""),
        }
    }

    fn into_response(self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(self.text + "\n"));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECS));
            }
            StatusCode::UPGRADE_REQUIRED => {
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
                headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            _ => {}
        }
        response
    }
}

/// The key of a well-formed handshake.
fn check<'a>(head: &'a Head<'_>) -> Result<&'a [u8], Refusal> {
    let upgrade = head.has_token("upgrade", "websocket") && head.has_token("connection", "upgrade");
    if head.method != "GET" || !upgrade || head.is_old {
        return Err(Refusal::new(
            StatusCode::UPGRADE_REQUIRED,
            "this address takes tunnels of ANP receivers: WebSocket only. Apps are served on the \
             gateway's other address",
        ));
    }
    if head.values("sec-websocket-version").next() != Some(b"13") {
        return Err(Refusal::new(
            StatusCode::UPGRADE_REQUIRED,
            "Sec-WebSocket-Version is not 13",
        ));
    }
    match head.values("sec-websocket-key").next() {
        // Base64 of 16 bytes.
        Some(key) if key.len() == 24 && key.ends_with(b"==") => Ok(key),
        _ => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "Sec-WebSocket-Key is not 16 bytes in base64",
        )),
    }
}

/// What the receiver calls itself.
fn receiver_name(head: &Head<'_>) -> Result<String, Refusal> {
    let header = head
        .values(RECEIVER)
        .next()
        .map(|v| std::str::from_utf8(v).unwrap_or_default());
    let query = head.target.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('&').find_map(|p| p.strip_prefix("receiver="));
    let name = header.or(query).unwrap_or(UNNAMED);
    if is_name(name) {
        Ok(name.to_owned())
    } else {
        Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "the receiver's name is not 1 to 64 of 0-9 A-Z a-z . _ -",
        ))
    }
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
