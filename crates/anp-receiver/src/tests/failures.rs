//! Apps that misbehave and callers that leave.

use std::future::poll_fn;

use anpx::{ResetCode, StreamError, session::End};
use bytes::Bytes;
use tokio::io::AsyncWriteExt;

use super::{App, Gateway, on_worker};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const UNREACHABLE: StreamError = StreamError::Reset(ResetCode::UPSTREAM_UNREACHABLE);
const FAILED: StreamError = StreamError::Reset(ResetCode::UPSTREAM_FAILED);

#[test]
fn an_app_that_refuses_is_unreachable_unless_another_takes_the_request() {
    on_worker(async {
        let [absent, present] = [App::listen().await, App::listen().await];
        let absent_url = absent.url();
        drop(absent);
        let gateway = Gateway::before(&[&absent_url]).await;
        assert_eq!(gateway.get().status().await, Err(UNREACHABLE));

        let gateway = Gateway::before(&[&absent_url, &present.url()]).await;
        let mut call = gateway.call("POST", &[], Some(("body", End::Yes)));
        let mut peer = present.accept().await;
        peer.until("body").await;
        peer.send(OK).await;
        assert_eq!(call.answer().await.unwrap().body, "ok");
    });
}

#[test]
fn an_app_that_dies_before_or_in_its_head_fails_the_request() {
    on_worker(async {
        for sent in ["", "HTTP/1.1 200 O", "HTTP/1.1 200 OK\r\na: b\r\n"] {
            for by_reset in [false, true] {
                let app = App::listen().await;
                let gateway = Gateway::before(&[&app.url()]).await;
                let mut call = gateway.get();
                let mut peer = app.accept().await;
                peer.head().await;
                peer.send(sent).await;
                match by_reset {
                    true => peer.reset(),
                    false => drop(peer),
                }
                assert_eq!(call.status().await, Err(FAILED), "{sent:?}");
            }
        }
    });
}

#[test]
fn an_app_that_dies_in_its_body_breaks_the_message() {
    on_worker(async {
        for (head, body) in [
            ("content-length: 10", "half"),
            ("transfer-encoding: chunked", "4\r\nhalf\r\n"),
            ("transfer-encoding: chunked", "4\r\nhalf\r\nnot a size\r\n"),
        ] {
            let app = App::listen().await;
            let gateway = Gateway::before(&[&app.url()]).await;
            let mut call = gateway.get();
            let mut peer = app.accept().await;
            peer.head().await;
            peer.send(&format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n"))
                .await;
            assert_eq!(call.status().await, Ok(200));
            peer.send(body).await;
            drop(peer);
            assert_eq!(call.drain().await, Err(FAILED), "{head}");
        }
    });
}

#[test]
fn a_reset_never_passes_for_the_end_of_a_body() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut call = gateway.get();
        let mut peer = app.accept().await;
        peer.head().await;
        peer.send("HTTP/1.1 200 OK\r\n\r\nsome").await;
        assert_eq!(call.status().await, Ok(200));
        assert_eq!(call.text().await, "some");
        peer.reset();
        assert_eq!(call.drain().await, Err(FAILED));
    });
}

#[test]
fn nonsense_fails_the_request() {
    on_worker(async {
        for (response, code) in [
            (
                "SSH-2.0-OpenSSH_9.6\r\n\r\n".to_owned(),
                ResetCode::UPSTREAM_FAILED,
            ),
            (
                "HTTP/1.1 101 Switching Protocols\r\n\r\n".to_owned(),
                ResetCode::UPSTREAM_FAILED,
            ),
            (
                format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(300)),
                ResetCode::TOO_LARGE,
            ),
        ] {
            let app = App::listen().await;
            let gateway = Gateway::before(&[&app.url()]).await;
            let mut call = gateway.get();
            let mut peer = app.accept().await;
            peer.head().await;
            peer.send(&response).await;
            assert_eq!(call.status().await, Err(StreamError::Reset(code)));
            peer.gone().await;
        }
    });
}

#[test]
fn a_caller_that_leaves_ends_the_apps_call() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        // While the app thinks.
        let call = gateway.get();
        let mut peer = app.accept().await;
        peer.head().await;
        drop(call);
        peer.gone().await;
        // In the middle of the upload.
        let call = gateway.call("POST", &[], Some(("half", End::No)));
        let mut peer = app.accept().await;
        peer.until("half").await;
        drop(call);
        peer.gone().await;
        // In the middle of the response, with the app's socket full.
        let mut call = gateway.get();
        let mut peer = app.accept().await;
        peer.head().await;
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        assert_eq!(call.status().await, Ok(200));
        drop(call);
        peer.gone().await;
        while gateway.tunnel.open_streams() > 0 {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn an_app_may_answer_and_close_without_reading() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut call = gateway.call("POST", &[], Some(("first", End::No)));
        let mut peer = app.accept().await;
        peer.until("first").await;
        peer.send("HTTP/1.1 413 Content Too Large\r\ncontent-length: 6\r\n\r\nlarge\n")
            .await;
        drop(peer);
        // The upload goes on until the answer is there, whatever becomes of it.
        let upload = Bytes::from(vec![0; 16 << 10]);
        while call.send(upload.clone(), End::No).await.is_ok() {}
        let answer = call.answer().await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (413, "large\n"));
    });
}

#[test]
fn an_early_answer_does_not_stop_the_upload() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut call = gateway.call("POST", &[], Some(("a", End::No)));
        let mut peer = app.accept().await;
        peer.until("1\r\na\r\n").await;
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nA\r\n")
            .await;
        assert_eq!(call.status().await, Ok(200));
        assert_eq!(call.text().await, "A");
        call.send("b", End::No).await.unwrap();
        peer.until("1\r\nb\r\n").await;
        peer.send("1\r\nB\r\n").await;
        assert_eq!(call.text().await, "B");
        call.send("", End::Yes).await.unwrap();
        peer.until("0\r\n\r\n").await;
        peer.send("0\r\n\r\n").await;
        assert!(call.part().await.is_none());
        // Both halves ended, so the connection serves another.
        let mut call = gateway.get();
        peer.head().await;
        peer.send(OK).await;
        assert_eq!(call.answer().await.unwrap().body, "ok");
    });
}

#[test]
fn a_whole_answer_does_not_stop_the_upload() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let length = [("content-length", "3")];
        for (fields, parts) in [
            (&[][..], ["1\r\na\r\n", "1\r\nb\r\n", "1\r\nc\r\n0\r\n\r\n"]),
            (&length, ["a", "b", "c"]),
        ] {
            let mut call = gateway.call("POST", fields, Some(("a", End::No)));
            let mut peer = app.accept().await;
            peer.head().await;
            peer.until(parts[0]).await;
            peer.send(OK).await;
            // The answer does not wait for the rest.
            assert_eq!(call.answer().await.unwrap().body, "ok");
            call.send("b", End::No).await.unwrap();
            peer.until(parts[1]).await;
            assert_eq!(gateway.tunnel.open_streams(), 1);
            call.send("c", End::Yes).await.unwrap();
            peer.until(parts[2]).await;
            drop(call);
            // Both are whole, so the connection serves another.
            let mut call = gateway.get();
            peer.head().await;
            peer.send(&OK.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n"))
                .await;
            assert_eq!(call.answer().await.unwrap().body, "ok");
            peer.gone().await;
        }
    });
}

#[test]
fn an_upload_behind_a_whole_answer_ends_with_its_app_or_its_caller() {
    let closing = OK.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let refused = StreamError::Reset(ResetCode::NO_ERROR);
        let answered = async || {
            let mut call = gateway.call("POST", &[], Some(("a", End::No)));
            let mut peer = app.accept().await;
            peer.until("1\r\na\r\n").await;
            peer.send(&closing).await;
            assert_eq!(call.answer().await.unwrap().body, "ok");
            (call, peer)
        };
        for ends in ["the app", "its side", "its word", "the caller"] {
            let (mut call, mut peer) = answered().await;
            call.send("b", End::No).await.unwrap();
            peer.until("1\r\nb\r\n").await;
            match ends {
                "the app" => drop(peer),
                "its side" => peer.io.shutdown().await.unwrap(),
                "its word" => peer.send("HTTP/1.1 408 Request Timeout\r\n\r\n").await,
                _ => {
                    drop(call);
                    peer.gone().await;
                    continue;
                }
            }
            let error = poll_fn(|cx| call.send.poll_error(cx)).await;
            assert_eq!(error, refused, "{ends}");
        }
        // One that takes all of it is closed where the app said so.
        let (mut call, mut peer) = answered().await;
        call.send("b", End::Yes).await.unwrap();
        peer.until("1\r\nb\r\n0\r\n\r\n").await;
        peer.gone().await;
    });
}

#[test]
fn a_request_goes_out_again_only_where_that_is_safe() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        // A first exchange leaves a kept connection; the app reads the next request and closes.
        for (method, repeated) in [("GET", true), ("POST", false)] {
            let mut call = gateway.get();
            let mut peer = app.accept().await;
            peer.head().await;
            peer.send(OK).await;
            assert_eq!(call.answer().await.unwrap().body, "ok");
            let mut call = gateway.call(method, &[], None);
            peer.head().await;
            drop(peer);
            match repeated {
                true => {
                    let mut fresh = app.accept().await;
                    fresh.head().await;
                    fresh.send("HTTP/1.0 200 OK\r\n\r\n").await;
                    drop(fresh);
                    assert_eq!(call.status().await, Ok(200));
                }
                false => assert_eq!(call.status().await, Err(FAILED)),
            }
        }
    });
}

#[test]
fn what_an_app_sends_unasked_ends_its_connection() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut call = gateway.get();
        let mut peer = app.accept().await;
        peer.head().await;
        peer.send(&format!(
            "{OK}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"
        ))
        .await;
        assert_eq!(call.answer().await.unwrap().body, "ok");
        peer.gone().await;
        let mut call = gateway.get();
        let mut peer = app.accept().await;
        peer.head().await;
        peer.send(OK).await;
        assert_eq!(call.answer().await.unwrap().body, "ok");
    });
}
