//! Apps that fail (row 33 of the threats).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use anp_receiver::Proxies;
use anp_testkit::{
    App, BodyEnd, Caller, Rig, RunningGateway, RunningReceiver,
    rig::{gateway_config, receiver_config},
    soon,
};
use tokio::sync::mpsc;

#[tokio::test]
async fn an_app_that_refuses_is_502() {
    let app = App::refusing();
    let rig = Rig::start(&app).await;
    let mut caller = rig.caller().await;
    caller.get("/").await;
    let (head, _) = soon(caller.response()).await;
    assert_eq!(head.status, 502);
    assert_eq!(
        head.header("content-type"),
        Some("application/problem+json")
    );
}

#[tokio::test]
async fn an_app_that_gives_no_sound_head_is_502() {
    let answers = [
        "",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "SSH-2.0-OpenSSH_9\r\n\r\n",
        "HTTP/1.1 999999 What\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    ];
    for answer in answers {
        // A POST, since a request that may not be repeated must not be.
        let (app, mut calls) = App::by_hand().await;
        let rig = Rig::start(&app).await;
        let mut caller = rig.caller().await;
        caller
            .send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n")
            .await;
        let mut call = soon(calls.recv()).await.unwrap();
        soon(call.head()).await.unwrap();
        call.send(answer).await;
        call.abort();
        assert_eq!(soon(caller.response()).await.0.status, 502, "{answer:?}");
        assert!(calls.try_recv().is_err(), "the POST was sent twice");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_never_whole() {
    for framing in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let (app, mut calls) = App::by_hand().await;
        let rig = Rig::start(&app).await;
        let mut caller = rig.caller().await;
        caller.get("/").await;
        let mut call = soon(calls.recv()).await.unwrap();
        soon(call.head()).await.unwrap();
        let sized = framing.starts_with("Content");
        let part = if sized { "part" } else { "4\r\npart\r\n" };
        call.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{part}"))
            .await;
        assert_eq!(soon(caller.head()).await.status, 200);
        drop(call);
        let (body, end) = if sized {
            soon(caller.sized(10)).await
        } else {
            soon(caller.chunks()).await
        };
        assert_eq!(end, BodyEnd::Broken, "{framing}");
        assert!(b"part".starts_with(&body[..]), "{framing}");
    }
}

#[tokio::test]
async fn one_that_fails_leaves_the_tunnel_as_it_was() {
    let (app, mut calls) = App::by_hand().await;
    let rig = Rig::start(&app).await;
    let mut unharmed = rig.caller().await;
    unharmed.get("/unharmed").await;
    let mut waiting = soon(calls.recv()).await.unwrap();
    soon(waiting.head()).await.unwrap();
    let mut caller = rig.caller().await;
    caller.get("/fails").await;
    let mut call = soon(calls.recv()).await.unwrap();
    soon(call.head()).await.unwrap();
    call.abort();
    assert_eq!(soon(caller.response()).await.0.status, 502);
    waiting.answer("fine").await;
    assert_eq!(soon(unharmed.response()).await.1, b"fine");
}

#[tokio::test]
async fn what_one_app_read_goes_to_no_other() {
    let (first, mut calls) = App::by_hand().await;
    let (second, mut others) = App::by_hand().await;
    let gateway = RunningGateway::start(gateway_config()).await;
    let mut config = receiver_config(&format!("ws://{}", gateway.tunnel()), &first.url());
    config.to.push(second.url().parse().unwrap());
    let mut receiver = RunningReceiver::start_with(config, Proxies::none());
    soon(receiver.ready()).await;
    let mut caller = soon(Caller::connect(gateway.public())).await;
    caller.get("/").await;
    let mut kept = soon(calls.recv()).await.unwrap();
    soon(kept.head()).await.unwrap();
    kept.answer("kept").await;
    assert_eq!(soon(caller.response()).await.1, b"kept");
    // Apps take turns.
    caller.get("/").await;
    let mut other = soon(others.recv()).await.unwrap();
    soon(other.head()).await.unwrap();
    other.answer("other").await;
    assert_eq!(soon(caller.response()).await.1, b"other");
    // The app closes the connection that it kept. Such a request is sent again, as it is idempotent and
    // has no body; but the app is gone.
    caller.get("/").await;
    soon(kept.head()).await.unwrap();
    first.stop().await;
    kept.abort();
    let refused = soon(caller.response());
    let sent_on = soon(other.head());
    tokio::select! {
        refused = refused => assert_eq!(refused.0.status, 502),
        sent_on = sent_on => panic!("it went to another app: {sent_on:?}"),
    }
    assert!(others.try_recv().is_err(), "it went to another app");
    drop(other);
}

#[tokio::test]
async fn a_body_that_an_http2_app_took_and_refused_is_sent_again() {
    let (called, mut calls) = mpsc::unbounded_channel();
    let tries = Arc::new(AtomicUsize::new(0));
    let app = App::http2(move |request, mut answer| {
        let (called, tries) = (called.clone(), Arc::clone(&tries));
        async move {
            called.send(()).unwrap();
            let (mut body, mut whole) = (request.into_body(), Vec::new());
            while let Some(data) = body.data().await {
                let data = data.unwrap();
                body.flow_control().release_capacity(data.len()).unwrap();
                whole.extend_from_slice(&data);
            }
            if tries.fetch_add(1, Relaxed) == 0 {
                return answer.send_reset(h2::Reason::REFUSED_STREAM);
            }
            let head = http::Response::new(());
            let mut answer = answer.send_response(head, false).unwrap();
            answer.send_data(whole.into(), true).unwrap();
        }
    });
    let app = app.await;
    let rig = Rig::start(&app).await;
    let mut caller = rig.caller().await;
    caller
        .send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\n")
        .await;
    // So that the body does not come with its head.
    soon(calls.recv()).await.unwrap();
    caller.send("body").await;
    assert_eq!(soon(caller.head()).await.status, 200);
    assert_eq!(soon(caller.chunks()).await.0, b"body");
}
