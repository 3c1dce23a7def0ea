//! Apps that fail (row 33 of the threats).

use anp_testkit::{App, BodyEnd, Rig, soon};

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
