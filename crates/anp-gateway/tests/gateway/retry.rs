//! Another tunnel for what the first did not take, and the wait for a place.

use std::collections::HashSet;

use anp_gateway::Config;
use anp_tunnel::{Incoming, TunnelConfig, units::Span};
use anpx::{
    ResetCode,
    session::{End, Role},
};
use bytes::Bytes;

use crate::support::{Caller, Receiver, Running, answer, body, config, head, part, soon, start};

/// The next request, whichever of the receivers gets it.
async fn any(receivers: &[Receiver]) -> (usize, Incoming) {
    let next = std::future::poll_fn(|cx| {
        for (i, receiver) in receivers.iter().enumerate() {
            if let std::task::Poll::Ready(request) = receiver.tunnel.poll_accept(cx) {
                return std::task::Poll::Ready((i, request.expect("the tunnel ended")));
            }
        }
        std::task::Poll::Pending
    });
    soon(next).await
}

async fn receivers(gateway: &Running, count: usize) -> Vec<Receiver> {
    let mut receivers = Vec::new();
    for _ in 0..count {
        receivers.push(gateway.receiver().await);
    }
    receivers
}

/// A tunnel for each name: those of one lead to the same receiver.
async fn instances(gateway: &Running, names: &[&str]) -> Vec<Receiver> {
    let mut receivers = Vec::new();
    for instance in names {
        let offer = [
            ("Sec-WebSocket-Protocol", "anpx.v2"),
            ("ANPX-Instance", *instance),
        ];
        let mut caller = Caller::connect(gateway.tunnel).await;
        caller.handshake("/", &offer).await;
        caller.head().await;
        receivers.push(Receiver::on_default(caller).await);
    }
    gateway.all_ready().await;
    receivers
}

#[tokio::test]
async fn a_refused_request_goes_elsewhere_with_its_body() {
    let gateway = start(config()).await;
    let receivers = receivers(&gateway, 3).await;
    let mut caller = gateway.caller().await;
    let text = "x".repeat(40_000);
    caller
        .send(format!(
            "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        ))
        .await;
    let mut tried = HashSet::new();
    for _ in 0..2 {
        let (i, mut request) = any(&receivers).await;
        request.response.reset(ResetCode::REFUSED);
        assert!(tried.insert(i), "a tunnel was tried twice");
    }
    let (i, mut request) = any(&receivers).await;
    assert!(tried.insert(i));
    assert!(body(&mut request.body).await.unwrap() == text.as_bytes());
    answer(&mut request, 200, "ok");
    caller.until("\r\n\r\nok").await;
}

#[tokio::test]
async fn what_one_receiver_cannot_do_another_is_asked_for() {
    let gateway = start(config()).await;
    let receivers = instances(&gateway, &["a", "a", "a", "b"]).await;
    // The other's tunnel has the most to do, and so is chosen last but for this.
    let _busy = loop {
        let mut caller = gateway.caller().await;
        caller.get("/busy").await;
        let (i, mut request) = any(&receivers).await;
        if i == 3 {
            break (caller, request);
        }
        answer(&mut request, 200, "ok");
        caller.until("\r\n\r\nok").await;
    };
    for _ in 0..4 {
        let mut caller = gateway.caller().await;
        caller.get("/").await;
        let (i, mut request) = any(&receivers).await;
        assert_ne!(i, 3);
        request.response.reset(ResetCode::REFUSED);
        let (i, mut request) = any(&receivers).await;
        assert_eq!(i, 3);
        answer(&mut request, 200, "ok");
        caller.until("\r\n\r\nok").await;
    }
}

#[tokio::test]
async fn a_receiver_without_its_app_is_asked_last_for_a_while() {
    let gateway = start(config()).await;
    let receivers = instances(&gateway, &["a", "b"]).await;
    let mut callers = Vec::new();
    let mut ask = async |upgrade: &str| {
        let mut caller = gateway.caller().await;
        caller
            .send(format!("GET / HTTP/1.1\r\nhost: h\r\n{upgrade}\r\n"))
            .await;
        callers.push(caller);
        any(&receivers).await
    };
    let (without, mut request) = ask("").await;
    request.response.reset(ResetCode::UPSTREAM_UNREACHABLE);
    let (other, held) = any(&receivers).await;
    assert_ne!(other, without);
    // It has nothing to do, the other more and more. An upgrade is asked of nobody else.
    let mut held = vec![held];
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    for asked in ["", upgrade, "", upgrade] {
        let (to, request) = ask(asked).await;
        assert_eq!(to, other);
        held.push(request);
    }
    // Until it is tried again.
    while ask("").await.0 != without {}
}

#[tokio::test]
async fn who_waits_while_the_receivers_stop_is_told_so() {
    let gateway = start(Config {
        queue_timeout: Span::from_millis(50),
        ..config()
    })
    .await;
    let receiver = gateway.receiver().await;
    let mut streams = gateway.caller().await;
    streams.get("/tokens").await;
    let mut under_way = receiver.accept().await;
    receiver.tunnel.drain();
    let drains = async { while !gateway.ask_admin("/tunnels").await.contains("\"draining\"") {} };
    soon(drains).await;
    // However many wait: that nobody gets a place says nothing of when there is one.
    for _ in 0..3 {
        let response = gateway.get("/").await;
        assert!(response.contains("\r\nretry-after: 1\r\n"), "{response}");
        assert!(
            response.contains("no receiver of this endpoint takes requests now"),
            "{response}"
        );
    }
    answer(&mut under_way, 200, "ok");
    streams.until("\r\n\r\nok").await;
}

#[tokio::test]
async fn who_waits_while_the_apps_are_down_is_told_so() {
    let gateway = start(Config {
        queue_timeout: Span::from_millis(50),
        ..config()
    })
    .await;
    let receiver = gateway.receiver().await;
    receiver.tunnel.set_accepting(false);
    let paused = async { while !gateway.ask_admin("/tunnels").await.contains("\"paused\"") {} };
    soon(paused).await;
    let response = gateway.get("/").await;
    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
    assert!(
        response.contains("no receiver of this endpoint takes requests now"),
        "{response}"
    );
    receiver.tunnel.set_accepting(true);
    let mut caller = gateway.caller().await;
    caller.get("/").await;
    answer(&mut receiver.accept().await, 200, "ok");
    caller.until("\r\n\r\nok").await;
}

#[tokio::test]
async fn three_refusals_are_enough_where_there_is_no_time_for_more() {
    let gateway = start(Config {
        queue_timeout: Span::from_millis(1),
        ..config()
    })
    .await;
    let receivers = receivers(&gateway, 4).await;
    let mut caller = gateway.caller().await;
    caller.get("/").await;
    for _ in 0..3 {
        any(&receivers).await.1.response.reset(ResetCode::REFUSED);
    }
    let response = caller.head().await;
    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
    assert!(response.contains("retry-after: 1"), "{response}");
}

#[tokio::test]
async fn what_may_have_been_processed_is_not_sent_again() {
    let gateway = start(config()).await;
    let mut receivers = receivers(&gateway, 2).await;
    let mut caller = gateway.caller().await;
    let text = "x".repeat(100_000);
    caller
        .send(format!(
            "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        ))
        .await;
    let (i, mut request) = any(&receivers).await;
    // Reading grants credit, which is the receiver's word that the app has begun.
    let mut read = 0;
    while read < 60_000 {
        match part(&mut request.body).await {
            Some(Ok(anp_tunnel::Part::Data(data, _))) => read += data.len(),
            other => panic!("{other:?}"),
        }
    }
    receivers.remove(i).kill().await;
    let response = caller.head().await;
    assert!(response.starts_with("HTTP/1.1 502 "), "{response}");
}

#[tokio::test]
async fn a_request_whose_tunnel_is_lost_is_repeated_once_where_that_does_no_harm() {
    let gateway = start(config()).await;
    let mut receivers = receivers(&gateway, 3).await;
    let mut caller = gateway.caller().await;
    for (method, again) in [("GET", true), ("POST", false)] {
        caller
            .send(format!(
                "{method} / HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n"
            ))
            .await;
        let (i, _request) = any(&receivers).await;
        receivers.remove(i).kill().await;
        if again {
            answer(&mut any(&receivers).await.1, 200, "again");
            caller.until("\r\n\r\nagain").await;
        } else {
            let response = caller.head().await;
            assert!(response.starts_with("HTTP/1.1 502 "), "{response}");
        }
    }
}

#[tokio::test]
async fn a_request_is_not_repeated_a_second_time() {
    let gateway = start(config()).await;
    let mut receivers = receivers(&gateway, 3).await;
    let mut caller = gateway.caller().await;
    caller.get("/").await;
    for _ in 0..2 {
        let (i, _request) = any(&receivers).await;
        receivers.remove(i).kill().await;
    }
    let response = caller.head().await;
    assert!(response.starts_with("HTTP/1.1 502 "), "{response}");
    assert_eq!(receivers[0].tunnel.open_streams(), 0);
}

#[tokio::test]
async fn an_informational_answer_is_an_answer() {
    let gateway = start(config()).await;
    let mut receivers = receivers(&gateway, 2).await;
    let mut caller = gateway.caller().await;
    caller.get("/").await;
    let (i, mut request) = any(&receivers).await;
    request.response.inform(&head(103, &[])).unwrap();
    caller.until("HTTP/1.1 103").await;
    receivers.remove(i).kill().await;
    caller.until("HTTP/1.1 502").await;
}

#[tokio::test]
async fn an_app_that_cannot_be_reached_is_tried_elsewhere() {
    let gateway = start(config()).await;
    let receivers = receivers(&gateway, 2).await;
    let mut caller = gateway.caller().await;
    for last in [true, false] {
        caller
            .send("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nhi")
            .await;
        let unreachable = ResetCode::UPSTREAM_UNREACHABLE;
        any(&receivers).await.1.response.reset(unreachable);
        let (_, mut request) = any(&receivers).await;
        if last {
            assert_eq!(&body(&mut request.body).await.unwrap()[..], b"hi");
            answer(&mut request, 200, "here");
            caller.until("\r\n\r\nhere").await;
        } else {
            request.response.reset(unreachable);
            let response = caller.head().await;
            assert!(response.starts_with("HTTP/1.1 502 "), "{response}");
        }
    }
}

fn one_stream() -> TunnelConfig {
    let mut config = TunnelConfig::new(Role::Receiver);
    config.v2.max_streams = 1;
    config
}

/// A gateway, its only receiver, and the request that takes the receiver's only place, with its caller.
async fn full(queue_timeout: Span) -> (Running, Receiver, Incoming, Caller) {
    let gateway = start(Config {
        queue_timeout,
        ..config()
    })
    .await;
    let receiver = gateway.receiver_with("r", one_stream()).await;
    let mut first = gateway.caller().await;
    first.get("/first").await;
    let one = receiver.accept().await;
    (gateway, receiver, one, first)
}

#[tokio::test]
async fn a_request_waits_for_a_place() {
    let (gateway, receiver, mut one, mut first) = full(Span::from_secs(20)).await;
    let mut second = gateway.caller().await;
    second.get("/second").await;
    // Answered, but its place is taken until its body ends.
    one.response
        .respond(&head(200, &[]), Bytes::new(), End::No)
        .unwrap();
    first.head().await;
    one.response.send_data(Bytes::new(), End::Yes).unwrap();
    drop(one);
    answer(&mut receiver.accept().await, 200, "second");
    second.until("second").await;
}

#[tokio::test]
async fn a_request_that_was_refused_waits_for_a_place_elsewhere() {
    let (gateway, receiver, mut one, mut first) = full(Span::from_secs(20)).await;
    let other = gateway.receiver().await;
    let mut second = gateway.caller().await;
    second.get("/second").await;
    other.accept().await.response.reset(ResetCode::REFUSED);
    gateway.metrics_say("anp_gateway_queued_total 1").await;
    // The receiver that refused it has places; whoever comes now takes one of them.
    let mut third = gateway.caller().await;
    third.get("/third").await;
    answer(&mut other.accept().await, 200, "third");
    third.until("third").await;
    answer(&mut one, 200, "first");
    first.until("first").await;
    drop(one);
    answer(&mut receiver.accept().await, 200, "second");
    second.until("second").await;
}

#[tokio::test]
async fn a_request_that_all_refused_is_sent_again_while_it_may_wait() {
    let gateway = start(Config {
        queue_timeout: Span::from_secs(20),
        ..config()
    })
    .await;
    // One after the other, so that there is one tunnel, and then more than a request may try at once.
    let mut all = Vec::new();
    for count in [1, 4] {
        while all.len() < count {
            all.push(gateway.receiver().await);
        }
        let mut caller = gateway.caller().await;
        caller.get("/").await;
        for _ in 0..7 {
            any(&all).await.1.response.reset(ResetCode::REFUSED);
        }
        answer(&mut any(&all).await.1, 200, "at last");
        caller.until("at last").await;
    }
}

#[tokio::test]
async fn a_refused_request_that_an_app_has_waits_no_more() {
    let gateway = start(Config {
        queue_timeout: Span::from_secs(20),
        queue_size: 1,
        ..config()
    })
    .await;
    let receiver = gateway.receiver().await;
    let mut taken = Vec::new();
    for path in ["/first", "/second"] {
        let mut caller = gateway.caller().await;
        caller.get(path).await;
        receiver.accept().await.response.reset(ResetCode::REFUSED);
        taken.push((receiver.accept().await, caller));
    }
    for (mut request, mut caller) in taken {
        answer(&mut request, 200, "at last");
        caller.until("at last").await;
    }
}

#[tokio::test]
async fn a_place_that_does_not_come_is_503() {
    let (gateway, _receiver, _one, _first) = full(Span::from_millis(20)).await;
    let response = gateway.get("/").await;
    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
    assert!(response.contains("busy"), "{response}");
}

#[tokio::test]
async fn requests_spread_over_tunnels() {
    let gateway = start(Config {
        workers: Some(1),
        ..config()
    })
    .await;
    let receivers = receivers(&gateway, 4).await;
    let mut held = Vec::new();
    let mut callers = Vec::new();
    let mut seen = HashSet::new();
    for _ in 0..4 {
        let mut caller = gateway.caller().await;
        caller.get("/").await;
        let (i, request) = any(&receivers).await;
        assert!(seen.insert(i), "a busier tunnel was taken");
        held.push(request);
        callers.push(caller);
    }
}
