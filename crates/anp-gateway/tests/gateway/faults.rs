//! What breaks breaks visibly: no message is completed that was not whole.

use std::{future::poll_fn, net::Shutdown};

use anp_gateway::Config;
use anp_tunnel::units::Span;
use anpx::{ResetCode, StreamError, session::End};
use bytes::Bytes;

use crate::support::{answer, body, config, head, send, soon, start};

const CANCELLED: StreamError = StreamError::Reset(ResetCode::CANCELLED);

#[tokio::test]
async fn a_caller_that_leaves_while_it_waits_cancels() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller.get("/").await;
    let mut request = receiver.accept().await;
    drop(caller);
    let error = soon(poll_fn(|cx| request.response.poll_error(cx))).await;
    assert_eq!(error, CANCELLED);
}

#[tokio::test]
async fn a_caller_that_leaves_behind_bytes_nobody_takes_cancels() {
    let next = "GET /next HTTP/1.1\r\nhost: h\r\n\r\n";
    // More than is taken on the way to an app that reads none of it, and less than would keep the end back.
    let body = "x".repeat(160 << 10);
    let upload = format!("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000\r\n\r\n{body}");
    for (sent, resets) in [
        (format!("GET / HTTP/1.1\r\nhost: h\r\n\r\n{next}"), true),
        (format!("GET / HTTP/1.1\r\nhost: h\r\n\r\n{next}"), false),
        (upload.clone(), true),
        (upload, false),
    ] {
        let gateway = start(config()).await;
        let receiver = gateway.receiver().await;
        let mut caller = gateway.caller().await;
        caller.send(sent).await;
        let mut request = receiver.accept().await;
        match resets {
            true => caller.reset(),
            false => drop(caller),
        }
        let gone = soon(poll_fn(|cx| request.response.poll_error(cx))).await;
        assert_eq!(gone, CANCELLED);
    }
}

#[tokio::test]
async fn a_caller_that_leaves_a_download_cancels() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller.get("/").await;
    let mut request = receiver.accept().await;
    let first = Bytes::from_static(b"first");
    request
        .response
        .respond(&head(200, &[]), first, End::No)
        .unwrap();
    caller.until("first").await;
    drop(caller);
    let error = soon(poll_fn(|cx| request.response.poll_error(cx))).await;
    assert_eq!(error, CANCELLED);
}

#[tokio::test]
async fn a_caller_that_leaves_an_upload_cancels() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    for answered in [false, true] {
        let mut caller = gateway.caller().await;
        caller
            .send("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1000\r\n\r\npart")
            .await;
        let mut request = receiver.accept().await;
        if answered {
            request
                .response
                .respond(&head(200, &[]), Bytes::new(), End::No)
                .unwrap();
            caller.head().await;
        }
        drop(caller);
        assert_eq!(body(&mut request.body).await.unwrap_err(), CANCELLED);
    }
}

#[tokio::test]
async fn a_broken_upload_is_400() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller
        .send("POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        .await;
    let mut request = receiver.accept().await;
    caller.send("XYZ\r\n").await;
    assert_eq!(body(&mut request.body).await.unwrap_err(), CANCELLED);
    let response = caller.rest().await;
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
}

#[tokio::test]
async fn a_receiver_killed_before_the_head_is_502() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller
        .send("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nok")
        .await;
    let mut request = receiver.accept().await;
    body(&mut request.body).await.unwrap();
    receiver.kill().await;
    let response = caller.head().await;
    assert!(response.starts_with("HTTP/1.1 502 "), "{response}");
}

#[tokio::test]
async fn a_receiver_killed_in_the_body_breaks_the_message() {
    let gateway = start(config()).await;
    for (fields, end) in [
        (&[][..], "first\r\n"),
        (&[("content-length", "9")][..], "first"),
    ] {
        let receiver = gateway.receiver().await;
        let mut caller = gateway.caller().await;
        caller.get("/").await;
        let mut request = receiver.accept().await;
        let first = Bytes::from_static(b"first");
        request
            .response
            .respond(&head(200, fields), first, End::No)
            .unwrap();
        caller.until(end).await;
        receiver.kill().await;
        // The connection ends, and nothing that would look like the message's end came.
        assert_eq!(caller.rest().await, "");
    }
}

#[tokio::test]
async fn a_message_without_a_length_breaks_with_a_reset() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller.send("GET / HTTP/1.0\r\nhost: h\r\n\r\n").await;
    let mut request = receiver.accept().await;
    let first = Bytes::from_static(b"first");
    request
        .response
        .respond(&head(200, &[]), first, End::No)
        .unwrap();
    caller.until("first").await;
    request.response.reset(ResetCode::UPSTREAM_FAILED);
    // A plain end would be the end of a whole message.
    assert!(caller.is_reset().await);
}

#[tokio::test]
async fn a_reset_has_its_status() {
    let gateway = start(config()).await;
    let receivers = [gateway.receiver().await, gateway.receiver().await];
    for (code, status) in [
        (ResetCode::UPSTREAM_FAILED, 502),
        (ResetCode::TIMEOUT, 504),
        (ResetCode::TOO_LARGE, 413),
        (ResetCode::INTERNAL, 502),
        (ResetCode::CANCELLED, 502),
        (ResetCode::NO_ERROR, 502),
        (ResetCode::PROTOCOL, 502),
        (ResetCode(77), 502),
    ] {
        let mut caller = gateway.caller().await;
        // Idempotent, but an app may have acted: it is sent to one receiver alone.
        caller.get("/").await;
        let [first, second] = &receivers;
        let mut request = tokio::select! {
            request = first.accept() => request,
            request = second.accept() => request,
        };
        request.response.reset(code);
        let response = caller.head().await;
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status} ")),
            "{code} {response}"
        );
    }
}

#[tokio::test]
async fn a_length_that_lies_is_not_completed() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    // Named, but nothing follows.
    let mut caller = gateway.caller().await;
    caller.get("/").await;
    let mut request = receiver.accept().await;
    let lies = head(200, &[("content-length", "9")]);
    let _ = request.response.respond(&lies, Bytes::new(), End::Yes);
    drop(request);
    let response = caller.head().await;
    assert!(response.starts_with("HTTP/1.1 502 "), "{response}");
    // Twice, differently.
    let mut caller = gateway.caller().await;
    caller.get("/").await;
    let mut request = receiver.accept().await;
    let lies = head(200, &[("content-length", "1"), ("content-length", "2")]);
    let _ = request.response.respond(&lies, Bytes::new(), End::No);
    let response = caller.head().await;
    assert!(response.starts_with("HTTP/1.1 502 "), "{response}");
}

#[tokio::test]
async fn silent_and_slow_callers_are_closed() {
    let gateway = start(Config {
        head_timeout: Span::from_millis(50),
        keep_alive_timeout: Span::from_millis(50),
        ..config()
    })
    .await;
    let receiver = gateway.receiver().await;
    // Says nothing; begins and stops; is done and stays.
    assert_eq!(gateway.caller().await.rest().await, "");
    let mut caller = gateway.caller().await;
    caller.send("GET / HT").await;
    assert_eq!(caller.rest().await, "");
    let mut caller = gateway.caller().await;
    caller.get("/").await;
    answer(&mut receiver.accept().await, 200, "ok");
    assert!(caller.rest().await.ends_with("ok"));
}

#[tokio::test]
async fn a_body_that_stands_still_is_given_up() {
    let gateway = start(Config {
        idle_timeout: Span::from_millis(50),
        response_timeout: Span::from_millis(50),
        ..config()
    })
    .await;
    let receiver = gateway.receiver().await;
    // The response.
    let mut caller = gateway.caller().await;
    caller.get("/").await;
    let mut request = receiver.accept().await;
    let first = Bytes::from_static(b"first");
    request
        .response
        .respond(&head(200, &[]), first, End::No)
        .unwrap();
    let response = caller.rest().await;
    assert!(response.ends_with("first\r\n"), "{response}");
    let error = soon(poll_fn(|cx| request.response.poll_error(cx))).await;
    assert_eq!(error, CANCELLED);
    // The request: the caller is the one who is late.
    let mut caller = gateway.caller().await;
    caller
        .send("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\nx")
        .await;
    let mut request = receiver.accept().await;
    let response = caller.rest().await;
    assert!(response.starts_with("HTTP/1.1 408 "), "{response}");
    assert_eq!(body(&mut request.body).await.unwrap_err(), CANCELLED);
}

#[tokio::test]
async fn a_half_closed_caller_has_left() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller.get("/").await;
    let mut request = receiver.accept().await;
    let socket = caller.socket.into_std().unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    let error = soon(poll_fn(|cx| request.response.poll_error(cx))).await;
    assert_eq!(error, CANCELLED);
    assert!(
        send(&mut request, Bytes::from_static(b"x"), End::Yes)
            .await
            .is_err()
    );
}
