//! Certificates made for a test, and the callers and receivers that know their authority.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anp_gateway::{Config, TlsConfig};
use anp_tls::{TlsStream, provider};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore, pki_types::PrivateKeyDer};
use tokio::net::TcpStream;

use crate::support::{Caller, Receiver, config, soon};

/// An authority with a directory for files.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: tempfile::TempDir,
}

/// A certificate and its key as files.
pub(super) struct Files {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// Writes a certificate for `names` and its key as `file.pem` and `file.key`.
    pub(super) fn issue(&self, file: &str, names: &[&str]) -> Files {
        let (cert, key) = self.pem(names);
        let files = Files {
            cert: self.dir.path().join(format!("{file}.pem")),
            key: self.dir.path().join(format!("{file}.key")),
        };
        put(&files.cert, &cert);
        put(&files.key, &key);
        files
    }

    /// A certificate for `names` and its key.
    pub(super) fn pem(&self, names: &[&str]) -> (String, String) {
        self.pem_until(2100, names)
    }

    /// One that is over.
    pub(super) fn expired_pem(&self, names: &[&str]) -> (String, String) {
        self.pem_until(2001, names)
    }

    fn pem_until(&self, year: i32, names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        (cert.pem(), key.serialize_pem())
    }

    /// The authority's own certificate, as a file.
    pub(super) fn file(&self) -> PathBuf {
        let path = self.dir.path().join("authority.pem");
        put(&path, &self.issuer.pem());
        path
    }

    /// What a client is made with that trusts this authority alone.
    pub(super) fn client(&self, alpn: &[&str]) -> ClientConfig {
        let mut config = self.client_trusting(self);
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        config
    }

    /// The same, trusting another, too.
    pub(super) fn client_trusting(&self, other: &Self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots.add(other.issuer.der().clone()).unwrap();
        ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    /// The same, with a certificate of `by` to show.
    pub(super) fn client_showing(&self, by: &Self, name: &str) -> ClientConfig {
        let files = by.issue("client", &[name]);
        let read = anp_tls::read::WorldReadable::Refused;
        let chain = anp_tls::read::certificates(&files.cert).unwrap();
        let key: PrivateKeyDer<'static> = anp_tls::read::private_key(&files.key, read).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap()
    }
}

impl Files {
    pub(super) fn settings(&self) -> TlsConfig {
        TlsConfig {
            cert: self.cert.clone(),
            key: self.key.clone(),
            more: Vec::new(),
        }
    }

    /// A gateway whose two listeners show this certificate.
    pub(super) fn config(&self) -> Config {
        Config {
            tls: Some(self.settings()),
            ..config()
        }
    }
}

/// Puts a file in its place at once, as careful programs do.
pub(super) fn put(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::rename(&new, path).unwrap();
}

/// Shakes hands as a client of `gate.example`.
pub(super) async fn connect(at: SocketAddr, config: ClientConfig) -> io::Result<TlsStream> {
    connect_to("gate.example", at, config).await
}

pub(super) async fn connect_to(
    name: &str,
    at: SocketAddr,
    config: ClientConfig,
) -> io::Result<TlsStream> {
    let socket = soon(TcpStream::connect(at)).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let name = name.to_owned().try_into().unwrap();
    soon(TlsStream::connect(Arc::new(config), name, socket)).await
}

/// A caller of HTTP/1.1.
pub(super) async fn caller(at: SocketAddr, authority: &Authority) -> Caller<TlsStream> {
    Caller::on(connect(at, authority.client(&["http/1.1"])).await.unwrap())
}

/// A receiver whose tunnel is ready.
pub(super) async fn receiver(at: SocketAddr, config: ClientConfig) -> Receiver {
    let mut caller = Caller::on(connect(at, config).await.unwrap());
    let offer = [("Sec-WebSocket-Protocol", "anpx.v2"), ("ANP-Receiver", "r")];
    caller.handshake("/", &offer).await;
    let head = caller.head().await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    Receiver::on_default(caller).await
}
