//! Callers that leave (row 32 of the threats).

use anp_testkit::{App, Rig, soon};

#[tokio::test]
async fn a_caller_that_leaves_a_download_closes_the_apps_connection() {
    let (app, mut calls) = App::by_hand().await;
    let rig = Rig::start(&app).await;
    let mut caller = rig.caller().await;
    caller.get("/").await;
    let mut call = soon(calls.recv()).await.unwrap();
    soon(call.head()).await.unwrap();
    call.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        .await;
    soon(caller.head()).await;
    soon(caller.chunk()).await.unwrap();
    drop(caller);
    soon(call.closed()).await;
    still_serves(&rig, &mut calls).await;
}

#[tokio::test]
async fn a_caller_that_leaves_before_the_head_closes_the_apps_connection() {
    let (app, mut calls) = App::by_hand().await;
    let rig = Rig::start(&app).await;
    let mut caller = rig.caller().await;
    caller.get("/").await;
    let mut call = soon(calls.recv()).await.unwrap();
    soon(call.head()).await.unwrap();
    drop(caller);
    soon(call.closed()).await;
    still_serves(&rig, &mut calls).await;
}

#[tokio::test]
async fn a_caller_that_leaves_an_upload_closes_the_apps_connection() {
    for framing in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
        let (app, mut calls) = App::by_hand().await;
        let rig = Rig::start(&app).await;
        let mut caller = rig.caller().await;
        let part = "3\r\nabc\r\n";
        caller
            .send(format!(
                "POST / HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n{part}"
            ))
            .await;
        let mut call = soon(calls.recv()).await.unwrap();
        soon(call.head()).await.unwrap();
        assert_eq!(soon(call.body(part.len())).await.unwrap(), part.as_bytes());
        drop(caller);
        let rest = soon(call.rest()).await;
        assert!(rest.is_empty(), "a truncated upload was ended: {rest:?}");
        still_serves(&rig, &mut calls).await;
    }
}

async fn still_serves(
    rig: &Rig,
    calls: &mut tokio::sync::mpsc::UnboundedReceiver<anp_testkit::app::Connection>,
) {
    let mut next = rig.caller().await;
    next.get("/next").await;
    let mut call = soon(calls.recv()).await.unwrap();
    soon(call.head()).await.unwrap();
    call.answer("next").await;
    assert_eq!(soon(next.response()).await.1, b"next");
}
