//! Callers that speak HTTP/2.

use std::future::poll_fn;

use anp_gateway::Shutdown;
use anp_tunnel::{Part, handshake::accept_key};
use anpx::{Fields, ResetCode, StreamError, session::End};
use bytes::Bytes;
use h2::{
    Ping, PingPong, Reason,
    client::{self, ResponseFuture, SendRequest},
    ext::Protocol,
};
use http::{HeaderMap, Method, Request, Response};

use crate::support::{Running, answer, body, config, head, part, send, soon, start};

/// A connection whose frames are read and written in the background.
async fn connect(gateway: &Running) -> SendRequest<Bytes> {
    connect_and_ping(gateway).await.0
}

/// The same, with what sends pings.
async fn connect_and_ping(gateway: &Running) -> (SendRequest<Bytes>, PingPong) {
    let socket = gateway.caller().await.socket;
    let (send, mut connection) = soon(client::handshake(socket)).await.unwrap();
    let pings = connection.ping_pong().unwrap();
    tokio::spawn(async move {
        let _ = connection.await;
    });
    (soon(send.ready()).await.unwrap(), pings)
}

fn request(method: &str, path: &str) -> Request<()> {
    Request::builder()
        .method(method)
        .uri(format!("http://test{path}"))
        .body(())
        .unwrap()
}

/// Asks for a WebSocket (RFC 8441): its answer to come, and the way up.
async fn upgrade(caller: &mut SendRequest<Bytes>) -> (ResponseFuture, h2::SendStream<Bytes>) {
    while !caller.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
    }
    let mut connect = request("CONNECT", "/chat");
    connect
        .extensions_mut()
        .insert(Protocol::from_static("websocket"));
    caller.send_request(connect, false).unwrap()
}

async fn text(
    response: Response<h2::RecvStream>,
) -> Result<(String, Option<HeaderMap>), h2::Error> {
    let mut stream = response.into_body();
    let mut text = Vec::new();
    while let Some(data) = soon(stream.data()).await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        text.extend_from_slice(&data);
    }
    let trailers = soon(stream.trailers()).await?;
    Ok((String::from_utf8(text).unwrap(), trailers))
}

#[tokio::test]
async fn requests_share_a_connection_and_are_answered_in_any_order() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = connect(&gateway).await;
    let mut responses = Vec::new();
    for path in ["/a?x=%20", "/b"] {
        let (response, _) = caller.send_request(request("GET", path), true).unwrap();
        responses.push(response);
    }
    let mut requests = [receiver.accept().await, receiver.accept().await];
    requests.sort_by_key(|r| r.head.target.clone());
    assert_eq!(&requests[0].head.target[..], b"/a?x=%20");
    assert_eq!(&requests[0].head.authority[..], b"test");
    assert_eq!(&requests[0].head.method[..], b"GET");
    for (request, name) in requests.iter_mut().zip(["a", "b"]).rev() {
        answer(request, 200, name);
        let response = soon(responses.pop().unwrap()).await.unwrap();
        assert!(response.headers().contains_key("date"));
        assert_eq!(text(response).await.unwrap().0, name);
    }
}

#[tokio::test]
async fn a_connection_without_a_request_yet_gets_its_first_one_through_during_a_stop() {
    let gateway = start(config()).await;
    let first = gateway.receiver().await;
    let (mut caller, mut pings) = connect_and_ping(&gateway).await;
    let second = gateway.receiver().await;
    // The system may still hold the connection for a gateway that was not told of it.
    gateway.metrics_say("anp_gateway_connections 1").await;
    gateway.shutdown.send_replace(Shutdown::Graceful);
    // The stop has begun once all tunnels but one are sent away.
    soon(second.driver).await.unwrap();
    // What is said of it on this connection has come before the third answer.
    for _ in 0..3 {
        soon(pings.ping(Ping::opaque())).await.unwrap();
    }
    let (response, _) = caller.send_request(request("GET", "/"), true).unwrap();
    answer(&mut first.accept().await, 200, "first");
    let response = soon(response).await.unwrap();
    assert_eq!(text(response).await.unwrap().0, "first");
    // Not a second one.
    soon(first.driver).await.unwrap();
    soon(gateway.ended).await.unwrap().unwrap();
    assert!(caller.send_request(request("GET", "/"), true).is_err());
}

#[tokio::test]
async fn the_health_path_is_the_gateways_own() {
    let gateway = start(anp_gateway::Config {
        health_path: Some("/-/healthz".to_owned()),
        ..config()
    })
    .await;
    let mut caller = connect(&gateway).await;
    let (response, _) = caller
        .send_request(request("GET", "/-/healthz"), true)
        .unwrap();
    let response = soon(response).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(text(response).await.unwrap().0, "ready\n");
}

#[tokio::test]
async fn the_path_of_tunnels_is_not_the_apps() {
    let gateway = start(anp_gateway::Config {
        tunnel_path: Some("/anpx".into()),
        ..config()
    })
    .await;
    let _receiver = gateway.receiver().await;
    let mut caller = connect(&gateway).await;
    let (response, _) = caller
        .send_request(request("GET", "/anpx?x"), true)
        .unwrap();
    assert_eq!(soon(response).await.unwrap().status(), 404);
    // Nor by the absolute form of HTTP/1.
    let answer = gateway.get("http://test/anpx").await;
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
}

#[tokio::test]
async fn bodies_trailers_and_informational_heads_pass_both_ways() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = connect(&gateway).await;
    let (mut response, mut up) = caller.send_request(request("POST", "/"), false).unwrap();
    let mut request = receiver.accept().await;
    request
        .response
        .inform(&head(103, &[("link", "</a>")]))
        .unwrap();
    let hints = soon(poll_fn(|cx| response.poll_informational(cx))).await;
    let hints = hints.unwrap().unwrap();
    assert_eq!(
        (hints.status().as_u16(), &hints.headers()["link"]),
        (103, &"</a>".parse().unwrap())
    );
    up.send_data("up".into(), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    trailers.insert("x-request-id", "forged".parse().unwrap());
    up.send_trailers(trailers).unwrap();
    match part(&mut request.body).await {
        Some(Ok(Part::Data(data, End::No))) => assert_eq!(&data[..], b"up"),
        other => panic!("{other:?}"),
    }
    match part(&mut request.body).await {
        Some(Ok(Part::Trailers(trailers))) => {
            assert_eq!(trailers, Fields::from_pairs([("x-sum", "1")]).unwrap());
        }
        other => panic!("{other:?}"),
    }
    let status = Fields::from_pairs([("grpc-status", "0")]).unwrap();
    let down = &mut request.response;
    down.respond(&head(200, &[]), "down".into(), End::No)
        .unwrap();
    down.send_trailers(status).unwrap();
    let (text, trailers) = text(soon(response).await.unwrap()).await.unwrap();
    assert_eq!(
        (&text[..], &trailers.unwrap()["grpc-status"]),
        ("down", &"0".parse().unwrap())
    );
}

#[tokio::test]
async fn the_body_is_asked_for_when_the_app_asks() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = connect(&gateway).await;
    let mut post = request("POST", "/");
    post.headers_mut()
        .insert("expect", "100-continue".parse().unwrap());
    let (mut response, mut up) = caller.send_request(post, false).unwrap();
    let mut request = receiver.accept().await;
    request.response.inform(&head(100, &[])).unwrap();
    let asked = soon(poll_fn(|cx| response.poll_informational(cx))).await;
    assert_eq!(asked.unwrap().unwrap().status(), 100);
    up.send_data("body".into(), true).unwrap();
    assert_eq!(body(&mut request.body).await.unwrap(), b"body");
    answer(&mut request, 200, "ok");
    assert_eq!(text(soon(response).await.unwrap()).await.unwrap().0, "ok");
}

#[tokio::test]
async fn a_caller_that_cancels_cancels_and_leaves_the_others_alone() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = connect(&gateway).await;
    let (response, mut up) = caller.send_request(request("POST", "/"), false).unwrap();
    let mut cancelled = receiver.accept().await;
    let (other, _) = caller.send_request(request("GET", "/other"), true).unwrap();
    let mut kept = receiver.accept().await;
    up.send_reset(Reason::CANCEL);
    drop(response);
    let error = soon(poll_fn(|cx| cancelled.response.poll_error(cx))).await;
    assert_eq!(error, StreamError::Reset(ResetCode::CANCELLED));
    answer(&mut kept, 200, "kept");
    assert_eq!(text(soon(other).await.unwrap()).await.unwrap().0, "kept");
}

#[tokio::test]
async fn a_message_that_breaks_is_reset() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = connect(&gateway).await;
    let (response, _) = caller.send_request(request("GET", "/"), true).unwrap();
    let mut request = receiver.accept().await;
    let down = &mut request.response;
    down.respond(&head(200, &[]), "part".into(), End::No)
        .unwrap();
    let response = soon(response).await.unwrap();
    request.response.reset(ResetCode::UPSTREAM_FAILED);
    assert!(text(response).await.unwrap_err().is_reset());
}

#[tokio::test]
async fn an_early_answer_lets_the_upload_go_on() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = connect(&gateway).await;
    let (response, mut up) = caller.send_request(request("POST", "/"), false).unwrap();
    let mut request = receiver.accept().await;
    answer(&mut request, 200, "early");
    assert_eq!(
        text(soon(response).await.unwrap()).await.unwrap().0,
        "early"
    );
    up.send_data("still".into(), true).unwrap();
    assert_eq!(body(&mut request.body).await.unwrap(), b"still");
}

#[tokio::test]
async fn what_the_app_does_not_read_stays_with_the_caller() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = connect(&gateway).await;
    let (response, mut up) = caller.send_request(request("POST", "/"), false).unwrap();
    let mut request = receiver.accept().await;
    // More than every window and buffer on the road.
    up.send_data(vec![b'x'; 8 << 20].into(), true).unwrap();
    // Another request passes it.
    let (other, _) = caller
        .send_request(crate::http2::request("GET", "/other"), true)
        .unwrap();
    answer(&mut receiver.accept().await, 200, "passed");
    assert_eq!(text(soon(other).await.unwrap()).await.unwrap().0, "passed");
    assert_eq!(body(&mut request.body).await.unwrap().len(), 8 << 20);
    answer(&mut request, 200, "ok");
    assert_eq!(text(soon(response).await.unwrap()).await.unwrap().0, "ok");
}

#[tokio::test]
async fn bodies_that_no_app_reads_leave_room_for_those_of_others() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = connect(&gateway).await;
    let mut unread = Vec::new();
    for _ in 0..100 {
        let (response, mut up) = caller.send_request(request("POST", "/"), false).unwrap();
        up.send_data(vec![b'x'; 1 << 20].into(), false).unwrap();
        unread.push((response, up, receiver.accept().await));
    }
    let (response, mut up) = caller.send_request(request("POST", "/"), false).unwrap();
    up.send_data(vec![b'x'; 1 << 20].into(), true).unwrap();
    let mut request = receiver.accept().await;
    let read = soon(body(&mut request.body)).await;
    assert_eq!(read.unwrap().len(), 1 << 20);
    answer(&mut request, 200, "ok");
    assert_eq!(text(soon(response).await.unwrap()).await.unwrap().0, "ok");
}

#[tokio::test]
async fn an_extended_connect_is_an_upgrade_for_the_app() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = connect(&gateway).await;
    let (response, mut up) = upgrade(&mut caller).await;
    let mut request = receiver.accept().await;
    assert_eq!(&request.head.method[..], b"GET");
    assert_eq!(request.head.protocol.as_deref(), Some(&b"websocket"[..]));
    let key = request.head.headers.get("sec-websocket-key").unwrap();
    let accept = accept_key(key);
    let head = head(101, &[("sec-websocket-accept", &accept), ("x", "y")]);
    request
        .response
        .respond(&head, Bytes::new(), End::No)
        .unwrap();
    let response = soon(response).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["x"]),
        (200, &"y".parse().unwrap())
    );
    assert!(!response.headers().contains_key("sec-websocket-accept"));
    up.send_data("ping".into(), true).unwrap();
    assert_eq!(body(&mut request.body).await.unwrap(), b"ping");
    send(&mut request, "pong".into(), End::Yes).await.unwrap();
    assert_eq!(text(response).await.unwrap().0, "pong");
}

#[tokio::test]
async fn an_upgrade_is_under_way_as_long_as_either_direction_is() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = connect(&gateway).await;
    let (response, mut up) = upgrade(&mut caller).await;
    let mut request = receiver.accept().await;
    let key = request.head.headers.get("sec-websocket-key").unwrap();
    let head = head(101, &[("sec-websocket-accept", &accept_key(key))]);
    let (end, none) = (End::No, Bytes::new());
    request.response.respond(&head, none, end).unwrap();
    send(&mut request, "bye".into(), End::Yes).await.unwrap();
    assert_eq!(text(soon(response).await.unwrap()).await.unwrap().0, "bye");
    gateway.metrics_say("anp_gateway_in_flight 1").await;
    up.send_data("more".into(), true).unwrap();
    assert_eq!(body(&mut request.body).await.unwrap(), b"more");
    gateway.metrics_say("anp_gateway_in_flight 0").await;
}

#[tokio::test]
async fn errors_of_the_gateway_are_problems() {
    let gateway = start(config()).await;
    let mut caller = connect(&gateway).await;
    let connect = Request::builder()
        .method(Method::CONNECT)
        .uri("test:443")
        .body(())
        .unwrap();
    for (request, status) in [(request("GET", "/"), 503), (connect, 405)] {
        let (response, _) = caller.send_request(request, true).unwrap();
        let response = soon(response).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        let (text, _) = text(response).await.unwrap();
        let problem: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(problem["status"], status);
    }
}

#[tokio::test]
async fn a_preface_and_nothing_more_is_closed() {
    let gateway = start(anp_gateway::Config {
        head_timeout: anp_tunnel::units::Span(std::time::Duration::from_millis(200)),
        ..config()
    })
    .await;
    for text in [
        "PRI * HTT",
        "PRI * HTTP/2.0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut caller = gateway.caller().await;
        caller.send(text).await;
        // Nothing, or settings and GOAWAY: its end is what counts.
        caller.drain().await;
    }
}
