//! What an endpoint takes: bodies of a size, and so many requests at once.

use anp_gateway::{Config, Endpoint};
use anp_tunnel::{Part, TunnelConfig, units::Size};
use anpx::{
    ResetCode, StreamError,
    session::{End, Role},
};
use bytes::Bytes;
use h2::client;
use http::Request;

use crate::support::{Running, answer, body, config, head, part, soon, start};

async fn small_bodies() -> Running {
    start(Config {
        max_body_size: Some(Size(4)),
        ..config()
    })
    .await
}

/// `a` takes one request at once, `b` any number; one receiver serves both.
async fn crowded() -> Running {
    let endpoint = |name: &str, max_requests| Endpoint {
        name: name.to_owned(),
        path: format!("/{name}"),
        receivers: vec!["r".to_owned()],
        max_requests,
        ..Endpoint::default()
    };
    start(Config {
        endpoints: vec![endpoint("a", Some(1)), endpoint("b", None)],
        ..config()
    })
    .await
}

async fn connect(gateway: &Running) -> client::SendRequest<Bytes> {
    let socket = gateway.caller().await.socket;
    let (send, connection) = soon(client::handshake(socket)).await.unwrap();
    tokio::spawn(async move {
        let _ = connection.await;
    });
    soon(send.ready()).await.unwrap()
}

fn post(path: &str) -> Request<()> {
    let uri = format!("http://test{path}");
    Request::post(uri).body(()).unwrap()
}

#[tokio::test]
async fn a_body_known_to_be_too_long_needs_no_tunnel() {
    let gateway = small_bodies().await;
    let post =
        |length| format!("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n");
    let mut caller = gateway.caller().await;
    caller.send(post(5)).await;
    assert!(caller.head().await.starts_with("HTTP/1.1 413 "));

    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller.send(post(4) + "four").await;
    let mut request = receiver.accept().await;
    assert_eq!(body(&mut request.body).await.unwrap(), b"four");
    answer(&mut request, 200, "ok");
    caller.until("\r\n\r\nok").await;
}

#[tokio::test]
async fn a_body_that_grows_too_long_is_413_and_reset() {
    let gateway = small_bodies().await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller
        .send("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfour\r\n")
        .await;
    let mut request = receiver.accept().await;
    match part(&mut request.body).await {
        Some(Ok(Part::Data(data, End::No))) => assert_eq!(&data[..], b"four"),
        other => panic!("{other:?}"),
    }
    caller.send("1\r\n!\r\n").await;
    assert!(caller.head().await.starts_with("HTTP/1.1 413 "));
    assert_eq!(
        body(&mut request.body).await.unwrap_err(),
        StreamError::Reset(ResetCode::TOO_LARGE)
    );
}

#[tokio::test]
async fn an_answer_under_way_breaks_off_when_the_body_grows_too_long() {
    let gateway = small_bodies().await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller
        .send("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    let mut request = receiver.accept().await;
    let response = &mut request.response;
    response
        .respond(&head(200, &[]), "early".into(), End::No)
        .unwrap();
    caller.until("early\r\n").await;
    caller.send("5\r\nfive!\r\n").await;
    assert_eq!(caller.rest().await, "");
}

#[tokio::test]
async fn http2_bodies_are_limited_too() {
    let gateway = small_bodies().await;
    let mut caller = connect(&gateway).await;
    let mut known = post("/");
    known
        .headers_mut()
        .insert("content-length", "5".parse().unwrap());
    let (response, _up) = caller.send_request(known, false).unwrap();
    assert_eq!(soon(response).await.unwrap().status(), 413);

    let receiver = gateway.receiver().await;
    let (response, mut up) = caller.send_request(post("/"), false).unwrap();
    let mut request = receiver.accept().await;
    up.send_data("five!".into(), false).unwrap();
    assert_eq!(soon(response).await.unwrap().status(), 413);
    assert_eq!(
        body(&mut request.body).await.unwrap_err(),
        StreamError::Reset(ResetCode::TOO_LARGE)
    );
}

#[tokio::test]
async fn a_crowd_at_one_endpoint_leaves_the_other_its_places() {
    let gateway = crowded().await;
    // As many places as the test has requests: one more of the crowd would take the last.
    let mut places = TunnelConfig::new(Role::Receiver);
    places.v2.max_streams = 2;
    let receiver = gateway.receiver_with("r", places).await;
    let mut first = gateway.caller().await;
    first.get("/a").await;
    let mut held = receiver.accept().await;
    for _ in 0..8 {
        let refused = gateway.get("/a").await;
        assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
        assert!(refused.contains("retry-after: 1\r\n"), "{refused}");
    }
    let mut other = gateway.caller().await;
    other.get("/b").await;
    answer(&mut receiver.accept().await, 200, "b");
    other.until("\r\n\r\nb").await;

    answer(&mut held, 200, "a");
    first.until("\r\n\r\na").await;
    // On one connection the place is free before the next request is read.
    first.get("/a").await;
    answer(&mut receiver.accept().await, 200, "again");
    first.until("\r\n\r\nagain").await;
}

#[tokio::test]
async fn http2_requests_are_counted_too() {
    let gateway = crowded().await;
    let receiver = gateway.receiver().await;
    let mut caller = connect(&gateway).await;
    let (first, _) = caller.send_request(post("/a"), true).unwrap();
    let mut held = receiver.accept().await;
    let (second, _) = caller.send_request(post("/a"), true).unwrap();
    assert_eq!(soon(second).await.unwrap().status(), 503);
    let (other, _) = caller.send_request(post("/b"), true).unwrap();
    answer(&mut receiver.accept().await, 200, "b");
    assert_eq!(soon(other).await.unwrap().status(), 200);
    answer(&mut held, 200, "a");
    assert_eq!(soon(first).await.unwrap().status(), 200);
}
