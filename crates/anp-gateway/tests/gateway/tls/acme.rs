//! Certificates by ACME, from pebble: the small authority that the makers of Let's Encrypt test with.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
};

use anp_gateway::{AcmeConfig, Config, Gateway};
use anp_tls::{TlsStream, testing::Authority};
use rustls::{ClientConfig, RootCertStore, pki_types::pem::PemObject as _};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::authority::{connect_to, put};
use crate::support::{Caller, Running, answer, config, soon, start};

/// Seconds a certificate of the test's authority lives.
const LIFE: u32 = 6;

/// A pebble that runs.
struct Pebble {
    child: Child,
    directory: SocketAddr,
    management: SocketAddr,
}

impl Drop for Pebble {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago: neither pebble nor its checks can be told of one later.
fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

impl Pebble {
    /// One whose HTTPS is known to `authority`, and which looks for proofs at `proofs`. `None` where
    /// it is not installed.
    fn start(dir: &Path, authority: &Authority, proofs: SocketAddr) -> Option<Self> {
        let files = authority.issue("pebble", &["localhost", "127.0.0.1"]);
        let (directory, management) = (free(), free());
        let settings = serde_json::json!({"pebble": {
            "listenAddress": directory,
            "managementListenAddress": management,
            "certificate": files.cert,
            "privateKey": files.key,
            "httpPort": free().port(),
            "tlsPort": proofs.port(),
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "certificateValidityPeriod": LIFE,
        }});
        let path = dir.join("pebble.json");
        put(&path, &settings.to_string());
        let child = Command::new("pebble")
            .arg("-config")
            .arg(path)
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_AUTHZREUSE", "0")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match child {
            Ok(child) => Some(Self {
                child,
                directory,
                management,
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => panic!("pebble does not start: {error}"),
        }
    }

    /// What this pebble's certificates end in, and a client that trusts it.
    async fn client(&self, authority: &Authority) -> ClientConfig {
        let mut stream = loop {
            if let Ok(socket) = TcpStream::connect(self.management).await {
                let name = "localhost".try_into().unwrap();
                break TlsStream::connect(authority.client(&[]).into(), name, socket)
                    .await
                    .unwrap();
            }
            tokio::task::yield_now().await;
        };
        let request = "GET /roots/0 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = Caller::on(stream).rest().await;
        let (_, pem) = answer.split_once("\r\n\r\n").unwrap();
        let mut roots = RootCertStore::empty();
        let root = rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes());
        roots.add(root.unwrap()).unwrap();
        ClientConfig::builder_with_provider(anp_tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }
}

fn settings(dir: &Path, authority: &Authority, directory: SocketAddr) -> AcmeConfig {
    AcmeConfig {
        domains: vec!["localhost".into()],
        contact: vec!["mailto:ops@example.org".into()],
        directory: format!("https://localhost:{}/dir", directory.port()),
        cache: dir.join("cache"),
        terms_agreed: true,
        ca_file: Some(authority.file()),
    }
}

/// Waits until the gateway shows a certificate other than `before`.
async fn next(gateway: &Running, client: &ClientConfig, before: &[u8]) -> Vec<u8> {
    loop {
        if let Ok(stream) = connect_to("localhost", gateway.public, client.clone()).await {
            let shown = stream.peer_certificate().unwrap().to_vec();
            if shown != before {
                return shown;
            }
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_certificate_is_issued_renewed_and_kept_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let public = free();
    let Some(pebble) = Pebble::start(dir.path(), &authority, public) else {
        eprintln!("SKIPPED, ACME IS NOT TESTED: pebble is not installed (make pebble)");
        return;
    };
    let client = soon(pebble.client(&authority)).await;
    let acme = settings(dir.path(), &authority, pebble.directory);
    let with = |acme| Config {
        listen: public,
        acme: Some(acme),
        plain_tunnels: true,
        ..config()
    };
    let gateway = start(with(acme.clone())).await;
    let receiver = gateway.receiver().await;
    let first = soon(next(&gateway, &client, &[])).await;
    let second = soon(next(&gateway, &client, &first)).await;
    assert_ne!(first, second);
    let stream = connect_to("localhost", public, client.clone())
        .await
        .unwrap();
    let mut caller = Caller::on(stream);
    caller.get("/").await;
    answer(&mut receiver.accept().await, 200, "over ACME");
    caller.until("\r\n\r\nover ACME").await;

    #[cfg(unix)]
    for file in ["certificate.pem", "account.json"] {
        use std::os::unix::fs::PermissionsExt as _;
        let meta = std::fs::metadata(acme.cache.join(file)).unwrap();
        assert_eq!(meta.permissions().mode() & 0o777, 0o600, "{file}");
    }
    // Without its authority a new gateway shows what the old one left.
    drop(pebble);
    let bound = Gateway::bind(Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        ..with(acme)
    });
    let bound = bound.await.unwrap();
    let address = bound.public_addr();
    let (_stop, asked) = tokio::sync::watch::channel(anp_gateway::Shutdown::No);
    tokio::spawn(bound.run(asked));
    // It may be over by now: what counts is that it is there.
    let shown = connect_to("localhost", address, client).await;
    let text = shown.map_or_else(|error| error.to_string(), |_| "shown".into());
    assert!(text == "shown" || text.contains("xpired"), "{text}");
}

#[test]
fn what_acme_cannot_do_is_refused_before_anything_starts() {
    let dir = Path::new("/nonexistent");
    let authority = Authority::new();
    let refused = |change: fn(&mut AcmeConfig)| {
        let mut acme = settings(dir, &authority, "127.0.0.1:1".parse().unwrap());
        change(&mut acme);
        let config = Config {
            acme: Some(acme),
            ..config()
        };
        config.validate().unwrap_err().to_string()
    };
    let wild = refused(|a| a.domains.push("*.example.org".into()));
    assert!(wild.starts_with("acme.domains[1]: wildcards"), "{wild}");
    assert!(refused(|a| a.terms_agreed = false).starts_with("acme.terms_agreed: "));
    assert!(refused(|a| a.domains.clear()).starts_with("acme.domains: "));
    assert!(refused(|a| a.contact = vec!["ops".into()]).starts_with("acme.contact: "));
    assert!(refused(|a| a.directory = "http://a".into()).starts_with("acme.directory: "));
    assert!(refused(|a| a.cache = "".into()).starts_with("acme.cache: "));
}
