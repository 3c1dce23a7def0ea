//! HTTP/2 from caller to app, as gRPC uses it.

use anp_testkit::{App, Rig, soon};
use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
    server::SendResponse,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use tokio::net::TcpStream;

/// The next bytes of a body, as text; `None` at its end.
async fn text(body: &mut RecvStream) -> Option<String> {
    loop {
        let data = soon(body.data()).await?.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        if !data.is_empty() {
            return Some(String::from_utf8(data.to_vec()).unwrap());
        }
    }
}

/// Answers every message as it comes, then says how the call went.
async fn echo(request: Request<RecvStream>, mut answer: SendResponse<Bytes>) {
    let status = match &request.headers()["te"] {
        te if te == "trailers" => "0",
        _ => "13",
    };
    let mut asked = request.into_body();
    let response = Response::builder().header("content-type", "application/grpc");
    let Ok(mut body) = answer.send_response(response.body(()).unwrap(), false) else {
        return;
    };
    while let Some(Ok(data)) = asked.data().await {
        let _ = asked.flow_control().release_capacity(data.len());
        let _ = body.send_data(data, false);
    }
    let mut trailers = HeaderMap::new();
    trailers.append("grpc-status", HeaderValue::from_static(status));
    let _ = body.send_trailers(trailers);
}

/// A caller's connection.
async fn caller(rig: &Rig) -> SendRequest<Bytes> {
    let socket = TcpStream::connect(rig.public()).await.unwrap();
    let (send, connection) = soon(h2::client::handshake(socket)).await.unwrap();
    tokio::spawn(connection);
    soon(send.ready()).await.unwrap()
}

fn call(send: &mut SendRequest<Bytes>) -> (ResponseFuture, SendStream<Bytes>) {
    let request = Request::builder()
        .method(Method::POST)
        .uri("http://test/echo.Echo/Say")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    send.send_request(request.body(()).unwrap(), false).unwrap()
}

#[tokio::test]
async fn calls_stream_both_ways_and_end_with_their_status() {
    let app = App::http2(echo).await;
    let rig = Rig::start(&app).await;
    let mut send = caller(&rig).await;
    let (mut calls, mut bodies) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        let (answer, mut upload) = call(&mut send);
        upload.send_data("first".into(), false).unwrap();
        let response = soon(answer).await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/grpc");
        let mut body = response.into_body();
        assert_eq!(text(&mut body).await.as_deref(), Some("first"));
        calls.push(upload);
        bodies.push(body);
    }
    for (upload, body) in calls.iter_mut().zip(&mut bodies) {
        for word in ["second", "third"] {
            upload.send_data(word.into(), false).unwrap();
            assert_eq!(text(body).await.as_deref(), Some(word));
        }
    }
    for (mut upload, mut body) in calls.into_iter().zip(bodies) {
        upload.send_data(Bytes::new(), true).unwrap();
        assert_eq!(text(&mut body).await, None);
        let trailers = soon(body.trailers()).await.unwrap().unwrap();
        assert_eq!(trailers["grpc-status"], "0");
    }
}

#[tokio::test]
async fn a_call_that_the_caller_cancels_is_cancelled_at_the_app() {
    let (sender, mut resets) = tokio::sync::mpsc::unbounded_channel();
    let app = App::http2(move |_request, mut answer| {
        let sender = sender.clone();
        async move {
            let mut body = answer.send_response(Response::new(()), false).unwrap();
            let reason = std::future::poll_fn(|cx| body.poll_reset(cx)).await;
            let _ = sender.send(reason.unwrap());
        }
    });
    let app = app.await;
    let rig = Rig::start(&app).await;
    let mut send = caller(&rig).await;
    let (answer, mut upload) = call(&mut send);
    assert_eq!(soon(answer).await.unwrap().status(), 200);
    upload.send_reset(h2::Reason::CANCEL);
    assert_eq!(soon(resets.recv()).await, Some(h2::Reason::CANCEL));
}

#[tokio::test]
async fn a_websocket_crosses_as_extended_connect_on_both_sides() {
    let app = App::http2(|request: Request<RecvStream>, mut answer| async move {
        let protocol = request.extensions().get::<h2::ext::Protocol>();
        assert_eq!(protocol.map(h2::ext::Protocol::as_str), Some("websocket"));
        let mut asked = request.into_body();
        let mut body = answer.send_response(Response::new(()), false).unwrap();
        while let Some(word) = text(&mut asked).await {
            body.send_data(word.into(), false).unwrap();
        }
        body.send_data("bye".into(), true).unwrap();
    });
    let app = app.await;
    let rig = Rig::start(&app).await;
    let mut send = caller(&rig).await;
    while !send.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
    }
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri("http://test/chat")
        .header("sec-websocket-version", "13")
        .extension(h2::ext::Protocol::from_static("websocket"));
    let (answer, mut upload) = send.send_request(request.body(()).unwrap(), false).unwrap();
    let response = soon(answer).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    for word in ["one", "two"] {
        upload.send_data(word.into(), false).unwrap();
        assert_eq!(text(&mut body).await.as_deref(), Some(word));
    }
    upload.send_data(Bytes::new(), true).unwrap();
    assert_eq!(text(&mut body).await.as_deref(), Some("bye"));
    assert_eq!(text(&mut body).await, None);
}
