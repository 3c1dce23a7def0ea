//! Takes tunnels: the WebSocket handshake (RFC 6455 section 4.2), admission, and the hand-over to a
//! worker (ANPX sections 1 and 3.10).

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use anp_auth::{Did, Request, Subject};
use anp_tunnel::{Tunnel, Version, handshake as ws};
use anpx::CloseCode;
use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{
        CONNECTION, CONTENT_TYPE, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL,
        SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::{
    admission::{Admission, NotAdmitted},
    alive::Life,
    auth::{self, TurnedAway},
    config::NoPlace,
    conn::{
        Deadline, Metered,
        http1::{self, Finished},
    },
    hello::{Hello, public_urls},
    listener,
    owner::Owner,
    places::NotPlaced,
    proxy::request::path_of,
    respond::RETRY_AFTER_SECS,
    stop::Step,
    tls::{Detached, Transport},
    workers::{Caller, Dealt, Listener, Shared, Worker, turn_away},
};

/// What a signed handshake may take beyond its head: the fetch of a document has its own limit, the
/// disk has this.
pub(crate) const VERIFY_TIMEOUT: Duration = Duration::from_secs(12);

/// The URLs that a receiver is reached under, each in a header of its own.
const PUBLIC_URL: HeaderName = HeaderName::from_static("anpx-public-url");

/// RFC 9421 section 5.1.
const ACCEPT_SIGNATURE: HeaderName = HeaderName::from_static("accept-signature");

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
            path.is_some_and(|path| path == path_of(target))
        }
    }
}

/// Serves the tunnel listener until everything ends, so that who comes during a stop is told.
pub(crate) async fn serve(worker: Arc<Worker>, listener: TcpListener) {
    let max = || worker.shared.settings.load().config.max_connections;
    let take = |socket: TcpStream, peer| match worker.shared.handshakes.begin(max()) {
        Some(life) => {
            tokio::spawn(serve_one(worker.clone(), socket, peer, life));
        }
        None => turn_away(&worker.shared, Listener::Tunnel, &socket),
    };
    listener::accept(listener, "tunnel", &worker.shared.stop, Step::Now, take).await;
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

/// Answers a handshake: with 101, and what the connection becomes, or with a refusal. A proof that
/// is shown is verified here, which may take a fetch.
pub(crate) async fn handshake(
    caller: &Caller,
    hello: Result<Hello, Refusal>,
) -> (Response<Bytes>, Option<Becomes>) {
    let accepted = match hello {
        Ok(hello) => accept(caller, &hello).await,
        Err(refusal) => Err(refusal),
    };
    match accepted {
        Ok((response, becomes)) => (response, Some(becomes)),
        Err(refusal) => (refusal.into_response(), None),
    }
}

async fn accept(caller: &Caller, hello: &Hello) -> Result<(Response<Bytes>, Becomes), Refusal> {
    let shared = &caller.worker.shared;
    let choice = &hello.choice;
    let mut response = Response::new(Bytes::new());
    let becomes = match admit(caller, hello, response.headers_mut()).await {
        Ok(admission) => Becomes::Tunnel(choice.version, admission),
        Err(refusal) if choice.offered_v2 => return Err(refusal),
        Err(refusal) => Becomes::Closed(refusal.code, refusal.text),
    };
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::try_from(ws::accept_key(&hello.key)) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(version) = choice.answer {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(version));
    }
    if let (Becomes::Tunnel(_, admission), Some(url)) =
        (&becomes, &shared.settings.load().config.public_url)
    {
        for url in public_urls(&shared.routes, &admission.owner, url) {
            headers.append(PUBLIC_URL, url);
        }
    }
    Ok((response, becomes))
}

/// Gives a place to who may have one. The token for the next handshake goes into `headers`.
async fn admit(
    caller: &Caller,
    hello: &Hello,
    headers: &mut HeaderMap,
) -> Result<Admission, Refusal> {
    let shared = &caller.worker.shared;
    let peer = caller.origin.peer();
    // Before anything is verified: the endpoint that it comes for, or its DID's document, may be among
    // what a gateway that was replaced wrote at last.
    shared.caught_up().await;
    let tell = |why: &dyn fmt::Display| shared.refusals.tell(peer, why, "tunnel refused");
    let asked = shared
        .settings
        .load()
        .config
        .auth
        .as_ref()
        .map(|auth| auth.required);
    let (owner, proven, token) = match &shared.auth {
        Some(auth) if asked == Some(true) || hello.shows_proof() => {
            let request = Request {
                method: "GET",
                target: &hello.target,
                host: &hello.host,
                headers: &hello.headers,
            };
            let verified = timeout(VERIFY_TIMEOUT, auth.verify(request)).await;
            let seat = match verified.unwrap_or(Err(TurnedAway::Busy)) {
                Ok(seat) => seat,
                Err(TurnedAway::Busy) => {
                    tell(&"too many handshakes at once");
                    return Err(Refusal::busy());
                }
                Err(TurnedAway::Refused(refusal)) => {
                    tell(&refusal);
                    return Err(Refusal::unproven(&refusal, auth.realm()));
                }
            };
            (seat.owner, Some(seat.proven), seat.token)
        }
        _ => (Owner::Name(hello.name.clone()), None, None),
    };
    let placed = match proven.as_ref().map(|proven| &proven.subject) {
        Some(Subject::Did(did)) => open(shared, did).await,
        _ => Err(NoPlace::Off.into()),
    };
    let refused = |error| match (&placed, error) {
        // It is a DID of the domain whose names count here: why not this one?
        (Err(why), NotAdmitted::NotNamed) if !matches!(why, NotPlaced::Not(NoPlace::Off)) => {
            tell(&format_args!("no endpoint for {owner}: {why}"));
            let error = format!("{error}: {}", why.public_text());
            Refusal::not_permitted(&error, &owner)
        }
        (_, error) => {
            tell(&format_args!("{error}: receiver \"{owner}\""));
            Refusal::not_admitted(error, &owner)
        }
    };
    if !hello.asks_for_own(&shared.routes, &owner) {
        return Err(refused(NotAdmitted::NotOwned));
    }
    let limit = shared.settings.load().config.max_tunnels;
    let admitted = shared.tunnels.admit(owner.clone(), proven, limit);
    let admission = admitted.map_err(refused)?;
    let admission = admission.called(&hello.name, hello.instance.as_deref());
    if let Some(issued) = token {
        for (name, value) in auth::fields_of(&issued) {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
    }
    Ok(admission)
}

/// Gives a DID the endpoint of its name, off the event loop: a change to the registry of endpoints,
/// which is written to the disk, may be in the way.
async fn open(shared: &Arc<Shared>, did: &Did) -> Result<(), NotPlaced> {
    shared.places.allow(did)?;
    let (shared, did) = (shared.clone(), did.clone());
    let opened = tokio::task::spawn_blocking(move || shared.places.open(&did));
    // A mistake in this program is in the log, and gives the DID nothing.
    opened.await.unwrap_or(Err(NoPlace::Off.into()))
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
pub(crate) struct Refusal {
    status: StatusCode,
    /// For a receiver that is told after the upgrade.
    code: CloseCode,
    text: String,
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            code: CloseCode::PROTOCOL,
            text: text.into(),
            fields: Vec::new(),
        }
    }

    fn busy() -> Self {
        Self {
            code: CloseCode::LIMIT,
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many handshakes at once",
            )
        }
    }

    /// What strangers are told; the log has been told more.
    fn unproven(refusal: &anp_auth::Refusal, realm: &str) -> Self {
        let (status, code) = match refusal.status() {
            403 => (StatusCode::FORBIDDEN, CloseCode::NOT_PERMITTED),
            503 => (StatusCode::SERVICE_UNAVAILABLE, CloseCode::LIMIT),
            _ => (StatusCode::UNAUTHORIZED, CloseCode::AUTHENTICATION),
        };
        let fields = [
            (WWW_AUTHENTICATE, refusal.www_authenticate(realm)),
            (ACCEPT_SIGNATURE, refusal.accept_signature()),
        ];
        Self {
            code,
            fields: fields
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)))
                .collect(),
            ..Self::new(status, refusal.public_text())
        }
    }

    fn not_permitted(error: &str, owner: &Owner) -> Self {
        Self {
            code: CloseCode::NOT_PERMITTED,
            ..Self::new(
                StatusCode::FORBIDDEN,
                format!("{error}: receiver \"{owner}\""),
            )
        }
    }

    fn not_admitted(error: NotAdmitted, owner: &Owner) -> Self {
        let (status, code) = match error {
            NotAdmitted::NotNamed | NotAdmitted::NotOwned => {
                (StatusCode::FORBIDDEN, CloseCode::NOT_PERMITTED)
            }
            NotAdmitted::TooMany => (StatusCode::SERVICE_UNAVAILABLE, CloseCode::LIMIT),
            NotAdmitted::Stopping => (StatusCode::SERVICE_UNAVAILABLE, CloseCode::GOING_AWAY),
        };
        Self {
            status,
            code,
            text: format!("{error}: receiver \"{owner}\""),
            fields: Vec::new(),
        }
    }

    fn into_response(self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(self.text + "\n"));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        headers.extend(self.fields);
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
