//! A real HTTPS server on loopback that counts, identities that sign, and a name service that says
//! what a test tells it.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test uses some of it, and helpers of tests fail as tests do"
)]

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anp_auth::{
    AuthForm, Did, Document, Identity, KeyKind, NewIdentity, PublicName, Request, Signer, Target,
    create,
    resolver::{BoxFuture, HttpsResolver, Names, ResolveError, Resolver, ResolverConfig},
};
use http::{HeaderMap, HeaderValue};
use rustls::{ServerConfig, crypto::aws_lc_rs};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

pub const NOW: i64 = 1_800_000_000;

/// What a server does with a request, by its path.
#[derive(Clone)]
pub enum Answer {
    /// Exactly these bytes, then the end.
    Bytes(Vec<u8>),
    /// These bytes, then this byte until nobody reads any more.
    Endless(Vec<u8>, u8),
    /// These bytes, then nothing.
    Stuck(Vec<u8>),
    /// These bytes once the barrier was passed.
    After(Arc<tokio::sync::Barrier>, Vec<u8>),
}

impl Answer {
    pub fn ok(headers: &str, body: &[u8]) -> Self {
        let head = format!(
            "HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n",
            body.len()
        );
        Self::Bytes([head.as_bytes(), body].concat())
    }

    pub fn status(line: &str) -> Self {
        Self::Bytes(format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n").into_bytes())
    }
}

/// Serves on 127.0.0.1 with a certificate for `did.test` and `*.did.test`.
pub struct Server {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    pub requests: Arc<Mutex<Vec<String>>>,
    pub written: Arc<AtomicUsize>,
    answers: Arc<Mutex<HashMap<String, Answer>>>,
}

/// The certificate authority of every server in a test.
pub struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pub dir: TempDir,
}

impl Authority {
    pub fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let dir = tempfile::tempdir().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(dir.path().join("ca.pem"), certificate.pem()).unwrap();
        let issuer = rcgen::Issuer::new(params, key);
        Self { issuer, dir }
    }

    pub fn file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    fn server(&self, names: &[&str]) -> Arc<ServerConfig> {
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let params = rcgen::CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        Arc::new(config)
    }
}

impl Server {
    pub async fn start(authority: &Authority) -> Self {
        Self::start_on(authority, ([127, 0, 0, 1], 0).into()).await
    }

    pub async fn start_on(authority: &Authority, address: SocketAddr) -> Self {
        Self::start_as(authority, address, &["did.test", "*.did.test"]).await
    }

    pub async fn start_as(authority: &Authority, address: SocketAddr, names: &[&str]) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            requests: Arc::default(),
            written: Arc::default(),
            answers: Arc::default(),
        };
        let acceptor = TlsAcceptor::from(authority.server(names));
        let (answers, connections) = (server.answers.clone(), server.connections.clone());
        let (requests, written) = (server.requests.clone(), server.written.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (acceptor, answers) = (acceptor.clone(), answers.clone());
                let (requests, written) = (requests.clone(), written.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(socket).await {
                        let _ = serve(stream, &answers, &requests, &written).await;
                    }
                });
            }
        });
        server
    }

    pub fn answer(&self, path: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(path.into(), answer);
    }

    /// Serves the document of `identity`.
    pub fn host(&self, identity: &Identity) {
        let body = identity.document.to_string();
        self.answer(
            &identity.did.document_path(),
            Answer::ok("", body.as_bytes()),
        );
    }

    pub fn request_count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

async fn serve(
    mut stream: TlsStream<TcpStream>,
    answers: &Mutex<HashMap<String, Answer>>,
    requests: &Mutex<Vec<String>>,
    written: &AtomicUsize,
) -> io::Result<()> {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut read).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8(read).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    requests.lock().unwrap().push(head);
    let answer = answers.lock().unwrap().get(&path).cloned();
    match answer.unwrap_or_else(|| Answer::status("404 Not Found")) {
        Answer::Bytes(bytes) => {
            stream.write_all(&bytes).await?;
            stream.shutdown().await
        }
        Answer::After(barrier, bytes) => {
            barrier.wait().await;
            stream.write_all(&bytes).await?;
            stream.shutdown().await
        }
        Answer::Endless(bytes, byte) => {
            stream.write_all(&bytes).await?;
            loop {
                stream.write_all(&[byte; 1024]).await?;
                written.fetch_add(1024, Ordering::SeqCst);
            }
        }
        Answer::Stuck(bytes) => {
            stream.write_all(&bytes).await?;
            stream.flush().await?;
            std::future::pending().await
        }
    }
}

/// Says the next of a list each time it is asked, the last one for ever, and counts.
pub struct Scripted {
    pub lookups: AtomicUsize,
    answers: Vec<Vec<IpAddr>>,
}

impl Scripted {
    pub fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |ips: &&[&str]| ips.iter().map(|ip| ip.parse().unwrap()).collect();
        Arc::new(Self {
            lookups: AtomicUsize::new(0),
            answers: answers.iter().map(parse).collect(),
        })
    }
}

impl Names for Scripted {
    fn lookup(&self, _host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let count = self.lookups.fetch_add(1, Ordering::SeqCst);
        let answer = self.answers.get(count).or(self.answers.last());
        let answer = answer.cloned().unwrap_or_default();
        Box::pin(std::future::ready(Ok(answer)))
    }
}

/// A resolver that may connect to 127.0.0.1, at the port of `server`.
pub fn config(authority: &Authority, server: &Server) -> ResolverConfig {
    ResolverConfig {
        ca_file: Some(authority.file()),
        also_allow: Some(Arc::new(|address| address == IpAddr::from([127, 0, 0, 1]))),
        allowed_ports: vec![server.address.port()],
        timeout: Duration::from_secs(30),
        ..ResolverConfig::default()
    }
}

pub fn resolver(config: &ResolverConfig, names: Arc<Scripted>) -> HttpsResolver {
    HttpsResolver::with_names(config, names).unwrap()
}

/// A new identity of `did.test` at the port of `server`.
pub fn identity(server: &Server, name: &str, kind: KeyKind) -> Identity {
    create(&NewIdentity {
        host: "did.test".into(),
        port: Some(server.address.port()),
        path: vec![name.into()],
        kind,
    })
    .unwrap()
}

pub fn signer(identity: &Identity) -> Signer {
    let dir = tempfile::tempdir().unwrap();
    let (document, key) = (dir.path().join("did.json"), dir.path().join("key.pem"));
    std::fs::write(&document, identity.document.to_string()).unwrap();
    anp_auth::write_secret(&key, &identity.private_key_pem).unwrap();
    Signer::load(&document, &key).unwrap()
}

/// Knows documents without fetching, and counts.
#[derive(Default)]
pub struct Known {
    pub asked: AtomicUsize,
    documents: HashMap<Did, Arc<Document>>,
}

impl Known {
    pub fn add(&mut self, document: Document) {
        self.documents
            .insert(document.did().clone(), Arc::new(document));
    }
}

impl Resolver for Known {
    fn resolve<'a>(&'a self, did: &'a Did) -> BoxFuture<'a, Result<Arc<Document>, ResolveError>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let found = self.documents.get(did).cloned();
        Box::pin(std::future::ready(found.ok_or(ResolveError::Status(404))))
    }
}

/// Headers for `wss://gw.example/anpx`, which is also what [`request`] asks for.
pub fn sign(signer: &Signer, form: AuthForm, now: i64) -> HeaderMap {
    sign_for(signer, form, "gw.example", now)
}

pub fn sign_for(signer: &Signer, form: AuthForm, authority: &str, now: i64) -> HeaderMap {
    let url = format!("wss://{authority}/anpx");
    let target = Target {
        method: "GET",
        url: &url,
        authority,
        host: authority.split(':').next().unwrap(),
    };
    signer
        .headers(form, &target, None, now)
        .unwrap()
        .into_iter()
        .collect()
}

pub fn request(headers: &HeaderMap) -> Request<'_> {
    Request {
        method: "GET",
        target: "/anpx",
        host: "gw.example",
        headers,
    }
}

pub fn names() -> Vec<PublicName> {
    vec!["gw.example".parse().unwrap()]
}

pub fn bearer(token: &str) -> HeaderMap {
    let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    [(http::header::AUTHORIZATION, value)].into_iter().collect()
}
