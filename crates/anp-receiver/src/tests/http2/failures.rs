//! Apps that refuse, reset and die, and callers that leave.

use super::*;

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
        let error = poll_fn(|cx| call.send.poll_error(cx)).await;
        assert_eq!(error, StreamError::Reset(ResetCode::NO_ERROR));
    });
}

#[test]
fn a_whole_answer_does_not_stop_the_upload() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut call = gateway.call("POST", &[], Some(("a", End::No)));
        let mut peer = app.accept().await;
        let mut asked = peer.asked().await;
        assert_eq!(asked.text().await.as_deref(), Some("a"));
        asked.ok("ok");
        // The answer does not wait for the rest.
        assert_eq!(call.answer().await.unwrap().body, "ok");
        call.send("b", End::No).await.unwrap();
        assert_eq!(asked.text().await.as_deref(), Some("b"));
        call.send("c", End::Yes).await.unwrap();
        assert_eq!(asked.text().await.as_deref(), Some("c"));
        assert_eq!(asked.text().await, None);

        // Until its caller leaves.
        let mut call = gateway.call("POST", &[], Some(("a", End::No)));
        let mut asked = peer.asked().await;
        asked.ok("ok");
        assert_eq!(call.answer().await.unwrap().body, "ok");
        drop(call);
        assert_eq!(asked.reset().await, Reason::CANCEL);
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
fn what_the_app_did_not_process_goes_out_again() {
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

        // Not for ever: then another may take it.
        let mut call = gateway.call("POST", &[], Some(("body", End::Yes)));
        for _ in 0..5 {
            peer.asked().await.answer.send_reset(Reason::REFUSED_STREAM);
        }
        let refused = StreamError::Reset(ResetCode::REFUSED);
        assert_eq!(call.status().await, Err(refused));
        // Nor from here once more of the body was taken than came with the head.
        let mut call = gateway.call("POST", &[], Some(("first", End::No)));
        let mut asked = peer.asked().await;
        assert_eq!(asked.text().await.as_deref(), Some("first"));
        call.send("second", End::No).await.unwrap();
        assert_eq!(asked.text().await.as_deref(), Some("second"));
        asked.answer.send_reset(Reason::REFUSED_STREAM);
        assert_eq!(call.status().await, Err(refused));
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
