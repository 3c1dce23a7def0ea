//! One fetch of one document: each step is bounded, and each goes where the one before has looked.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use http::{
    Request, StatusCode,
    header::{ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, HOST, USER_AGENT},
};
use http_body_util::{BodyExt, Empty};
use hyper::{
    body::{Body, Bytes},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    Names, Place, ResolveError,
    address::is_public,
    cache::Found,
    config::{AllowAddress, ResolverConfig},
    freshness::fresh_for,
};
use crate::{
    did::Did,
    document::{Document, DocumentError, MAX_DOCUMENT_LEN},
};

/// Addresses of one host that are tried.
const MAX_ADDRESSES: usize = 4;

/// Largest head of an answer, in bytes.
const MAX_HEAD: usize = 16 << 10;

/// What a fetch has found out, for people who look for a mistake.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Step<'a> {
    /// The document is one of those that are known, and is not fetched.
    Known,
    /// Where the document must be.
    Url(&'a str),
    /// Where configuration says that the host is.
    Configured(SocketAddr),
    /// Every address that the host has.
    LookedUp(&'a [SocketAddr]),
    /// A TCP connection came to be.
    Connected(SocketAddr),
    /// The certificate is valid for the host.
    Secured,
    /// The server answered.
    Answered(StatusCode),
    /// The document is whole.
    Read {
        /// Its length in bytes.
        length: usize,
        /// How long it will be kept.
        fresh_for: Duration,
    },
}

/// What is told of each step.
pub(super) type Observe<'a> = &'a mut (dyn FnMut(Step<'_>) + Send);

/// A place among the fetches under way, for as long as anybody holds it.
type Held = Arc<OwnedSemaphorePermit>;

/// How documents are fetched.
pub(super) struct Fetch {
    pub(super) names: Arc<dyn Names>,
    pub(super) hosts: HashMap<String, Place>,
    pub(super) also_allow: Option<AllowAddress>,
    pub(super) ports: Vec<u16>,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) timeout: Duration,
}

impl Fetch {
    pub(super) fn new(
        names: Arc<dyn Names>,
        config: &ResolverConfig,
        tls: Arc<ClientConfig>,
    ) -> Self {
        Self {
            names,
            hosts: config.hosts.clone(),
            also_allow: config.also_allow.clone(),
            ports: config.allowed_ports.clone(),
            tls,
            timeout: config.timeout,
        }
    }

    /// Fetches the document of `did`, all within the timeout. To wait for one of `places` is apart, and
    /// no failure of the DID.
    pub(super) async fn document(
        &self,
        did: &Did,
        places: &Arc<Semaphore>,
        observe: Observe<'_>,
    ) -> Found {
        let place = timeout(self.timeout, places.clone().acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            return Err(ResolveError::Busy);
        };
        let work = self.work(did, Arc::new(place), observe);
        match timeout(self.timeout, work).await {
            Ok(found) => found,
            Err(_) => Err(ResolveError::Timeout(self.timeout)),
        }
    }

    async fn work(&self, did: &Did, place: Held, observe: Observe<'_>) -> Found {
        let url = did.document_url();
        observe(Step::Url(&url));
        let port = did.port().unwrap_or(443);
        if !self.ports.contains(&port) {
            return Err(ResolveError::Port(port));
        }
        let sockets = self
            .sockets(did.host(), port, place.clone(), observe)
            .await?;
        let socket = connect(&sockets, observe).await?;
        let stream = self.secure(did.host(), socket).await?;
        observe(Step::Secured);
        exchange(did, stream, observe).await
    }

    /// The addresses that may be connected to: what configuration says, or those of the name service
    /// that are allowed. Nobody looks the name up again.
    async fn sockets(
        &self,
        host: &str,
        port: u16,
        place: Held,
        observe: Observe<'_>,
    ) -> Result<Vec<SocketAddr>, ResolveError> {
        if let Some(configured) = self.hosts.get(host) {
            let socket = configured.socket(port);
            observe(Step::Configured(socket));
            return Ok(vec![socket]);
        }
        let failed = |reason: &str| ResolveError::Lookup {
            host: host.into(),
            reason: reason.into(),
        };
        // A look-up in the system cannot be broken off. It keeps its place after a timeout, so that
        // no crowd of them is waiting in threads.
        let lookup = self.names.lookup(host.to_owned());
        let lookup = tokio::spawn(async move {
            let found = lookup.await;
            drop(place);
            found
        });
        let found = match lookup.await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return Err(failed(&error.to_string())),
            Err(_) => return Err(failed("the look-up broke")),
        };
        let mut sockets: Vec<_> = found.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
        observe(Step::LookedUp(&sockets));
        let first = *found.first().ok_or_else(|| failed("it has no address"))?;
        sockets.retain(|socket| {
            let also = self.also_allow.as_ref();
            is_public(socket.ip()) || also.is_some_and(|allow| allow(socket.ip().to_canonical()))
        });
        sockets.truncate(MAX_ADDRESSES);
        if sockets.is_empty() {
            return Err(ResolveError::Address(first));
        }
        Ok(sockets)
    }

    async fn secure(
        &self,
        host: &str,
        socket: TcpStream,
    ) -> Result<TlsStream<TcpStream>, ResolveError> {
        let failed = |reason: String| ResolveError::Tls(reason.into());
        let name = ServerName::try_from(host.to_owned()).map_err(|e| failed(e.to_string()))?;
        let connector = TlsConnector::from(self.tls.clone());
        let connected = connector.connect(name, socket).await;
        connected.map_err(|e| failed(e.to_string()))
    }
}

/// Connects to the first address that takes a connection.
async fn connect(sockets: &[SocketAddr], observe: Observe<'_>) -> Result<TcpStream, ResolveError> {
    let mut reason = String::new();
    for socket in sockets {
        match TcpStream::connect(socket).await {
            Ok(stream) => {
                observe(Step::Connected(*socket));
                return Ok(stream);
            }
            Err(error) => reason = format!("{socket}: {error}"),
        }
    }
    Err(ResolveError::Connect(reason.into()))
}

/// Asks for the document and reads it.
async fn exchange(did: &Did, stream: TlsStream<TcpStream>, observe: Observe<'_>) -> Found {
    let broken = |error: &dyn std::error::Error| ResolveError::Broken(error.to_string().into());
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error))?;
    let _connection = Abort(tokio::spawn(connection));
    let request = Request::get(did.document_path())
        .header(HOST, did.authority())
        .header(ACCEPT, "application/did+json, application/json")
        .header(ACCEPT_ENCODING, "identity")
        .header(CONNECTION, "close")
        .header(USER_AGENT, concat!("anp-proxy/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|error| broken(&error))?;
    let response = sender.send_request(request).await;
    let (head, mut body) = response.map_err(|error| broken(&error))?.into_parts();
    observe(Step::Answered(head.status));
    match head.status {
        StatusCode::OK => {}
        status if status.is_redirection() => return Err(ResolveError::Redirect(status.as_u16())),
        status => return Err(ResolveError::Status(status.as_u16())),
    }
    let mut codings = head.headers.get_all(CONTENT_ENCODING).iter();
    if !codings.all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(ResolveError::Coded);
    }
    let too_large = || Err(DocumentError::TooLarge.into());
    if body.size_hint().lower() > MAX_DOCUMENT_LEN as u64 {
        return too_large();
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(&error))?;
        if let Some(data) = frame.data_ref() {
            if data.len() > MAX_DOCUMENT_LEN - bytes.len() {
                return too_large();
            }
            bytes.extend_from_slice(data);
        }
    }
    let fresh_for = fresh_for(&head.headers);
    observe(Step::Read {
        length: bytes.len(),
        fresh_for,
    });
    let document = Document::parse(did, &bytes)?;
    Ok((Arc::new(document), fresh_for))
}

/// Ends a task with its owner: a timeout must leave no connection behind.
struct Abort<T>(JoinHandle<T>);

impl<T> Drop for Abort<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
