//! Requests to a service in this process.

use std::{
    convert::Infallible,
    future::{Future, pending, poll_fn},
    sync::Arc,
    task::{Context, Poll},
};

use anp_tunnel::{Head, Part, Version};
use anpx::{ResetCode, StreamError, session::End};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Body as _;
use http_body_util::{
    BodyExt, Full,
    channel::{Channel, Sender},
    combinators::UnsyncBoxBody,
};
use tokio::sync::{Notify, mpsc, oneshot};
use tower_service::Service;

use super::{Gateway, on_worker};
use crate::{
    Body, Caller,
    app::{App, error::BoxError, service::maker},
    coding::Codings,
};

type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;
const WINDOW: usize = 64 << 10;
const INTERNAL: StreamError = StreamError::Reset(ResetCode::INTERNAL);

/// A tunnel to a receiver that calls `service`.
async fn before<F, R>(service: F) -> Gateway
where
    F: Fn(Request<Body>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<Answer, BoxError>> + 'static,
{
    on(Version::V2, service).await
}

async fn on<F, R>(version: Version, service: F) -> Gateway
where
    F: Fn(Request<Body>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<Answer, BoxError>> + 'static,
{
    let make = maker(move || Tower {
        service: service.clone(),
        asked: false,
    });
    let service = make(Codings::default(), Arc::default());
    Gateway::calling(App::Service(service), version).await
}

/// A function as a service that insists on being asked whether it is ready.
#[derive(Clone)]
struct Tower<F> {
    service: F,
    asked: bool,
}

impl<F, R> Service<Request<Body>> for Tower<F>
where
    F: Fn(Request<Body>) -> R,
    R: Future<Output = Result<Answer, BoxError>>,
{
    type Response = Answer;
    type Error = BoxError;
    type Future = R;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if std::mem::replace(&mut self.asked, true) {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn call(&mut self, request: Request<Body>) -> R {
        assert!(self.asked);
        (self.service)(request)
    }
}

fn text(text: impl Into<Bytes>) -> Result<Answer, BoxError> {
    Ok(Response::new(
        Full::new(text.into()).map_err(impossible).boxed_unsync(),
    ))
}

fn impossible(never: Infallible) -> BoxError {
    match never {}
}

/// A response whose body is sent by hand.
fn by_hand() -> (Sender<Bytes, BoxError>, Result<Answer, BoxError>) {
    let (sender, body) = Channel::new(1);
    (sender, Ok(Response::new(body.boxed_unsync())))
}

/// What lets a service go on, and what it waits for.
fn gate() -> (Arc<Notify>, Arc<Notify>) {
    let gate = Arc::new(Notify::new());
    (Arc::clone(&gate), gate)
}

/// Says when it is dropped.
struct Dropped(Option<oneshot::Sender<()>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        if let Some(sender) = self.0.take() {
            let _ = sender.send(());
        }
    }
}

fn field<'a>(answer: &'a super::Answer, name: &str) -> Option<&'a str> {
    let found = answer.fields.iter().find(|(n, _)| n == name);
    found.map(|(_, value)| &value[..])
}

#[test]
fn a_request_reaches_the_service_as_it_was_sent() {
    on_worker(async {
        let gateway = before(|request: Request<Body>| async move {
            let caller: &Caller = request.extensions().get().unwrap();
            let said = format!(
                "{} {} {:?} {:?} {} {} {}",
                request.method(),
                request.uri(),
                request.headers().get("host"),
                request.headers().get_all("x-a").iter().collect::<Vec<_>>(),
                caller.request_id(),
                caller.scheme(),
                request.body().is_end_stream(),
            );
            text(said)
        })
        .await;
        let fields = [("x-a", "1"), ("x-a", "2")];
        let answer = gateway.call("GET", &fields, None).answer().await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.body,
            "GET /a%2Fb?q=%zz Some(\"public.example\") [\"1\", \"2\"] \
             0f8fad5b-d9cb-469f-a165-70867728950e http true"
        );
        let length = answer.body.len().to_string();
        assert_eq!(field(&answer, "content-length"), Some(&length[..]));
    });
}

#[test]
fn bodies_and_trailers_stream_both_ways() {
    on_worker(async {
        let gateway = before(|request: Request<Body>| async move {
            let (mut sender, answer) = by_hand();
            tokio::spawn(async move {
                let mut body = request.into_body();
                while let Some(Ok(frame)) = body.frame().await {
                    sender.send(frame).await.unwrap();
                }
            });
            answer
        })
        .await;
        let mut call = gateway.call("POST", &[], Some(("one", End::No)));
        assert_eq!(call.status().await, Ok(200));
        assert_eq!(call.text().await, "one");
        call.send("two", End::No).await.unwrap();
        assert_eq!(call.text().await, "two");
        let trailers = anpx::Fields::from_pairs([("x-sum", "6")]).unwrap();
        call.send.send_trailers(trailers).unwrap();
        match call.part().await {
            Some(Ok(Part::Trailers(trailers))) => {
                assert_eq!(trailers.get("x-sum"), Some(&b"6"[..]));
            }
            other => panic!("{other:?}"),
        }
        assert!(call.part().await.is_none());
    });
}

#[test]
fn a_large_body_comes_whole_in_pieces_the_tunnel_takes() {
    on_worker(async {
        const SIZE: usize = 1 << 20;
        let gateway = before(|_| async { text(vec![b'x'; SIZE]) }).await;
        let mut call = gateway.get();
        assert_eq!(call.status().await, Ok(200));
        assert_eq!(call.drain().await, Ok(SIZE));
    });
}

#[test]
fn a_service_that_does_not_read_holds_its_caller_back() {
    on_worker(async {
        let (go, gate) = gate();
        let gateway = before(move |request: Request<Body>| {
            let gate = gate.clone();
            async move {
                if request.method() == "POST" {
                    gate.notified().await;
                }
                let body = request.into_body().collect().await?;
                text(body.to_bytes().len().to_string())
            }
        })
        .await;
        let length = [("content-length", "131072")];
        let mut call = gateway.call("POST", &length, Some(("", End::No)));
        call.send(vec![0; WINDOW], End::No).await.unwrap();
        // What the service would have granted had come before this answer.
        gateway.get().answer().await.unwrap();
        let held = poll_fn(|cx| Poll::Ready(call.send.poll_capacity(cx).is_pending())).await;
        assert!(held);
        go.notify_one();
        call.send(vec![0; WINDOW], End::Yes).await.unwrap();
        assert_eq!(call.answer().await.unwrap().body, "131072");
    });
}

#[test]
fn a_caller_that_waits_is_asked_when_the_body_is_first_polled() {
    on_worker(async {
        let (go, gate) = gate();
        let gateway = before(move |request: Request<Body>| {
            let gate = gate.clone();
            async move {
                if request.method() == "POST" {
                    gate.notified().await;
                }
                let body = request.into_body().collect().await?;
                text(body.to_bytes())
            }
        })
        .await;
        let fields = [("expect", "100-continue"), ("content-length", "4")];
        let mut call = gateway.call("POST", &fields, Some(("", End::No)));
        // What was said before the first poll had come before this answer.
        gateway.get().answer().await.unwrap();
        let silent = poll_fn(|cx| Poll::Ready(call.recv.poll_head(cx).is_pending())).await;
        assert!(silent);
        go.notify_one();
        match call.head().await {
            Ok(Head::Informational(head)) => assert_eq!(head.status, 100),
            other => panic!("{other:?}"),
        }
        call.send("body", End::Yes).await.unwrap();
        let answer = call.answer().await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, "body"));
    });
}

#[test]
fn the_head_goes_out_before_the_body_is_there_and_each_piece_at_once() {
    on_worker(async {
        let (senders, mut sent) = mpsc::channel(1);
        let gateway = before(move |_| {
            let senders = senders.clone();
            async move {
                let (sender, answer) = by_hand();
                senders.send(sender).await.unwrap();
                answer
            }
        })
        .await;
        let mut call = gateway.get();
        assert_eq!(call.status().await, Ok(200));
        let mut sender = sent.recv().await.unwrap();
        for token in ["one", "two"] {
            sender.send_data(Bytes::from(token)).await.unwrap();
            assert_eq!(call.text().await, token);
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        sender.send_trailers(trailers).await.unwrap();
        let rest = call.part().await;
        assert!(matches!(rest, Some(Ok(Part::Trailers(_)))), "{rest:?}");
    });
}

#[test]
fn a_caller_that_leaves_has_the_call_and_the_body_dropped() {
    on_worker(async {
        let (told, mut dropped) = mpsc::channel(2);
        let gateway = before(move |request: Request<Body>| {
            let told = told.clone();
            async move {
                let (sender, is_dropped) = oneshot::channel();
                told.send(is_dropped).await.unwrap();
                let guard = Dropped(Some(sender));
                if request.method() == "PUT" {
                    pending::<()>().await;
                }
                let body = StreamUntil(guard);
                Ok(Response::new(body.boxed_unsync()))
            }
        })
        .await;
        let call = gateway.call("PUT", &[], None);
        let is_dropped = dropped.recv().await.unwrap();
        drop(call);
        is_dropped.await.unwrap();

        let mut call = gateway.get();
        assert_eq!(call.status().await, Ok(200));
        let is_dropped = dropped.recv().await.unwrap();
        drop(call);
        is_dropped.await.unwrap();
    });
}

/// A body that never goes on.
struct StreamUntil(#[expect(dead_code, reason = "held for its drop")] Dropped);

impl http_body::Body for StreamUntil {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
        Poll::Pending
    }
}

#[test]
fn a_service_that_fails_or_panics_answers_500_and_the_tunnel_lives() {
    on_worker(async {
        let gateway = before(|request: Request<Body>| async move {
            match request.method().as_str() {
                "PUT" => panic!("on purpose"),
                "DELETE" => Err("no".into()),
                _ => text("well"),
            }
        })
        .await;
        for (method, status) in [("PUT", 500), ("DELETE", 500), ("GET", 200)] {
            let answer = gateway.call(method, &[], None).answer().await.unwrap();
            assert_eq!(answer.status, status, "{method}");
            assert!(!answer.body.contains("purpose"));
        }
    });
}

#[test]
fn a_body_that_breaks_off_is_never_a_whole_one() {
    on_worker(async {
        let (senders, mut sent) = mpsc::channel(1);
        let gateway = before(move |request: Request<Body>| {
            let senders = senders.clone();
            async move {
                let (sender, answer) = by_hand();
                senders.send(sender).await.unwrap();
                match request.method() == "PUT" {
                    true => {
                        let body = answer?.into_body().map_err(|_| panic!("on purpose"));
                        Ok(Response::new(body.boxed_unsync()))
                    }
                    false => answer,
                }
            }
        })
        .await;
        for method in ["GET", "PUT"] {
            let mut call = gateway.call(method, &[], None);
            assert_eq!(call.status().await, Ok(200));
            let sender: Sender<Bytes, BoxError> = sent.recv().await.unwrap();
            sender.abort("torn".into());
            assert_eq!(call.drain().await, Err(INTERNAL), "{method}");
        }
    });
}

#[test]
fn responses_without_a_body_have_none_whatever_the_service_made() {
    on_worker(async {
        let gateway = before(|request: Request<Body>| async move {
            let mut answer = text("body")?;
            let status = request.headers().get("x-status").unwrap();
            *answer.status_mut() = status.to_str()?.parse()?;
            Ok(answer)
        })
        .await;
        for (method, status, length) in [
            ("HEAD", "200", Some("4")),
            ("GET", "204", None),
            ("GET", "304", None),
            ("GET", "200", Some("4")),
        ] {
            let fields = [("x-status", status)];
            let mut call = gateway.call(method, &fields, None);
            let answer = call.answer().await.unwrap();
            assert_eq!(answer.status.to_string(), status);
            assert_eq!(
                field(&answer, "content-length"),
                length,
                "{method} {status}"
            );
            let body = (method, status) == ("GET", "200");
            assert_eq!(answer.body, if body { "body" } else { "" });
        }
        // 101 to a request that asked for no upgrade is no response.
        let fields = [("x-status", "101")];
        let failed = gateway.call("GET", &fields, None).answer().await;
        assert_eq!(failed, Err(StreamError::Reset(ResetCode::UPSTREAM_FAILED)));
    });
}

#[test]
fn a_body_that_is_reset_is_an_error_to_the_service() {
    on_worker(async {
        let (told, mut telling) = mpsc::channel(1);
        let gateway = before(move |request: Request<Body>| {
            let told = told.clone();
            async move {
                tokio::spawn(async move {
                    told.send("begun".to_owned()).await.unwrap();
                    let ended = request.into_body().collect().await;
                    told.send(ended.unwrap_err().to_string()).await.unwrap();
                });
                pending().await
            }
        })
        .await;
        let mut call = gateway.call("POST", &[], Some(("some", End::No)));
        assert_eq!(telling.recv().await.unwrap(), "begun");
        call.send.reset(ResetCode::CANCELLED);
        let error = telling.recv().await.unwrap();
        assert!(error.contains("broke off"), "{error}");
    });
}

#[test]
fn version_1_calls_services_too() {
    on_worker(async {
        let gateway = on(Version::V1, |request: Request<Body>| async move {
            let body = request.into_body().collect().await?;
            text(body.to_bytes())
        })
        .await;
        let mut call = gateway.call(
            "POST",
            &[("content-length", "5")],
            Some(("whole", End::Yes)),
        );
        let answer = call.answer().await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, "whole"));
    });
}

/// What the types of the `http` crate cannot express.
#[test]
fn a_target_that_is_no_uri_is_400() {
    on_worker(async {
        let gateway = before(|_| async { text("never") }).await;
        let mut call = gateway.call_to("/a#b");
        assert_eq!(call.status().await, Ok(400));
    });
}
