//! How a receiver proves who it is, as a gateway sees it: one handshake after the other.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "the helpers of tests fail as tests do"
)]

use std::sync::{Arc, Mutex};

use anp_auth::{KeyKind, NewIdentity, create, write_secret};
use anp_receiver::{Config, Error, Event, IdentityError, Proxies, Receiver};
use anp_tunnel::{handshake, units::Span};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// The next handshake: its head, and the connection it came on.
async fn next(listener: &TcpListener) -> (String, TcpStream) {
    let (mut io, _) = listener.accept().await.unwrap();
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        assert_ne!(io.read_buf(&mut read).await.unwrap(), 0);
    }
    (String::from_utf8(read).unwrap(), io)
}

async fn answer(mut io: TcpStream, text: &str) {
    io.write_all(text.as_bytes()).await.unwrap();
}

fn accepted(head: &str, fields: &str) -> String {
    let (_, rest) = head.split_once("Sec-WebSocket-Key: ").unwrap();
    let key = handshake::accept_key(rest.split_once("\r\n").unwrap().0.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {key}\r\nSec-WebSocket-Protocol: anpx.v2\r\n{fields}\r\n"
    )
}

async fn config() -> (TempDir, TcpListener, Config) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = format!("ws://{}/anpx", listener.local_addr().unwrap());
    let config = Config {
        gateways: vec![gateway.parse().unwrap()],
        to: vec!["http://127.0.0.1:9".parse().unwrap()],
        tunnels: 1,
        reconnect_delay: Span::from_millis(1),
        ..Config::default()
    };
    (tempfile::tempdir().unwrap(), listener, config)
}

/// Files of a new identity in `dir`.
fn identify(dir: &TempDir, config: &mut Config) {
    let identity = create(&NewIdentity {
        host: "did.example".into(),
        port: None,
        path: vec!["alice".into()],
        kind: KeyKind::Ed25519,
    })
    .unwrap();
    let (document, key) = (dir.path().join("did.json"), dir.path().join("key.pem"));
    std::fs::write(&document, identity.document.to_string()).unwrap();
    write_secret(&key, &identity.private_key_pem).unwrap();
    config.did_document = Some(document);
    config.did_key = Some(key);
}

#[tokio::test]
async fn a_signature_then_the_nonce_then_the_token_then_a_signature() {
    let (dir, listener, mut config) = config().await;
    identify(&dir, &mut config);
    config.endpoints = vec!["/alice".into(), "alice.example".into()];
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    let receiver = Receiver::new(config)
        .unwrap()
        .with_proxies(Proxies::none())
        .with_observer(move |event| {
            if let Event::Granted { urls, .. } = event {
                tell.lock().unwrap().extend_from_slice(urls);
            }
        });
    let running = tokio::spawn(receiver.run(std::future::pending()));

    let (head, io) = next(&listener).await;
    assert!(
        head.contains("\r\nsignature-input: sig1=(\"@method\" \"@target-uri\" \"@authority\")")
    );
    assert!(head.contains("\r\nANPX-Endpoint: /alice\r\nANPX-Endpoint: alice.example\r\n"));
    assert!(!head.to_lowercase().contains("authorization"));
    answer(io, "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: DIDWba realm=\"gw\", error=\"invalid_nonce\", nonce=\"from-the-gateway\"\r\n\r\n").await;

    let (head, io) = next(&listener).await;
    assert!(head.contains("nonce=\"from-the-gateway\""), "{head}");
    let fields = "Authentication-Info: access_token=\"t.o.k\", token_type=\"Bearer\", expires_in=3600\r\n\
                  ANPX-Public-URL: https://gw.example/alice\r\nANPX-Public-URL: file:///x\r\nANPX-Public-URL: https://x/\u{202e}y\r\n";
    answer(io, &accepted(&head, fields)).await;

    let (head, io) = next(&listener).await;
    assert!(
        head.contains("\r\nAuthorization: Bearer t.o.k\r\n"),
        "{head}"
    );
    assert!(!head.contains("signature-input"));
    answer(io, "HTTP/1.1 401 Unauthorized\r\n\r\n").await;

    let (head, io) = next(&listener).await;
    assert!(head.contains("\r\nsignature-input: "), "{head}");
    answer(io, "HTTP/1.1 403 Forbidden\r\n\r\n").await;

    let ended = running.await.unwrap();
    assert!(matches!(ended, Err(Error::GivenUp { .. })), "{ended:?}");
    assert_eq!(*told.lock().unwrap(), ["https://gw.example/alice"]);
}

#[tokio::test]
async fn a_second_challenge_is_not_answered() {
    let (dir, listener, mut config) = config().await;
    identify(&dir, &mut config);
    let receiver = Receiver::new(config).unwrap().with_proxies(Proxies::none());
    let running = tokio::spawn(receiver.run(std::future::pending()));
    for _ in 0..2 {
        let (_, io) = next(&listener).await;
        answer(
            io,
            "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: DIDWba nonce=\"n\"\r\n\r\n",
        )
        .await;
    }
    let ended = running.await.unwrap();
    assert!(matches!(ended, Err(Error::GivenUp { .. })), "{ended:?}");
}

#[tokio::test]
async fn a_token_of_a_file_is_shown_each_time_and_never_in_a_message() {
    let (dir, listener, mut config) = config().await;
    let file = dir.path().join("token");
    write_secret(&file, "anp_secret\n").unwrap();
    config.token_file = Some(file);
    let receiver = Receiver::new(config).unwrap().with_proxies(Proxies::none());
    assert!(!format!("{receiver:?}").contains("anp_secret"));
    let running = tokio::spawn(receiver.run(std::future::pending()));
    let (head, io) = next(&listener).await;
    assert!(
        head.contains("\r\nAuthorization: Bearer anp_secret\r\n"),
        "{head}"
    );
    answer(
        io,
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: DIDWba nonce=\"n\"\r\n\r\n",
    )
    .await;
    let error = running.await.unwrap().unwrap_err();
    assert!(!format!("{error} {error:?}").contains("anp_secret"));
}

#[tokio::test]
async fn files_that_cannot_be_used_are_told_before_anything_starts() {
    let (dir, _listener, mut config) = config().await;
    let file = dir.path().join("token");
    write_secret(&file, "two words").unwrap();
    config.token_file = Some(file);
    let error = Receiver::new(config.clone()).expect_err("no token");
    assert!(matches!(error, Error::Identity(IdentityError::Token(_))));
    config.token_file = None;
    identify(&dir, &mut config);
    std::fs::write(config.did_document.as_ref().unwrap(), "{}").unwrap();
    let error = Receiver::new(config).expect_err("no document");
    assert!(matches!(error, Error::Identity(IdentityError::Signer(_))));
}
