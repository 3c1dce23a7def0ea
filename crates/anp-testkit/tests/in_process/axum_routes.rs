//! An axum router behind a real gateway and a real receiver.

use std::convert::Infallible;

use anp_receiver::{Caller as Sender, Receiver};
use anp_testkit::{BodyEnd, Caller, Rig, soon, until};
use axum::{
    Extension, Router,
    body::{Body, Bytes},
    extract::{
        State, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    response::{Response, Sse, sse::Event},
    routing::{any, get, post},
};
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};

/// What a test is told by its app.
#[derive(Debug)]
enum Told {
    /// Tokens of a response go in here.
    Tokens(mpsc::Sender<String>),
    /// A handler was dropped.
    Dropped,
    /// A handler waits.
    Waits,
    /// A handler answered what breaks.
    Breaks,
}

type Tell = mpsc::UnboundedSender<Told>;

/// A rig around the routes of these tests.
async fn start() -> (Rig, mpsc::UnboundedReceiver<Told>) {
    let (tell, told) = mpsc::unbounded_channel();
    let routes = Router::new()
        .route("/who", get(who))
        .route("/count", post(count))
        .route("/tokens", get(tokens))
        .route("/wait", get(wait))
        .route("/chat", get(chat))
        .route("/breaks", any(breaks))
        .with_state(tell);
    let rig = Rig::in_process(|config| Receiver::with_service(config, routes)).await;
    (rig, told)
}

async fn who(Extension(sender): Extension<Sender>) -> String {
    let address = sender.address();
    let local = address.is_some_and(|address| address.ip().is_loopback());
    format!("{} {local}", sender.scheme())
}

/// A response whose body fails before it has begun.
async fn breaks(State(tell): State<Tell>) -> Response {
    tell.send(Told::Breaks).unwrap();
    let failed = [Err::<Bytes, _>(std::io::Error::other("no model"))];
    Response::new(Body::from_stream(tokio_stream::iter(failed)))
}

/// The length of the body, read piece by piece.
async fn count(mut body: Body) -> String {
    let mut len = 0;
    while let Some(Ok(frame)) = body.frame().await {
        len += frame.data_ref().map_or(0, Bytes::len);
    }
    len.to_string()
}

/// Sends each token that the test gives it.
async fn tokens(State(tell): State<Tell>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let (sender, receiver) = mpsc::channel(1);
    tell.send(Told::Tokens(sender)).unwrap();
    let events = ReceiverStream::new(receiver);
    Sse::new(events.map(|token: String| Ok(Event::default().data(token))))
}

async fn wait(State(tell): State<Tell>) {
    struct Guard(Tell);
    impl Drop for Guard {
        fn drop(&mut self) {
            let _ = self.0.send(Told::Dropped);
        }
    }
    let _guard = Guard(tell.clone());
    tell.send(Told::Waits).unwrap();
    std::future::pending().await
}

async fn chat(upgrade: WebSocketUpgrade) -> Response {
    upgrade.protocols(["chat"]).on_upgrade(echo)
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if let Message::Text(text) = message {
            socket.send(Message::Text(text)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_handler_learns_who_called() {
    let (rig, _told) = start().await;
    assert_eq!(rig.get("/who").await, b"http true");
}

#[tokio::test]
async fn an_upload_larger_than_any_window_is_read_piece_by_piece() {
    const PIECES: usize = 64;
    let (rig, _told) = start().await;
    let mut caller = rig.caller().await;
    caller
        .send("POST /count HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    let mut piece = b"10000\r\n".to_vec();
    piece.extend([b'x'; 1 << 16]);
    piece.extend(b"\r\n");
    for _ in 0..PIECES {
        assert!(soon(caller.send(&piece)).await);
    }
    caller.send("0\r\n\r\n").await;
    let (head, body) = soon(caller.response()).await;
    assert_eq!(head.status, 200);
    assert_eq!(body, (PIECES << 16).to_string().into_bytes());
}

#[tokio::test]
async fn each_event_leaves_when_it_is_made_and_a_caller_that_leaves_ends_the_stream() {
    let (rig, mut told) = start().await;
    let mut caller = rig.caller().await;
    caller.get("/tokens").await;
    let head = soon(caller.head()).await;
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    let Some(Told::Tokens(tokens)) = soon(told.recv()).await else {
        panic!("no tokens are wanted");
    };
    for token in ["one", "two"] {
        tokens.send(token.to_owned()).await.unwrap();
        let chunk = soon(caller.chunk()).await.unwrap();
        assert_eq!(chunk, format!("data: {token}\n\n"));
    }
    drop(caller);
    soon(tokens.closed()).await;
}

#[tokio::test]
async fn a_caller_that_leaves_has_the_handler_dropped() {
    let (rig, mut told) = start().await;
    let mut caller = rig.caller().await;
    caller.get("/wait").await;
    assert!(matches!(soon(told.recv()).await, Some(Told::Waits)));
    drop(caller);
    assert!(matches!(soon(told.recv()).await, Some(Told::Dropped)));
}

/// A WebSocket handshake (RFC 6455 section 1.3) for `/chat`.
async fn asked(rig: &Rig) -> Caller {
    let mut caller = rig.caller().await;
    caller
        .send(
            "GET /chat HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await;
    caller
}

#[tokio::test]
async fn a_websocket_of_axum_echoes_and_closes() {
    let (rig, _told) = start().await;
    let mut caller = asked(&rig).await;
    let head = soon(caller.head()).await;
    assert_eq!(head.status, 101);
    assert_eq!(head.header("sec-websocket-protocol"), Some("chat"));
    let accept = head.header("sec-websocket-accept");
    assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    // Frames with a mask of zeroes: text, then a close with 1000.
    caller.send(b"\x81\x85\0\0\0\0hello").await;
    let (echoed, end) = soon(caller.sized(7)).await;
    assert_eq!((&echoed[..], end), (&b"\x81\x05hello"[..], BodyEnd::Whole));
    caller.send(b"\x88\x82\0\0\0\0\x03\xe8").await;
    let (closed, _) = soon(caller.sized(4)).await;
    assert_eq!(closed, b"\x88\x02\x03\xe8");
    assert_eq!(soon(caller.sized(1)).await.1, BodyEnd::Broken);
}

#[tokio::test]
async fn a_graceful_stop_lets_a_response_end() {
    let (rig, mut told) = start().await;
    let mut caller = rig.caller().await;
    caller.get("/tokens").await;
    assert_eq!(soon(caller.head()).await.status, 200);
    let Some(Told::Tokens(tokens)) = soon(told.recv()).await else {
        panic!("no tokens are wanted");
    };
    let stopping = tokio::spawn(rig.receiver.stop());
    tokens.send("last".to_owned()).await.unwrap();
    drop(tokens);
    let (body, end) = soon(caller.chunks()).await;
    assert_eq!((&body[..], end), (&b"data: last\n\n"[..], BodyEnd::Whole));
    soon(stopping).await.unwrap();
}

#[tokio::test]
async fn what_routes_answer_is_counted() {
    let (rig, _) = start().await;
    let monitor = rig.receiver.monitor();
    rig.get("/who").await;
    let mut caller = rig.caller().await;
    caller.get("/nowhere").await;
    assert_eq!(soon(caller.response()).await.0.status, 404);
    let answered = [("2xx", 1), ("4xx", 1)];
    let seen = until(&monitor, |seen| {
        answered
            .iter()
            .all(|counted| seen.requests.contains(counted))
    });
    assert!(seen.await.failures.iter().all(|(_, n)| *n == 0));
}

#[tokio::test]
async fn a_body_that_fails_at_once_is_500_and_its_handler_runs_once() {
    let (rig, mut told) = start().await;
    let mut caller = rig.caller().await;
    caller.get("/breaks").await;
    let (head, _) = soon(caller.response()).await;
    assert_eq!(head.status, 500);
    assert!(matches!(told.try_recv(), Ok(Told::Breaks)));
    assert!(told.try_recv().is_err(), "its handler ran again");
}
