//! Bodies: streamed both ways as they come, held back where nobody reads.

use std::{future::poll_fn, pin::pin, time::Duration};

use anp_tunnel::Part;
use anpx::{ResetCode, session::End};
use bytes::Bytes;

use crate::support::{
    Caller, Receiver, Running, answer, body, config, head, part, send, soon, start,
};

#[tokio::test]
async fn events_arrive_one_by_one() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller.get("/events").await;
    // A pipelined request must not hold back what is streamed.
    caller.get("/next").await;
    let mut request = receiver.accept().await;
    let sse = head(200, &[("content-type", "text/event-stream")]);
    request
        .response
        .respond(&sse, Bytes::new(), End::No)
        .unwrap();
    assert!(caller.head().await.contains("transfer-encoding: chunked"));
    for n in 0..5 {
        let event = format!("data: {n}\n\n");
        send(&mut request, event.clone().into(), End::No)
            .await
            .unwrap();
        // The next event is sent only after this one was seen.
        caller.until(&format!("{event}\r\n")).await;
    }
    request.response.send_data(Bytes::new(), End::Yes).unwrap();
    caller.until("0\r\n\r\n").await;
    answer(&mut receiver.accept().await, 200, "next");
    caller.until("next").await;
}

#[tokio::test]
async fn a_small_body_travels_with_its_head() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller
        .send("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\nbody")
        .await;
    let mut request = receiver.accept().await;
    match part(&mut request.body).await {
        Some(Ok(Part::Data(data, End::Yes))) => assert_eq!(&data[..], b"body"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_chunked_body_keeps_its_trailers() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller
        .send("POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n3\r\nabc\r\n")
        .await;
    let mut request = receiver.accept().await;
    assert_eq!(request.head.headers.get("transfer-encoding"), None);
    match part(&mut request.body).await {
        Some(Ok(Part::Data(data, End::No))) => assert_eq!(&data[..], b"abc"),
        other => panic!("{other:?}"),
    }
    caller.send("0\r\nx-sum: 9\r\n\r\n").await;
    match part(&mut request.body).await {
        Some(Ok(Part::Trailers(fields))) => assert_eq!(fields.get("x-sum"), Some(&b"9"[..])),
        other => panic!("{other:?}"),
    }
    answer(&mut request, 200, "ok");
    caller.until("ok").await;
}

/// A body that shows misplaced and missing bytes.
fn pattern(len: usize) -> Vec<u8> {
    (0..len as u64)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}

#[tokio::test]
async fn large_bodies_arrive_whole_in_both_directions() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let data = pattern(3 << 20);
    let mut caller = gateway.caller().await;
    let (mut reading, mut writing) = caller.socket.split();
    let upload = async {
        use tokio::io::AsyncWriteExt;
        let head = format!(
            "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n",
            data.len()
        );
        writing.write_all(head.as_bytes()).await.unwrap();
        writing.write_all(&data).await.unwrap();
    };
    let serve = async {
        let mut request = receiver.accept().await;
        assert!(body(&mut request.body).await.unwrap() == data);
        let length = data.len().to_string();
        let head = head(200, &[("content-length", &length)]);
        request
            .response
            .respond(&head, Bytes::new(), End::No)
            .unwrap();
        send(&mut request, Bytes::from(data.clone()), End::Yes)
            .await
            .unwrap();
    };
    let download = async {
        use tokio::io::AsyncReadExt;
        let mut all = Vec::new();
        let whole = |all: &[u8]| {
            let head = all.windows(4).position(|w| w == b"\r\n\r\n")?;
            (all.len() >= head + 4 + data.len()).then_some(head + 4)
        };
        loop {
            if let Some(at) = whole(&all) {
                assert!(all[at..] == data[..]);
                return;
            }
            assert!(reading.read_buf(&mut all).await.unwrap() > 0);
        }
    };
    soon(async { tokio::join!(upload, serve, download) }).await;
}

#[tokio::test]
async fn what_the_app_does_not_read_stays_with_the_caller() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller
        .send("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1073741824\r\n\r\n")
        .await;
    let mut request = receiver.accept().await;
    let piece = vec![7; 64 << 10];
    // The caller is blocked once windows and the system's buffers are full; a second without a
    // byte taken is the sign of it.
    let mut sent = 0;
    loop {
        use tokio::io::AsyncWriteExt;
        let write = caller.socket.write(&piece);
        match tokio::time::timeout(Duration::from_secs(1), write).await {
            Ok(n) => sent += n.unwrap(),
            Err(_) => break,
        }
        assert!(sent < 64 << 20, "nothing held the caller back");
    }
    // Reading lets it go on, once so much was read that the system's buffers have room again.
    let mut send = pin!(caller.send(&piece));
    loop {
        tokio::select! {
            () = &mut send => break,
            part = part(&mut request.body) => match part {
                Some(Ok(Part::Data(..))) => {}
                other => panic!("{other:?}"),
            },
        }
    }
}

#[tokio::test]
async fn the_body_is_asked_for_when_the_app_asks() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    let expect = "POST / HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
    caller.send(expect).await;
    let mut request = receiver.accept().await;
    assert_eq!(
        request.head.headers.get("expect"),
        Some(&b"100-continue"[..])
    );
    request.response.inform(&head(100, &[])).unwrap();
    assert_eq!(caller.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    caller.send("body").await;
    assert_eq!(body(&mut request.body).await.unwrap(), b"body");
    answer(&mut request, 200, "ok");
    caller.until("\r\n\r\nok").await;

    // Refused without being asked for: the caller is not told to go on.
    caller.send(expect).await;
    answer(&mut receiver.accept().await, 417, "no");
    let refused = caller.head().await;
    assert!(refused.starts_with("HTTP/1.1 417 "), "{refused}");
    assert!(refused.contains("connection: close"), "{refused}");
}

/// Begins an upload that its app answers whole and then refuses the rest of.
async fn refused(gateway: &Running, receiver: &Receiver, head: &str, first: &str) -> Caller {
    let mut caller = gateway.caller().await;
    caller.send(format!("{head}\r\n\r\n{first}")).await;
    let mut request = receiver.accept().await;
    answer(&mut request, 413, "too much");
    request.response.reset(ResetCode::NO_ERROR);
    caller
}

#[tokio::test]
async fn the_rest_of_a_refused_upload_is_nobodys_and_the_connection_goes_on() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    // What follows is body, whatever it looks like.
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n";
    let sized = format!("content-length: {}", 4 * smuggled.len());
    for (framing, first, pieces) in [
        (
            &sized[..],
            smuggled.to_owned(),
            vec![smuggled.to_owned(); 3],
        ),
        (
            "transfer-encoding: chunked",
            "5\r\nfirst\r\n".to_owned(),
            vec![
                format!("{:x}\r\n{smuggled}\r\n", smuggled.len()),
                "0\r\nx-sum: 9\r\n".to_owned(),
                "\r\n".to_owned(),
            ],
        ),
    ] {
        let head = format!("POST /up HTTP/1.1\r\nhost: h\r\n{framing}");
        let mut caller = refused(&gateway, &receiver, &head, &first).await;
        let response = caller.until("too much").await;
        assert!(response.starts_with("HTTP/1.1 413 "), "{response}");
        assert!(!response.contains("connection: close"), "{response}");
        for piece in pieces {
            caller.send(piece).await;
        }
        caller.get("/next").await;
        let mut next = receiver.accept().await;
        assert_eq!(&next.head.target[..], b"/next");
        answer(&mut next, 200, "next");
        caller.until("next").await;
    }
}

#[tokio::test]
async fn a_refused_upload_that_stays_short_ends_its_connection() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let head = "POST /up HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000";
    let mut caller = refused(&gateway, &receiver, head, "first").await;
    caller.until("too much").await;
    caller
        .send("GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n")
        .await;
    caller.finish().await;
    assert_eq!(caller.rest().await, "");
    // So does one that is no valid body.
    let head = "POST /up HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked";
    let mut caller = refused(&gateway, &receiver, head, "5\r\nfirst\r\n").await;
    caller.until("too much").await;
    caller
        .send("GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n")
        .await;
    assert_eq!(caller.rest().await, "");
    // Where the caller asked for the end it comes at once.
    let head = "POST /up HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 1000000";
    let mut caller = refused(&gateway, &receiver, head, "first").await;
    let response = caller.rest().await;
    assert!(response.contains("connection: close"), "{response}");
    assert!(response.ends_with("too much"), "{response}");
    // The next request the receiver sees is the next honest one.
    let mut caller = gateway.caller().await;
    caller.get("/honest").await;
    let next = receiver.accept().await;
    assert_eq!(&next.head.target[..], b"/honest");
}

#[tokio::test]
async fn a_response_may_start_before_the_upload_ends() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller
        .send("POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    let mut request = receiver.accept().await;
    request
        .response
        .respond(&head(200, &[]), Bytes::new(), End::No)
        .unwrap();
    caller.head().await;
    for n in 0..3 {
        caller.send(format!("1\r\n{n}\r\n")).await;
        let data = match part(&mut request.body).await {
            Some(Ok(Part::Data(data, _))) => data,
            other => panic!("{other:?}"),
        };
        send(&mut request, data, End::No).await.unwrap();
        caller.until(&format!("1\r\n{n}\r\n")).await;
    }
    request.response.send_data(Bytes::new(), End::Yes).unwrap();
    caller.until("0\r\n\r\n").await;
    // The upload goes on after the response's end, as the app wants it.
    caller.send("1\r\nx\r\n0\r\n\r\n").await;
    assert_eq!(body(&mut request.body).await.unwrap(), b"x");
    drop(request);
    caller.get("/again").await;
    answer(&mut receiver.accept().await, 200, "again");
    caller.until("again").await;
}

#[tokio::test]
async fn a_slow_reader_does_not_hold_up_others() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut slow = gateway.caller().await;
    slow.get("/slow").await;
    let mut request = receiver.accept().await;
    request
        .response
        .respond(&head(200, &[]), Bytes::new(), End::No)
        .unwrap();
    let data = Bytes::from(vec![1; 64 << 10]);
    let mut sent = 0;
    // Until the window is closed, because the caller takes nothing.
    loop {
        let ready = poll_fn(|cx| request.response.poll_capacity(cx));
        match tokio::time::timeout(Duration::from_secs(1), ready).await {
            Ok(most) => {
                let piece = data.slice(..most.unwrap().min(data.len()));
                sent += piece.len();
                request.response.send_data(piece, End::No).unwrap();
            }
            Err(_) => break,
        }
        assert!(sent < 64 << 20, "nothing held the app back");
    }
    let mut other = Caller::connect(gateway.public).await;
    other.get("/other").await;
    answer(&mut receiver.accept().await, 200, "quick");
    other.until("quick").await;
}
