//! Connections that become something else, and what passes outside of bodies.

use std::future::poll_fn;

use anp_tunnel::{Incoming, Part};
use anpx::{Fields, ResetCode, StreamError, session::End};
use bytes::Bytes;

use crate::support::{
    Caller, Receiver, Running, answer, body, config, head, part, send, soon, start,
};

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nhost: h\r\nconnection: keep-alive, Upgrade\r\n\
    upgrade: WebSocket\r\nsec-websocket-key: k\r\n\r\n";

/// A gateway, its receiver, and a caller whose upgrade the receiver has.
async fn asked(request: &str) -> (Running, Receiver, Caller, Incoming) {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller.send(request).await;
    let request = receiver.accept().await;
    (gateway, receiver, caller, request)
}

/// The same, accepted.
async fn upgraded() -> (Running, Receiver, Caller, Incoming) {
    let (gateway, receiver, mut caller, mut request) = asked(UPGRADE).await;
    let accept = head(101, &[("sec-websocket-accept", "a")]);
    request
        .response
        .respond(&accept, Bytes::new(), End::No)
        .unwrap();
    let head = caller.head().await;
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
    assert!(head.contains("\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"));
    assert!(head.contains("\r\nsec-websocket-accept: a\r\n"));
    assert!(!head.contains("content-length") && !head.contains("transfer-encoding"));
    (gateway, receiver, caller, request)
}

async fn next_data(request: &mut Incoming) -> (Bytes, End) {
    match part(&mut request.body).await {
        Some(Ok(Part::Data(data, end))) => (data, end),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_upgrade_carries_raw_bytes_both_ways_until_both_ends_are_over() {
    let (_gateway, _receiver, mut caller, mut request) = upgraded().await;
    assert_eq!(request.head.protocol.as_deref(), Some(&b"websocket"[..]));
    assert_eq!(
        request.head.headers.get("sec-websocket-key"),
        Some(&b"k"[..])
    );
    assert_eq!(request.head.headers.get("upgrade"), None);
    caller.send("ping\r\n0\r\n\r\n").await;
    assert_eq!(&next_data(&mut request).await.0[..], b"ping\r\n0\r\n\r\n");
    send(&mut request, "pong".into(), End::No).await.unwrap();
    assert_eq!(caller.exactly(4).await, b"pong");
    // The caller's half ends first; the app's goes on.
    caller.finish().await;
    assert!(
        part(&mut request.body)
            .await
            .is_none_or(|p| { matches!(p, Ok(Part::Data(data, End::Yes)) if data.is_empty()) })
    );
    send(&mut request, "last".into(), End::Yes).await.unwrap();
    assert_eq!(caller.rest().await, "last");
}

#[tokio::test]
async fn the_apps_half_may_end_first() {
    let (_gateway, _receiver, mut caller, mut request) = upgraded().await;
    send(&mut request, "bye".into(), End::Yes).await.unwrap();
    assert_eq!(caller.rest().await, "bye");
    caller.send("still here").await;
    assert_eq!(&next_data(&mut request).await.0[..], b"still here");
    caller.finish().await;
    assert_eq!(body(&mut request.body).await, Ok(Vec::new()));
}

#[tokio::test]
async fn an_abort_of_either_end_reaches_the_other() {
    let (_gateway, _receiver, mut caller, mut request) = upgraded().await;
    send(&mut request, "part".into(), End::No).await.unwrap();
    assert_eq!(caller.exactly(4).await, b"part");
    request.response.reset(ResetCode::UPSTREAM_FAILED);
    assert!(caller.is_reset().await);

    let (_gateway, _receiver, caller, mut request) = upgraded().await;
    caller.reset();
    let error = soon(poll_fn(|cx| request.response.poll_error(cx))).await;
    assert_eq!(error, StreamError::Reset(ResetCode::CANCELLED));
}

#[tokio::test]
async fn nothing_raw_goes_out_before_101_and_nothing_is_lost() {
    let ahead = format!("{UPGRADE}raw");
    let (_gateway, _receiver, mut caller, mut request) = asked(&ahead).await;
    // The informational head passes the gateway after all that the caller sent.
    request.response.inform(&head(103, &[])).unwrap();
    assert!(caller.head().await.starts_with("HTTP/1.1 103 "));
    assert!(is_quiet(&mut request), "bytes came before 101");
    request
        .response
        .respond(&head(101, &[]), Bytes::new(), End::No)
        .unwrap();
    caller.head().await;
    assert_eq!(&next_data(&mut request).await.0[..], b"raw");
}

/// True where nothing of the request's body is there.
fn is_quiet(request: &mut Incoming) -> bool {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    request.body.poll_part(&mut cx).is_pending()
}

#[tokio::test]
async fn a_refused_upgrade_is_an_ordinary_answer() {
    let (_gateway, receiver, mut caller, mut request) = asked(UPGRADE).await;
    answer(&mut request, 403, "no");
    caller.until("\r\n\r\nno").await;
    assert_eq!(body(&mut request.body).await, Ok(Vec::new()));
    caller.get("/next").await;
    answer(&mut receiver.accept().await, 200, "next");
    caller.until("\r\n\r\nnext").await;
}

#[tokio::test]
async fn what_follows_a_refused_upgrade_is_no_request() {
    let ahead = format!("{UPGRADE}GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n");
    let (gateway, receiver, mut caller, mut request) = asked(&ahead).await;
    answer(&mut request, 403, "no");
    let text = caller.rest().await;
    assert!(text.contains("\r\nconnection: close\r\n") && text.ends_with("\r\n\r\nno"));
    let mut other = gateway.caller().await;
    other.get("/other").await;
    assert_eq!(&receiver.accept().await.head.target[..], b"/other");
}

#[tokio::test]
async fn what_is_not_configured_is_no_upgrade() {
    for (request, protocol) in [
        (UPGRADE.replace("WebSocket", "h2c, TLS/1.3"), None),
        (UPGRADE.replace("GET", "POST"), None),
        (
            UPGRADE.replace("WebSocket", "h2c, websocket"),
            Some(&b"websocket"[..]),
        ),
    ] {
        let (_gateway, _receiver, mut caller, mut request) = asked(&request).await;
        assert_eq!(request.head.protocol.as_deref(), protocol);
        answer(&mut request, 200, "ok");
        caller.until("\r\n\r\nok").await;
    }
}

#[tokio::test]
async fn a_version_1_receiver_is_not_asked_to_upgrade() {
    let gateway = start(config()).await;
    let _receiver = gateway.receiver_v1().await;
    let mut caller = gateway.caller().await;
    caller.send(UPGRADE).await;
    assert!(caller.head().await.starts_with("HTTP/1.1 502 "));
}

#[tokio::test]
async fn informational_heads_and_trailers_pass() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller.get("/").await;
    let mut request = receiver.accept().await;
    let hints = head(103, &[("link", "</a.css>"), ("link", "</b.css>")]);
    for _ in 0..2 {
        request.response.inform(&hints).unwrap();
    }
    let text = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\nlink: </b.css>\r\n\r\n";
    assert_eq!(caller.head().await, text);
    assert_eq!(caller.head().await, text);
    let trailers = Fields::from_pairs([("grpc-status", "0"), ("x", "y")]).unwrap();
    request
        .response
        .respond(&head(200, &[]), "data".into(), End::No)
        .unwrap();
    request.response.send_trailers(trailers).unwrap();
    caller.head().await;
    let rest = caller.until("x: y\r\n\r\n").await;
    assert_eq!(rest, "4\r\ndata\r\n0\r\ngrpc-status: 0\r\nx: y\r\n\r\n");
}

#[tokio::test]
async fn an_http_1_0_caller_gets_no_informational_heads_and_no_chunks() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller
        .send("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
        .await;
    let mut request = receiver.accept().await;
    request.response.inform(&head(103, &[])).unwrap();
    request
        .response
        .respond(&head(200, &[]), "data".into(), End::Yes)
        .unwrap();
    let text = caller.rest().await;
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert!(text.contains("\r\nconnection: close\r\n"), "{text}");
    assert!(text.ends_with("\r\n\r\ndata"), "{text}");
}
