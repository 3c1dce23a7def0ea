//! Apps that speak HTTP/2.

use std::{cell::Cell, future::poll_fn, rc::Rc};

use anp_tunnel::{Head, Part};
use anpx::{Fields, ResetCode, StreamError, session::End};
use bytes::Bytes;
use h2::{
    Reason,
    server::{Builder, SendResponse},
};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::{JoinHandle, spawn_local},
};

use super::{Call, Gateway, on_worker, texts};

const UNREACHABLE: StreamError = StreamError::Reset(ResetCode::UPSTREAM_UNREACHABLE);
const FAILED: StreamError = StreamError::Reset(ResetCode::UPSTREAM_FAILED);

/// An app that takes HTTP/2 connections.
struct App {
    listener: TcpListener,
}

/// One of its connections.
struct Peer {
    calls: mpsc::UnboundedReceiver<Asked>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// A request, as the app sees it.
struct Asked {
    request: Request<h2::RecvStream>,
    answer: SendResponse<Bytes>,
}

impl App {
    async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener }
    }

    fn url(&self) -> String {
        format!("h2c://{}", self.listener.local_addr().unwrap())
    }

    async fn accept(&self) -> Peer {
        self.accept_as(&mut Builder::new()).await
    }

    async fn accept_as(&self, builder: &mut Builder) -> Peer {
        let (io, _) = self.listener.accept().await.unwrap();
        let mut connection = builder.handshake(io).await.unwrap();
        let (sender, calls) = mpsc::unbounded_channel();
        let (stop, mut stopped) = oneshot::channel();
        let task = spawn_local(async move {
            let mut stopping = false;
            loop {
                tokio::select! {
                    told = &mut stopped, if !stopping => {
                        stopping = true;
                        if told.is_ok() {
                            connection.graceful_shutdown();
                        }
                    }
                    call = connection.accept() => match call {
                        Some(Ok((request, answer))) => {
                            let _ = sender.send(Asked { request, answer });
                        }
                        _ => break,
                    },
                }
            }
        });
        Peer {
            calls,
            stop: Some(stop),
            task,
        }
    }
}

impl Peer {
    async fn asked(&mut self) -> Asked {
        self.calls.recv().await.unwrap()
    }

    /// Takes no more requests.
    fn go_away(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// Ends with its socket.
    async fn die(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

impl Asked {
    /// The next bytes of the request; an empty frame may carry its end.
    async fn text(&mut self) -> Option<String> {
        loop {
            let data = self.request.body_mut().data().await?.unwrap();
            let taken = self.request.body_mut().flow_control();
            taken.release_capacity(data.len()).unwrap();
            if !data.is_empty() {
                return Some(String::from_utf8(data.to_vec()).unwrap());
            }
        }
    }

    fn respond(&mut self, end: bool) -> h2::SendStream<Bytes> {
        self.answer.send_response(Response::new(()), end).unwrap()
    }

    /// Answers with a body.
    fn ok(&mut self, body: &'static str) {
        self.respond(false).send_data(body.into(), true).unwrap();
    }

    /// Waits until the receiver gave the stream up.
    async fn reset(&mut self) -> Reason {
        poll_fn(|cx| self.answer.poll_reset(cx)).await.unwrap()
    }
}

fn trailers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(*name, HeaderValue::from_static(value));
    }
    map
}

fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(n, v): &(&str, &str)| ((*n).to_owned(), (*v).to_owned());
    fields.iter().map(owned).collect()
}

async fn head(call: &mut Call) -> (u16, End) {
    match call.head().await.unwrap() {
        Head::Final(head, end) => (head.status, end),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_unary_call_keeps_its_heads_and_trailers() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&format!("{}/base", app.url())]).await;
        let fields = [
            ("content-type", "application/grpc"),
            ("x-a", "1"),
            ("x-a", "2"),
        ];
        let mut call = gateway.call("POST", &fields, Some(("question", End::Yes)));
        let mut peer = app.accept().await;
        let mut asked = peer.asked().await;
        assert_eq!(asked.request.method(), Method::POST);
        let uri = asked.request.uri().to_string();
        assert_eq!(uri, "http://public.example/base/a%2Fb?q=%zz");
        let seen = asked.request.headers();
        let all: Vec<_> = seen.get_all("x-a").iter().collect();
        assert_eq!(all, ["1", "2"]);
        assert_eq!(seen["te"], "trailers");
        assert_eq!(asked.text().await.as_deref(), Some("question"));
        assert_eq!(asked.text().await, None);

        let response = Response::builder().status(200).header("set-cookie", "a=1");
        let response = response.header("set-cookie", "b=2").body(()).unwrap();
        let mut body = asked.answer.send_response(response, false).unwrap();
        body.send_data("answer".into(), false).unwrap();
        body.send_trailers(trailers(&[("grpc-status", "0")]))
            .unwrap();
        let answer = call.answer().await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "answer"));
        assert_eq!(
            answer.fields,
            pairs(&[("set-cookie", "a=1"), ("set-cookie", "b=2")])
        );
        assert_eq!(answer.trailers, pairs(&[("grpc-status", "0")]));
    });
}

#[test]
fn trailers_go_both_ways_without_a_body() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut call = gateway.call("POST", &[], Some(("", End::No)));
        let mut peer = app.accept().await;
        let mut asked = peer.asked().await;
        let sum = Fields::from_pairs([("x-sum", "42")]).unwrap();
        call.send.send_trailers(sum).unwrap();
        assert_eq!(asked.text().await, None);
        let seen = asked.request.body_mut().trailers().await.unwrap();
        assert_eq!(seen, Some(trailers(&[("x-sum", "42")])));
        // gRPC's trailers-only: a head and nothing else.
        asked.respond(true);
        assert_eq!(head(&mut call).await, (200, End::Yes));
    });
}

#[test]
fn messages_stream_both_ways_on_one_connection() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut peer = None;
        let mut under_way = Vec::new();
        for _ in 0..20 {
            let call = gateway.call("POST", &[], Some(("", End::No)));
            if peer.is_none() {
                peer = Some(app.accept().await);
            }
            let mut asked = peer.as_mut().unwrap().asked().await;
            let body = asked.respond(false);
            under_way.push((call, asked, body));
        }
        for (call, _, _) in &mut under_way {
            assert_eq!(head(call).await, (200, End::No));
        }
        for word in ["one", "two"] {
            for (call, asked, body) in &mut under_way {
                call.send(word, End::No).await.unwrap();
                assert_eq!(asked.text().await.as_deref(), Some(word));
                body.send_data(word.into(), false).unwrap();
                assert_eq!(call.text().await, word);
            }
        }
        for (mut call, mut asked, mut body) in under_way {
            call.send("", End::Yes).await.unwrap();
            assert_eq!(asked.text().await, None);
            body.send_data(Bytes::new(), true).unwrap();
            assert_eq!(call.drain().await, Ok(0));
        }
    });
}

#[test]
fn informational_heads_come_first() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut call = gateway.call("POST", &[("expect", "100-continue")], Some(("", End::No)));
        let mut peer = app.accept().await;
        let mut asked = peer.asked().await;
        for status in [100, 103] {
            let interim = Response::builder().status(status).header("link", "</a>");
            let interim = interim.body(()).unwrap();
            asked.answer.send_informational(interim).unwrap();
            match call.head().await.unwrap() {
                Head::Informational(head) => {
                    assert_eq!(
                        (head.status, head.headers.get("link")),
                        (status, Some(&b"</a>"[..]))
                    );
                }
                other => panic!("{other:?}"),
            }
        }
        call.send("body", End::Yes).await.unwrap();
        assert_eq!(asked.text().await.as_deref(), Some("body"));
        asked.ok("done");
        assert_eq!(call.answer().await.unwrap().body, "done");
    });
}

#[test]
fn a_caller_that_leaves_cancels_the_apps_stream() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let call = gateway.get();
        let mut peer = app.accept().await;
        let mut asked = peer.asked().await;
        drop(call);
        assert_eq!(asked.reset().await, Reason::CANCEL);
        // In the middle of both bodies. The connection is as it was.
        let mut call = gateway.call("POST", &[], Some(("half", End::No)));
        let mut asked = peer.asked().await;
        let mut body = asked.respond(false);
        assert_eq!(head(&mut call).await, (200, End::No));
        drop(call);
        let reason = poll_fn(|cx| body.poll_reset(cx)).await.unwrap();
        assert_eq!(reason, Reason::CANCEL);
        let mut call = gateway.get();
        peer.asked().await.ok("ok");
        assert_eq!(call.answer().await.unwrap().body, "ok");
    });
}

#[test]
fn a_stream_that_the_app_resets_is_broken_unless_it_is_whole() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut call = gateway.get();
        let mut peer = app.accept().await;
        peer.asked().await.answer.send_reset(Reason::INTERNAL_ERROR);
        assert_eq!(call.status().await, Err(FAILED));

        for reason in [Reason::INTERNAL_ERROR, Reason::NO_ERROR] {
            let mut call = gateway.get();
            let mut body = peer.asked().await.respond(false);
            body.send_data("half".into(), false).unwrap();
            assert_eq!(head(&mut call).await, (200, End::No));
            assert_eq!(call.text().await, "half");
            body.send_reset(reason);
            assert_eq!(call.drain().await, Err(FAILED));
        }
        // An answer without reading: NO_ERROR behind a whole response (RFC 9113 section 8.1).
        let mut call = gateway.call("POST", &[], Some(("half", End::No)));
        let mut asked = peer.asked().await;
        asked.ok("enough");
        assert_eq!(call.answer().await.unwrap().body, "enough");
        asked.answer.send_reset(Reason::NO_ERROR);
    });
}

#[test]
fn an_app_that_dies_breaks_its_streams_and_is_called_again() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut call = gateway.get();
        let mut thinking = gateway.call("POST", &[], Some(("x", End::Yes)));
        let mut peer = app.accept().await;
        let mut asked = peer.asked().await;
        let mut body = asked.respond(false);
        body.send_data("half".into(), false).unwrap();
        let other = peer.asked().await;
        assert_eq!(head(&mut call).await, (200, End::No));
        assert_eq!(call.text().await, "half");
        drop((asked, body, other));
        peer.die().await;
        assert_eq!(call.drain().await, Err(FAILED));
        assert_eq!(thinking.status().await, Err(FAILED));

        let mut call = gateway.get();
        let mut peer = app.accept().await;
        peer.asked().await.ok("ok");
        assert_eq!(call.answer().await.unwrap().body, "ok");
    });
}

#[test]
fn what_the_app_did_not_process_goes_out_once_more() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut call = gateway.call("POST", &[], Some(("body", End::Yes)));
        let mut peer = app.accept().await;
        peer.asked().await.answer.send_reset(Reason::REFUSED_STREAM);
        let mut asked = peer.asked().await;
        assert_eq!(asked.text().await.as_deref(), Some("body"));
        asked.ok("ok");
        assert_eq!(call.answer().await.unwrap().body, "ok");

        // Not a third time.
        let mut call = gateway.call("POST", &[], Some(("body", End::Yes)));
        for _ in 0..2 {
            peer.asked().await.answer.send_reset(Reason::REFUSED_STREAM);
        }
        assert_eq!(call.status().await, Err(FAILED));
        // Nor at all once more of the body was taken than came with the head.
        let mut call = gateway.call("POST", &[], Some(("first", End::No)));
        let mut asked = peer.asked().await;
        assert_eq!(asked.text().await.as_deref(), Some("first"));
        call.send("second", End::No).await.unwrap();
        assert_eq!(asked.text().await.as_deref(), Some("second"));
        asked.answer.send_reset(Reason::REFUSED_STREAM);
        assert_eq!(call.status().await, Err(FAILED));
    });
}

#[test]
fn an_app_that_goes_away_finishes_what_it_has() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut call = gateway.get();
        let mut peer = app.accept().await;
        let mut asked = peer.asked().await;
        let mut body = asked.respond(false);
        assert_eq!(head(&mut call).await, (200, End::No));
        peer.go_away();
        // Calls go to a new connection once the receiver has read the GOAWAY.
        let mut next = loop {
            let mut other = gateway.get();
            tokio::select! {
                next = app.accept() => {
                    let mut next: Peer = next;
                    next.asked().await.ok("new");
                    assert_eq!(other.answer().await.unwrap().body, "new");
                    break next;
                }
                asked = peer.asked() => {
                    let mut asked: Asked = asked;
                    asked.ok("old");
                    assert_eq!(other.answer().await.unwrap().body, "old");
                }
            }
        };
        body.send_data("finished".into(), true).unwrap();
        assert_eq!(call.text().await, "finished");
        assert_eq!(call.drain().await, Ok(0));
        let mut call = gateway.get();
        next.asked().await.ok("new");
        assert_eq!(call.answer().await.unwrap().body, "new");
    });
}

#[test]
fn streams_beyond_the_apps_limit_get_another_connection() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut builder = Builder::new();
        builder.max_concurrent_streams(1);
        let mut first = gateway.get();
        let mut one = app.accept_as(&mut builder).await;
        let mut held = one.asked().await;
        let mut second = gateway.get();
        let mut two = app.accept_as(&mut builder).await;
        two.asked().await.ok("two");
        assert_eq!(second.answer().await.unwrap().body, "two");
        held.ok("one");
        assert_eq!(first.answer().await.unwrap().body, "one");
    });
}

#[test]
fn what_speaks_no_http2_is_unreachable() {
    on_worker(async {
        let app = super::App::listen().await;
        let url = app.url().replace("http:", "h2c:");
        let gateway = Gateway::before(&[&url]).await;
        let mut call = gateway.get();
        let mut peer = app.accept().await;
        peer.until("PRI * HTTP/2.0\r\n\r\n").await;
        peer.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
            .await;
        assert_eq!(call.status().await, Err(UNREACHABLE));
        drop(app);
        assert_eq!(gateway.get().status().await, Err(UNREACHABLE));
    });
}

/// Sends `len` bytes as far as the receiver lets it; `sent` counts them.
async fn flood(mut body: h2::SendStream<Bytes>, len: usize, sent: Rc<Cell<usize>>) {
    while sent.get() < len {
        body.reserve_capacity(len - sent.get());
        let room = match poll_fn(|cx| body.poll_capacity(cx)).await {
            Some(room) => room.unwrap().min(len - sent.get()),
            None => panic!("the receiver gave the stream up"),
        };
        let last = sent.get() + room == len;
        body.send_data(vec![b'x'; room].into(), last).unwrap();
        sent.set(sent.get() + room);
    }
}

#[test]
fn a_slow_reader_holds_back_its_stream_and_no_other() {
    const LEN: usize = 4 << 20;
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut slow = gateway.get();
        let mut peer = app.accept().await;
        let body = peer.asked().await.respond(false);
        let sent = Rc::new(Cell::new(0));
        let flooding = spawn_local(flood(body, LEN, Rc::clone(&sent)));
        assert_eq!(head(&mut slow).await, (200, End::No));
        for _ in 0..100 {
            let mut quick = gateway.get();
            peer.asked().await.ok("ok");
            assert_eq!(quick.answer().await.unwrap().body, "ok");
        }
        // The windows of app and tunnel, and a frame on its way between them.
        assert!(sent.get() <= 3 * (64 << 10), "{}", sent.get());
        assert_eq!(slow.drain().await, Ok(LEN));
        flooding.await.unwrap();
    });
}

#[test]
fn a_slow_app_holds_back_its_caller() {
    const LEN: usize = 4 << 20;
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut call = gateway.call("POST", &[], Some(("", End::No)));
        let mut peer = app.accept().await;
        let mut asked = peer.asked().await;
        let sent = Rc::new(Cell::new(0));
        let count = Rc::clone(&sent);
        let sending = spawn_local(async move {
            while count.get() < LEN {
                let room = poll_fn(|cx| call.send.poll_capacity(cx)).await.unwrap();
                let room = room.min(LEN - count.get());
                let last = count.get() + room == LEN;
                let data = Bytes::from(vec![b'x'; room]);
                call.send.send_data(data, last.into()).unwrap();
                count.set(count.get() + room);
            }
            call
        });
        for _ in 0..100 {
            let mut quick = gateway.get();
            peer.asked().await.ok("ok");
            assert_eq!(quick.answer().await.unwrap().body, "ok");
        }
        // The windows of tunnel and app, what h2 holds for a stream, and two parts on their way.
        assert!(sent.get() <= 5 * (64 << 10), "{}", sent.get());
        let mut len = 0;
        while let Some(text) = asked.text().await {
            len += text.len();
        }
        assert_eq!(len, LEN);
        asked.ok("ok");
        assert_eq!(sending.await.unwrap().answer().await.unwrap().body, "ok");
    });
}

const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");

#[test]
fn a_websocket_is_an_extended_connect() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut builder = Builder::new();
        builder.enable_connect_protocol();
        let fields = [KEY, ("sec-websocket-version", "13")];
        let mut call = gateway.call_with("GET", &fields, None, Some("websocket"));
        let mut peer = app.accept_as(&mut builder).await;
        let mut asked = peer.asked().await;
        assert_eq!(asked.request.method(), Method::CONNECT);
        let protocol = asked.request.extensions().get::<h2::ext::Protocol>();
        assert_eq!(protocol.unwrap().as_str(), "websocket");
        assert_eq!(asked.request.uri(), "http://public.example/a%2Fb?q=%zz");
        assert!(!asked.request.headers().contains_key(KEY.0));
        assert_eq!(asked.request.headers()["sec-websocket-version"], "13");
        let mut body = asked.respond(false);
        match call.head().await.unwrap() {
            Head::Final(head, End::No) => {
                assert_eq!(head.status, 101);
                let accept = ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
                assert_eq!(texts(&head.headers), pairs(&[accept]));
            }
            other => panic!("{other:?}"),
        }
        body.send_data("hello".into(), false).unwrap();
        assert_eq!(call.text().await, "hello");
        // The app ends first; the other half goes on.
        body.send_data(Bytes::new(), true).unwrap();
        assert_eq!(call.drain().await, Ok(0));
        call.send("bye", End::No).await.unwrap();
        assert_eq!(asked.text().await.as_deref(), Some("bye"));
        call.send("", End::Yes).await.unwrap();
        assert_eq!(asked.text().await, None);

        // Aborts, from each side.
        let mut call = gateway.call_with("GET", &fields, None, Some("websocket"));
        let mut asked = peer.asked().await;
        let mut body = asked.respond(false);
        assert_eq!(call.status().await, Ok(101));
        drop(call);
        let reason = poll_fn(|cx| body.poll_reset(cx)).await.unwrap();
        assert_eq!(reason, Reason::CANCEL);
        let mut call = gateway.call_with("GET", &fields, None, Some("websocket"));
        let mut body = peer.asked().await.respond(false);
        assert_eq!(call.status().await, Ok(101));
        body.send_reset(Reason::CANCEL);
        assert!(matches!(call.part().await, Some(Err(FAILED))));
        // A refusal is an ordinary answer.
        let mut call = gateway.call_with("GET", &fields, None, Some("websocket"));
        let refusal = Response::builder().status(403).body(()).unwrap();
        let mut asked = peer.asked().await;
        let mut body = asked.answer.send_response(refusal, false).unwrap();
        body.send_data("no".into(), true).unwrap();
        let answer = call.answer().await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (403, "no"));
    });
}

#[test]
fn upgrades_that_http2_does_not_have_are_501() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        // The app's settings do not allow it.
        let mut call = gateway.call_with("GET", &[KEY], None, Some("websocket"));
        let peer = app.accept().await;
        assert_eq!(call.status().await, Ok(501));
        while let Some(part) = call.part().await {
            assert!(matches!(part, Ok(Part::Data(..))));
        }
        let mut call = gateway.call_with("GET", &[], None, Some("irc"));
        assert_eq!(call.status().await, Ok(501));
        drop(peer);
    });
}

/// A connection whose frames (RFC 9113 section 4.1) are read and written by hand.
struct Raw(super::Peer);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;

impl Raw {
    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let frame = [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat();
        self.0.io.write_all(&frame).await.unwrap();
    }

    /// The stream of the next frame of `kind`; settings and pings on the way are answered.
    async fn until(&mut self, kind: u8) -> u32 {
        loop {
            let mut head = [0; 9];
            self.read(&mut head).await;
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            self.read(&mut payload).await;
            match (head[3], head[4] & 1) {
                (SETTINGS, 0) => self.send(SETTINGS, 1, 0, b"").await,
                (PING, 0) => self.send(PING, 1, 0, &payload).await,
                _ => {}
            }
            if head[3] == kind {
                return u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            }
        }
    }

    async fn read(&mut self, into: &mut [u8]) {
        while self.0.read.len() < into.len() {
            let len = self.0.io.read_buf(&mut self.0.read).await.unwrap();
            assert_ne!(len, 0, "the receiver closed the connection");
        }
        into.copy_from_slice(&self.0.read.split_to(into.len()));
    }
}

#[test]
fn callers_that_leave_in_masses_do_not_end_the_connection() {
    const AT_ONCE: usize = 100;
    on_worker(async {
        let app = super::App::listen().await;
        let url = app.url().replace("http:", "h2c:");
        let gateway = Gateway::before(&[&url]).await;
        let mut calls = vec![gateway.get()];
        let mut peer = app.accept().await;
        peer.until("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        let mut peer = Raw(peer);
        peer.send(SETTINGS, 0, 0, b"").await;
        peer.until(HEADERS).await;
        for _ in 0..25 {
            drop(calls);
            let first = peer.until(RST_STREAM).await;
            calls = (0..AT_ONCE).map(|_| gateway.get()).collect();
            for _ in 0..AT_ONCE {
                assert!(peer.until(HEADERS).await > first);
            }
            let last = calls.pop().unwrap();
            drop(calls);
            let mut streams = Vec::new();
            for _ in 1..AT_ONCE {
                streams.push(peer.until(RST_STREAM).await);
            }
            for stream in streams {
                peer.send(DATA, 0, stream, b"late").await;
            }
            calls = vec![last];
        }
        drop(calls);
        peer.until(RST_STREAM).await;
        let mut call = gateway.get();
        let stream = peer.until(HEADERS).await;
        // END_STREAM and END_HEADERS, and `:status: 200` (RFC 7541 appendix A).
        peer.send(HEADERS, 5, stream, b"\x88").await;
        assert_eq!(call.status().await, Ok(200));
    });
}
