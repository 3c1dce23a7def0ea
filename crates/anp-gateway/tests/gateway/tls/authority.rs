//! The callers and receivers of a test that speak TLS.

use std::{io, net::SocketAddr, sync::Arc};

use anp_gateway::{Config, TlsConfig};
use anp_tls::TlsStream;
pub(super) use anp_tls::testing::{Authority, Files, put};
use rustls::ClientConfig;
use tokio::net::TcpStream;

use crate::support::{Caller, Receiver, config, soon};

/// This certificate and no other.
pub(super) fn settings(files: &Files) -> TlsConfig {
    TlsConfig {
        cert: files.cert.clone(),
        key: files.key.clone(),
        more: Vec::new(),
    }
}

/// A gateway whose two listeners show this certificate.
pub(super) fn showing(files: &Files) -> Config {
    Config {
        tls: Some(settings(files)),
        ..config()
    }
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
