//! How a gateway ends.

use std::net::SocketAddr;

use anp_gateway::{Config, Gateway, Shutdown};
use anp_tunnel::{Status, TunnelConfig, units::Span};
use anpx::{
    CloseCode,
    session::{End, Role},
};
use bytes::Bytes;
use tokio::net::TcpStream;

use crate::support::{Caller, answer, config, following, head, run, send, soon, start};

#[tokio::test]
async fn a_graceful_stop_finishes_what_is_under_way() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut streaming = gateway.caller().await;
    streaming.get("/stream").await;
    let mut stream = receiver.accept().await;
    let first = Bytes::from_static(b"first");
    stream
        .response
        .respond(&head(200, &[]), first, End::No)
        .unwrap();
    streaming.until("first\r\n").await;
    let mut idle = gateway.caller().await;
    idle.get("/").await;
    answer(&mut receiver.accept().await, 200, "ok");
    idle.until("\r\n\r\nok").await;

    gateway.shutdown.send_replace(Shutdown::Graceful);
    // New tunnels are refused from here on.
    loop {
        let mut caller = Caller::connect(gateway.tunnel).await;
        caller
            .handshake("/", &[("Sec-WebSocket-Protocol", "anpx.v2")])
            .await;
        let response = caller.head().await;
        if response.starts_with("HTTP/1.1 503 ") {
            assert!(response.contains("retry-after"), "{response}");
            break;
        }
    }
    // The idle connection gets one more answer, its last.
    idle.get("/last").await;
    answer(&mut receiver.accept().await, 200, "last");
    let last = idle.rest().await;
    assert!(
        last.contains("connection: close") && last.ends_with("last"),
        "{last}"
    );
    // The stream goes on although its tunnel drains.
    while receiver.tunnel.status() != Status::Draining {
        tokio::task::yield_now().await;
    }
    send(&mut stream, Bytes::from_static(b"second"), End::Yes)
        .await
        .unwrap();
    drop(stream);
    streaming.until("second\r\n0\r\n\r\n").await;
    assert_eq!(streaming.rest().await, "");
    let closed = soon(receiver.driver).await.unwrap();
    assert_eq!(closed.code, Some(CloseCode::GOING_AWAY));
    soon(gateway.ended).await.unwrap().unwrap();
    assert!(TcpStream::connect(gateway.public).await.is_err());
}

#[tokio::test]
async fn the_deadline_ends_the_rest() {
    let gateway = start(Config {
        drain_timeout: Span::from_millis(50),
        ..config()
    })
    .await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller.get("/").await;
    let _request = receiver.accept().await;
    // Without anybody left to ask for more, a graceful stop it is.
    drop(gateway.shutdown);
    soon(gateway.ended).await.unwrap().unwrap();
    let response = caller.rest().await;
    assert!(response.starts_with("HTTP/1.1 502 "), "{response}");
}

#[tokio::test]
async fn a_second_request_to_stop_is_obeyed_at_once() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller.get("/").await;
    let _request = receiver.accept().await;
    gateway.shutdown.send_replace(Shutdown::Graceful);
    gateway.shutdown.send_replace(Shutdown::Now);
    soon(gateway.ended).await.unwrap().unwrap();
    let closed = soon(receiver.driver).await.unwrap();
    assert_eq!(closed.code, Some(CloseCode::GOING_AWAY));
    assert!(closed.by_peer);
}

#[tokio::test]
async fn a_delayed_stop_says_so_and_serves_on() {
    let gateway = start(Config {
        stop_delay: Span::from_secs(3600),
        health_path: Some("/-/healthz".to_owned()),
        ..config()
    })
    .await;
    let receiver = gateway.receiver().await;
    let mut kept = gateway.caller().await;
    kept.get("/-/healthz").await;
    kept.until("ready\n").await;
    gateway.shutdown.send_replace(Shutdown::Graceful);
    let stopping = async { while !gateway.ask_admin("/readyz").await.contains(" 503 ") {} };
    soon(stopping).await;
    kept.get("/-/healthz").await;
    let health = kept.until("stopping\n").await;
    assert!(health.starts_with("HTTP/1.1 503 "), "{health}");
    assert!(!health.contains("connection: close"), "{health}");
    // New connections and tunnels are taken as ever, and those that are there stay.
    let more = gateway.receiver().await;
    for _ in 0..2 {
        let mut fresh = gateway.caller().await;
        for caller in [&mut kept, &mut fresh] {
            caller.get("/").await;
            let mut request = soon(async {
                tokio::select! {
                    request = receiver.accept() => request,
                    request = more.accept() => request,
                }
            })
            .await;
            answer(&mut request, 200, "served");
            let response = caller.until("served").await;
            assert!(!response.contains("connection: close"), "{response}");
        }
    }
    for receiver in [&receiver, &more] {
        assert_eq!(receiver.tunnel.status(), Status::Ready);
    }
    // Asked again, it does not wait.
    gateway.shutdown.send_replace(Shutdown::Now);
    soon(gateway.ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_receiver_with_several_tunnels_is_sent_away_from_all_but_one_at_once() {
    let gateway = start(config()).await;
    let first = gateway.receiver().await;
    let mut idle = gateway.caller().await;
    idle.get("/").await;
    answer(&mut first.accept().await, 200, "first");
    idle.until("first").await;
    let second = gateway.receiver().await;
    gateway.shutdown.send_replace(Shutdown::Graceful);
    // A caller that is still connected keeps the grace going: nothing else would end this tunnel.
    let closed = soon(second.driver).await.unwrap();
    assert_eq!(closed.code, Some(CloseCode::GOING_AWAY));
    idle.get("/last").await;
    answer(&mut first.accept().await, 200, "last");
    let last = idle.rest().await;
    assert!(last.ends_with("last"), "{last}");
    soon(first.driver).await.unwrap();
    soon(gateway.ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stop_keeps_tunnels_that_take_requests() {
    for leaves in [true, false] {
        let gateway = start(config()).await;
        // Two tunnels of one receiver, the first of which takes nothing more, and one of another.
        let first = gateway.receiver().await;
        let mut streaming = gateway.caller().await;
        streaming.get("/").await;
        let stream = first.accept().await;
        let second = gateway.receiver().await;
        let mut idle = gateway.caller().await;
        match leaves {
            true => first.tunnel.drain(),
            false => first.tunnel.set_accepting(false),
        }
        let state = if leaves { "draining" } else { "paused" };
        let told = format!("\"{state}\"");
        let told = async { while !gateway.ask_admin("/tunnels").await.contains(&told) {} };
        soon(told).await;
        let other = gateway
            .receiver_with("other", TunnelConfig::new(Role::Receiver))
            .await;
        let more = gateway
            .receiver_with("other", TunnelConfig::new(Role::Receiver))
            .await;

        gateway.shutdown.send_replace(Shutdown::Graceful);
        soon(more.driver).await.unwrap();
        idle.get("/last").await;
        let mut last = tokio::select! {
            request = second.accept() => request,
            request = other.accept() => request,
        };
        answer(&mut last, 200, "last");
        assert!(idle.rest().await.ends_with("last"));
        assert!(!second.driver.is_finished() && !other.driver.is_finished());
        drop(stream);
    }
}

#[tokio::test]
async fn a_replaced_gateway_leaves_its_listeners_to_the_next() {
    let old = Gateway::bind(config()).await.unwrap();
    let (public, tunnel) = (old.public_addr(), old.tunnel_addr());
    let next = following(&old, config()).await;
    let old = run(old);
    assert_eq!((next.public_addr(), next.tunnel_addr()), (public, tunnel));
    old.shutdown.send_replace(Shutdown::Replaced);
    soon(old.ended).await.unwrap().unwrap();
    // The old one is gone, the next does not run yet: the system holds what comes.
    let mut early = Caller::connect(public).await;
    early.get("/early").await;
    let gateway = run(next);
    // It waits for a receiver, since those of the old one are on their way.
    let receiver = gateway.receiver().await;
    answer(&mut receiver.accept().await, 200, "late");
    early.until("late").await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_was_on_the_way_to_an_address_of_the_gateway_before_is_served() {
    let old = Gateway::bind(Config {
        listen: "0.0.0.0:0".parse().unwrap(),
        open: Some(true),
        allow_public_without_authentication: true,
        ..config()
    })
    .await
    .unwrap();
    let port = old.public_addr().port();
    // The narrower address leaves this one to nobody.
    let given_up = SocketAddr::from(([127, 0, 0, 2], port));
    let mut on_the_way = Caller::connect(given_up).await;
    let next = Gateway::bind_with(
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], port)),
            health_path: Some("/-/healthz".to_owned()),
            ..config()
        },
        old.listeners().unwrap(),
    )
    .await
    .unwrap();
    drop(old);
    let gateway = run(next);
    for caller in [&mut on_the_way, &mut gateway.caller().await] {
        caller.get("/-/healthz").await;
        caller.until("ready\n").await;
    }
    soon(async { while TcpStream::connect(given_up).await.is_ok() {} }).await;
    on_the_way.get("/-/healthz").await;
    on_the_way.until("ready\n").await;
    gateway.caller().await;
}

const READY: &str = "GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n";

#[tokio::test]
async fn a_replaced_gateway_closes_the_connections_of_its_admin_listener() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller.get("/held").await;
    let mut held = receiver.accept().await;
    // Taken before the next one, which has an answer.
    let mut new = Caller::connect(gateway.admin).await;
    let mut idle = Caller::connect(gateway.admin).await;
    let mut busy = Caller::connect(gateway.admin).await;
    busy.send(
        "POST /reload HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: 2\r\nexpect: 100-continue\r\n\r\n",
    )
    .await;
    busy.head().await;
    idle.send(READY).await;
    let ready = idle.until("ready\n").await;
    assert!(!ready.contains("connection: close"), "{ready}");

    gateway.shutdown.send_replace(Shutdown::Replaced);
    assert_eq!(idle.rest().await, "");
    busy.send("{}").await;
    new.send(READY).await;
    for (last, status) in [(busy.rest().await, "409"), (new.rest().await, "503")] {
        assert_eq!(&last[9..12], status, "{last}");
        assert!(last.contains("connection: close"), "{last}");
    }
    answer(&mut held, 200, "late");
    caller.until("late").await;
}

#[tokio::test]
async fn a_gateway_that_stops_answers_once_more_on_a_connection_of_its_admin_listener() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller.get("/held").await;
    let mut held = receiver.accept().await;
    let mut idle = Caller::connect(gateway.admin).await;
    idle.send(READY).await;
    idle.until("ready\n").await;
    gateway.shutdown.send_replace(Shutdown::Graceful);
    while !gateway.ask_admin("/readyz").await.contains(" 503 ") {}
    idle.send(READY).await;
    let last = idle.rest().await;
    assert!(
        last.contains("connection: close") && last.ends_with("stopping\n"),
        "{last}"
    );
    answer(&mut held, 200, "late");
    caller.until("late").await;
}

#[tokio::test]
async fn a_gateway_is_settled_once_the_receivers_of_the_one_before_are_there() {
    let first = Gateway::bind(config()).await.unwrap();
    let next = following(&first, config()).await;
    drop(first);
    let handover = next.handover();
    let gateway = run(next);
    let _one = gateway.receiver().await;
    soon(handover.settled(1)).await;
    assert_eq!(handover.served(), 1);
    // Of another endpoint's there is no sign.
    let mut more = std::pin::pin!(handover.settled(2));
    tokio::select! {
        biased;
        () = &mut more => panic!("settled without a receiver of the second endpoint"),
        () = tokio::task::yield_now() => {}
    }
}

#[tokio::test]
async fn a_gateway_that_took_nothing_over_is_settled() {
    let bound = Gateway::bind(config()).await.unwrap();
    let handover = bound.handover();
    let _gateway = run(bound);
    soon(handover.settled(1)).await;
    assert_eq!(handover.served(), 0);
}
