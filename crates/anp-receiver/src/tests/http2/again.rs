//! Requests with a body whose app ended the connection without having processed them.

use super::{
    raw::{DATA, HEADERS},
    *,
};

/// The payload of SETTINGS: INITIAL_WINDOW_SIZE of nothing, so that the app takes no body.
const NO_WINDOW: &[u8] = &[0, 4, 0, 0, 0, 0];
const REFUSED: StreamError = StreamError::Reset(ResetCode::REFUSED);

/// The whole body of a request, as the app got it.
async fn body(asked: &mut Asked) -> String {
    let mut body = String::new();
    while let Some(text) = asked.text().await {
        body.push_str(&text);
    }
    body
}

#[test]
fn a_body_that_was_not_taken_is_whole_at_the_next_connection() {
    // More than the tunnel's window holds, in parts that can be told from each other.
    let all: String = (0..30_000).map(|n| format!("{n:05} ")).collect();
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        // With a start of it that came with the head, and without.
        for with_head in [1000, 0] {
            let (start, rest) = all.split_at(with_head);
            let mut call = gateway.call("POST", &[], Some((start, End::No)));
            for _ in 0..4 {
                let mut raw = app.accept_raw(NO_WINDOW).await;
                raw.until(HEADERS).await;
                raw.go_away().await;
            }
            let mut peer = app.accept().await;
            let mut asked = peer.asked().await;
            let sending = call.send(rest.to_owned(), End::Yes);
            let (sent, got) = tokio::join!(sending, body(&mut asked));
            assert_eq!(sent, Ok(()));
            assert!(got == all, "{} of {} bytes", got.len(), all.len());
            asked.ok("ok");
            assert_eq!(call.answer().await.unwrap().body, "ok");
            peer.die().await;
        }
    });
}

#[test]
fn a_body_that_was_partly_taken_goes_to_no_other_connection() {
    on_worker(async {
        let (one, other) = (App::listen().await, App::listen().await);
        let gateway = Gateway::before(&[&one.url(), &other.url()]).await;
        let mut call = gateway.call("POST", &[], Some(("first", End::No)));
        let mut raw = one.accept_raw(b"").await;
        let (stream, data) = raw.frame(DATA).await;
        assert_eq!(data, b"first");
        call.send("second", End::No).await.unwrap();
        assert_eq!(raw.frame(DATA).await, (stream, b"second".to_vec()));
        raw.go_away().await;
        // The gateway may have all of it still.
        assert_eq!(call.status().await, Err(REFUSED));
        // What comes next at either app is another request.
        let mut calls = [gateway.get(), gateway.get()];
        for app in [&one, &other] {
            let mut asked = app.accept().await.asked().await;
            assert_eq!(asked.request.method(), Method::GET);
            asked.ok("ok");
        }
        for call in &mut calls {
            assert_eq!(call.answer().await.unwrap().body, "ok");
        }
    });
}

#[test]
fn another_app_gets_a_body_whole_or_not_at_all() {
    on_worker(async {
        let other = App::listen().await;
        // The start of the body that was taken with the head is the only one to be lost.
        for (start, is_sent_on) in [("", true), ("start ", false)] {
            let app = App::listen().await;
            let gateway = Gateway::before(&[&app.url(), &other.url()]).await;
            let mut call = gateway.call("POST", &[], Some((start, End::No)));
            let mut raw = app.accept_raw(NO_WINDOW).await;
            raw.until(HEADERS).await;
            // There is no next connection to it.
            drop(app);
            raw.go_away().await;
            if !is_sent_on {
                assert_eq!(call.status().await, Err(REFUSED));
                continue;
            }
            let mut asked = other.accept().await.asked().await;
            call.send("all of it", End::Yes).await.unwrap();
            assert_eq!(body(&mut asked).await, "all of it");
            asked.ok("ok");
            assert_eq!(call.answer().await.unwrap().body, "ok");
        }
    });
}
