//! Two ends of a TLS connection over loopback.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{future::poll_fn, io, pin::Pin, sync::Arc, task::Poll};

use anp_tls::{MAX_KEPT, TlsStream, provider};
use rustls::{ClientConfig, RootCertStore, ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Most bytes of a TLS record (RFC 8446 section 5.1).
const RECORD: usize = 16 << 10;

fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["gate.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let mut server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    server.alpn_protocols = vec![b"h2".to_vec()];
    let mut client = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
    (Arc::new(server), Arc::new(client))
}

/// Server and client.
async fn pair() -> (TlsStream, TlsStream) {
    let (server, client) = configs();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accept = async {
        let (socket, _) = listener.accept().await.unwrap();
        TlsStream::accept(server, socket).await.unwrap()
    };
    let connect = async {
        let socket = TcpStream::connect(address).await.unwrap();
        let name = "gate.example".try_into().unwrap();
        TlsStream::connect(client, name, socket).await.unwrap()
    };
    tokio::join!(accept, connect)
}

#[tokio::test]
async fn a_stream_moves_to_another_event_loop() {
    let (server, mut client) = pair().await;
    assert_eq!(server.alpn(), Some(&b"h2"[..]));
    let detached = server.detach().unwrap();
    let echo = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let mut server = detached.attach().unwrap();
            let mut said = [0; 5];
            server.read_exact(&mut said).await.unwrap();
            server.write_all(&said).await.unwrap();
            server.shutdown().await.unwrap();
        });
    });
    client.write_all(b"hello").await.unwrap();
    let mut heard = String::new();
    client.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "hello");
    echo.join().unwrap();
}

#[tokio::test]
async fn an_end_that_was_not_announced_is_an_error() {
    let (server, mut client) = pair().await;
    drop(server);
    let error = client.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
}

#[tokio::test]
async fn a_stream_is_quiet_until_something_is_said() {
    let (mut server, mut client) = pair().await;
    // The server's tickets came with the handshake or still come: they are nothing.
    assert!(client.is_quiet());
    server.write_all(b"x").await.unwrap();
    while client.is_quiet() {
        tokio::task::yield_now().await;
    }
}

/// ANPX 3.5: what waits in TLS is bounded, so that the tunnel can count it.
#[tokio::test]
async fn little_is_kept_while_the_peer_does_not_read() {
    let (mut server, mut client) = pair().await;
    let block = vec![7; 1 << 20];
    let mut taken = 0;
    let full = poll_fn(|cx| {
        loop {
            match Pin::new(&mut server).poll_write(cx, &block) {
                Poll::Ready(n) => taken += n.unwrap(),
                Poll::Pending => return Poll::Ready(taken),
            }
        }
    });
    let taken = full.await;
    // What the systems hold comes out without a word of the server's, but for a record that came in
    // part; the rest it kept.
    let mut came = 0;
    let mut buf = vec![0; 64 << 10];
    while taken - came > MAX_KEPT + RECORD {
        came += client.read(&mut buf).await.unwrap();
    }
    let rest = async {
        while came < taken {
            came += client.read(&mut buf).await.unwrap();
        }
    };
    let (flushed, ()) = tokio::join!(server.flush(), rest);
    flushed.unwrap();
}
