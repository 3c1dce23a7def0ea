//! How a gateway ends.

use anp_gateway::{Config, Shutdown};
use anp_tunnel::{Status, units::Span};
use anpx::{CloseCode, session::End};
use bytes::Bytes;

use crate::support::{Caller, answer, config, head, send, soon, start};

#[tokio::test]
async fn a_graceful_stop_finishes_what_is_under_way() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut streaming = gateway.caller().await;
    streaming.get("/stream").await;
    let mut stream = receiver.accept().await;
    let first = Bytes::from_static(b"first");
    stream
        .response
        .respond(&head(200, &[]), first, End::No)
        .unwrap();
    streaming.until("first\r\n").await;
    let mut idle = gateway.caller().await;
    idle.get("/").await;
    answer(&mut receiver.accept().await, 200, "ok");
    idle.until("\r\n\r\nok").await;

    gateway.shutdown.send_replace(Shutdown::Graceful);
    // New tunnels are refused from here on.
    loop {
        let mut caller = Caller::connect(gateway.tunnel).await;
        caller
            .handshake("/", &[("Sec-WebSocket-Protocol", "anpx.v2")])
            .await;
        let response = caller.head().await;
        if response.starts_with("HTTP/1.1 503 ") {
            assert!(response.contains("retry-after"), "{response}");
            break;
        }
    }
    // The idle connection gets one more answer, its last.
    idle.get("/last").await;
    answer(&mut receiver.accept().await, 200, "last");
    let last = idle.rest().await;
    assert!(
        last.contains("connection: close") && last.ends_with("last"),
        "{last}"
    );
    // The stream goes on although its tunnel drains.
    while receiver.tunnel.status() != Status::Draining {
        tokio::task::yield_now().await;
    }
    send(&mut stream, Bytes::from_static(b"second"), End::Yes)
        .await
        .unwrap();
    drop(stream);
    streaming.until("second\r\n0\r\n\r\n").await;
    assert_eq!(streaming.rest().await, "");
    let closed = soon(receiver.driver).await.unwrap();
    assert_eq!(closed.code, Some(CloseCode::GOING_AWAY));
    soon(gateway.ended).await.unwrap().unwrap();
    assert!(
        tokio::net::TcpStream::connect(gateway.public)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn the_deadline_ends_the_rest() {
    let gateway = start(Config {
        drain_timeout: Span::from_millis(50),
        ..config()
    })
    .await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller.get("/").await;
    let _request = receiver.accept().await;
    // Without anybody left to ask for more, a graceful stop it is.
    drop(gateway.shutdown);
    soon(gateway.ended).await.unwrap().unwrap();
    let response = caller.rest().await;
    assert!(response.starts_with("HTTP/1.1 502 "), "{response}");
}

#[tokio::test]
async fn a_second_request_to_stop_is_obeyed_at_once() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller.get("/").await;
    let _request = receiver.accept().await;
    gateway.shutdown.send_replace(Shutdown::Graceful);
    gateway.shutdown.send_replace(Shutdown::Now);
    soon(gateway.ended).await.unwrap().unwrap();
    let closed = soon(receiver.driver).await.unwrap();
    assert_eq!(closed.code, Some(CloseCode::GOING_AWAY));
    assert!(closed.by_peer);
}
