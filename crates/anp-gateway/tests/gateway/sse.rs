//! Comments in event streams that are silent.

use anp_gateway::{Config, Switch};
use anp_tunnel::{Incoming, units::Span};
use anpx::session::End;
use h2::client;
use http::Request;

use crate::support::{Running, config, head, send, soon, start};

/// More comments than fit into the time after which a stream of these tests is broken.
const MOST: usize = 60;

async fn commenting(idle: u64) -> Running {
    start(Config {
        sse_keepalive: Some(Switch::On(Span::from_millis(20))),
        idle_timeout: Span::from_millis(idle),
        ..config()
    })
    .await
}

fn begin(request: &mut Incoming, body: &'static str) {
    let events = head(200, &[("content-type", "text/event-stream")]);
    let body = body.as_bytes().into();
    request.response.respond(&events, body, End::No).unwrap();
}

#[tokio::test]
async fn a_silent_stream_gets_comments_between_its_events() {
    let gateway = commenting(60_000).await;
    let receiver = gateway.receiver().await;
    let mut inside = gateway.caller().await;
    inside.get("/").await;
    let mut inner = receiver.accept().await;
    begin(&mut inner, "data: a\n");
    inside.until("8\r\ndata: a\n\r\n").await;

    let mut caller = gateway.caller().await;
    caller.get("/").await;
    let mut request = receiver.accept().await;
    begin(&mut request, "");
    caller.head().await;
    // Before the first event, and after one.
    assert_eq!(caller.exactly(16).await, b"3\r\n:\n\n\r\n3\r\n:\n\n\r\n");
    send(&mut request, "data: b\n\n".into(), End::No)
        .await
        .unwrap();
    caller.until("9\r\ndata: b\n\n\r\n").await;
    for _ in 0..3 {
        assert_eq!(caller.exactly(8).await, b"3\r\n:\n\n\r\n");
    }
    send(&mut request, "data: c\n\n".into(), End::Yes)
        .await
        .unwrap();
    caller.until("9\r\ndata: c\n\n\r\n0\r\n\r\n").await;
    // The connection goes on.
    caller.get("/next").await;
    assert_eq!(&receiver.accept().await.head.target[..], b"/next");

    // All this time the other event was not whole.
    send(&mut inner, "data: a\n\n".into(), End::Yes)
        .await
        .unwrap();
    assert_eq!(inside.exactly(19).await, b"9\r\ndata: a\n\n\r\n0\r\n\r\n");
}

#[tokio::test]
async fn comments_do_not_keep_a_dead_app_alive() {
    let gateway = commenting(300).await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller.get("/").await;
    let mut request = receiver.accept().await;
    begin(&mut request, "data: a\n\n");
    caller.head().await;
    caller.until("9\r\ndata: a\n\n\r\n").await;
    caller.until("3\r\n:\n\n\r\n").await;
    let rest = soon(caller.rest()).await;
    assert!(!rest.ends_with("0\r\n\r\n"), "{rest:?}");
    assert!(rest.len() < MOST * 8, "{rest:?}");
}

#[tokio::test]
async fn nor_over_http2() {
    let gateway = commenting(300).await;
    let receiver = gateway.receiver().await;
    let socket = gateway.caller().await.socket;
    let (send, connection) = soon(client::handshake(socket)).await.unwrap();
    tokio::spawn(connection);
    let mut send = soon(send.ready()).await.unwrap();
    let get = Request::get("http://test/").body(()).unwrap();
    let (response, _): (_, h2::SendStream<bytes::Bytes>) = send.send_request(get, true).unwrap();
    let mut request = receiver.accept().await;
    begin(&mut request, "data: a\n\n");
    let mut body = soon(response).await.unwrap().into_body();
    let mut came = Vec::new();
    let error = loop {
        match soon(body.data()).await {
            Some(Ok(data)) => {
                came.extend_from_slice(&data);
                assert!(came.len() < MOST * 3, "it does not end");
            }
            Some(Err(error)) => break error,
            None => panic!("the stream must not look whole"),
        }
    };
    assert!(error.is_reset(), "{error}");
    assert!(came.starts_with(b"data: a\n\n:\n\n"), "{came:?}");
}

#[tokio::test]
async fn head_has_none() {
    let gateway = commenting(60_000).await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller.send("HEAD / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    let mut request = receiver.accept().await;
    let events = head(200, &[("content-type", "text/event-stream")]);
    request
        .response
        .respond(&events, "".into(), End::Yes)
        .unwrap();
    caller.head().await;
    caller.get("/next").await;
    let mut request = receiver.accept().await;
    begin(&mut request, "data: a\n\n");
    assert!(caller.head().await.starts_with("HTTP/1.1 200 "));
}
