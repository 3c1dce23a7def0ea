//! Bodies in both directions, and readers of different speed.

use anp_testkit::{App, BodyEnd, Rig, soon};

const MIB: usize = 1 << 20;

/// Bytes of a pattern whose period is no power of two.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

#[tokio::test]
async fn each_event_arrives_before_the_next_is_written() {
    let (app, mut calls) = App::by_hand().await;
    let rig = Rig::start(&app).await;
    let mut caller = rig.caller().await;
    caller.get("/events").await;
    let mut call = soon(calls.recv()).await.unwrap();
    soon(call.head()).await.unwrap();
    call.send(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    )
    .await;
    let head = soon(caller.head()).await;
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    for n in 0..50 {
        let event = format!("data: token {n}\n\n");
        call.send(format!("{:x}\r\n{event}\r\n", event.len())).await;
        let mut arrived = Vec::new();
        while arrived.len() < event.len() {
            arrived.extend(soon(caller.chunk()).await.unwrap());
        }
        assert_eq!(arrived, event.as_bytes());
    }
    call.send("0\r\n\r\n").await;
    assert_eq!(soon(caller.chunks()).await, (Vec::new(), BodyEnd::Whole));
}

#[tokio::test]
async fn large_bodies_arrive_whole_in_both_directions() {
    let app = App::start(|mut call| async move {
        while call.head().await.is_some() {
            let Some(body) = call.body(5 * MIB).await else {
                return;
            };
            call.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                body.len()
            ))
            .await;
            call.send(body).await;
        }
    })
    .await;
    let rig = Rig::start(&app).await;
    let mut caller = rig.caller().await;
    let sent = pattern(5 * MIB);
    for _ in 0..2 {
        caller
            .send(format!(
                "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n",
                sent.len()
            ))
            .await;
        assert!(soon(caller.send(&sent)).await);
        let (head, body) = soon(caller.response()).await;
        assert_eq!(head.status, 200);
        assert!(body == sent, "the body came back changed");
    }
}

#[tokio::test]
async fn a_chunked_upload_keeps_its_trailers() {
    let (app, mut calls) = App::by_hand().await;
    let rig = Rig::start(&app).await;
    let mut caller = rig.caller().await;
    caller
        .send(
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\nTrailer: x-up\r\n\r\n\
             3\r\nabc\r\n0\r\nx-up: 1\r\n\r\n",
        )
        .await;
    let mut call = soon(calls.recv()).await.unwrap();
    let head = soon(call.head()).await.unwrap().to_lowercase();
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    // Trailers end with an empty line, as a head does.
    let body = soon(call.head()).await.unwrap();
    assert_eq!(body, "3\r\nabc\r\n0\r\nx-up: 1\r\n\r\n");
    call.answer("got them").await;
    assert_eq!(soon(caller.response()).await.1, b"got them");
}

#[tokio::test]
async fn an_answer_may_arrive_while_the_upload_runs() {
    let (app, mut calls) = App::by_hand().await;
    let rig = Rig::start(&app).await;
    let mut caller = rig.caller().await;
    caller
        .send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\nabc")
        .await;
    let mut call = soon(calls.recv()).await.unwrap();
    soon(call.head()).await.unwrap();
    assert_eq!(soon(call.body(3)).await.unwrap(), b"abc");
    call.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nearly\r\n")
        .await;
    assert_eq!(soon(caller.head()).await.status, 200);
    assert_eq!(&soon(caller.chunk()).await.unwrap()[..], b"early");
    caller.send("def").await;
    assert_eq!(soon(call.body(3)).await.unwrap(), b"def");
    call.send("0\r\n\r\n").await;
    assert_eq!(soon(caller.chunks()).await, (Vec::new(), BodyEnd::Whole));
}

#[tokio::test]
async fn a_reader_that_stands_still_holds_up_nobody() {
    const LARGE: usize = 16 * MIB;
    let app = App::start(|mut call| async move {
        while let Some(head) = call.head().await {
            if head.starts_with("GET /small") {
                call.answer("small").await;
                continue;
            }
            call.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"
            ))
            .await;
            call.send(pattern(LARGE)).await;
        }
    })
    .await;
    let rig = Rig::start(&app).await;
    let mut still = rig.caller().await;
    still.get("/large").await;
    assert_eq!(soon(still.head()).await.status, 200);
    for _ in 0..20 {
        assert_eq!(rig.get("/small").await, b"small");
    }
    assert!(rig.get("/large").await == pattern(LARGE));
    assert_eq!(rig.get("/small").await, b"small");
    // What stood still is still whole.
    let (body, end) = soon(still.sized(LARGE)).await;
    assert_eq!(end, BodyEnd::Whole);
    assert!(body == pattern(LARGE));
}
