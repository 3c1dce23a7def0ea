//! How tunnels come: handshakes and their refusals.

use anp_gateway::{Config, Endpoint};

use crate::support::{Caller, Receiver, Running, answer, config, start};

/// A gateway that takes tunnels at a path of its public listener, too.
async fn with_a_path() -> Running {
    start(Config {
        tunnel_path: Some("/anpx".into()),
        ..config()
    })
    .await
}

#[tokio::test]
async fn other_traffic_on_the_tunnel_port_is_told_so() {
    let gateway = start(config()).await;
    let mut caller = Caller::connect(gateway.tunnel).await;
    caller
        .send("GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        .await;
    let response = caller.rest().await;
    assert!(response.starts_with("HTTP/1.1 426 "), "{response}");
    assert!(response.contains("upgrade: websocket"), "{response}");
    assert!(
        response.contains("takes tunnels of ANP receivers"),
        "{response}"
    );
}

#[tokio::test]
async fn of_those_that_say_nothing_there_are_only_so_many() {
    let gateway = start(Config {
        max_connections: 1,
        ..config()
    })
    .await;
    let mut first = Caller::connect(gateway.tunnel).await;
    let response = Caller::connect(gateway.tunnel).await.rest().await;
    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
    gateway
        .metrics_say("anp_gateway_connections_refused_total 1")
        .await;
    first.handshake("/", &[]).await;
    let response = first.head().await;
    assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
}

#[tokio::test]
async fn who_was_refused_has_nothing_else_to_do_there() {
    let gateway = start(config()).await;
    let mut caller = Caller::connect(gateway.tunnel).await;
    caller.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let response = caller.rest().await;
    assert!(response.starts_with("HTTP/1.1 426 "), "{response}");
    assert!(response.contains("connection: close\r\n"), "{response}");
}

#[tokio::test]
async fn head_is_refused_without_a_body() {
    let gateway = with_a_path().await;
    let mut caller = gateway.caller().await;
    caller
        .send("HEAD /anpx HTTP/1.1\r\nhost: h\r\n\r\nGET /anpx HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        .await;
    let responses = caller.rest().await;
    let next = responses.split("\r\n\r\n").nth(1).unwrap();
    assert!(next.starts_with("HTTP/1.1 426 "), "{responses}");
}

#[tokio::test]
async fn an_offer_without_a_version_of_ours_is_400() {
    let gateway = start(Config {
        min_version: 2,
        ..config()
    })
    .await;
    for offer in [
        &[("Sec-WebSocket-Protocol", "mqtt")][..],
        &[("Sec-WebSocket-Protocol", "anpx.v1")],
        &[],
    ] {
        let mut caller = Caller::connect(gateway.tunnel).await;
        caller.handshake("/", offer).await;
        let response = caller.head().await;
        assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    }
    gateway.receiver().await;
}

#[tokio::test]
async fn the_highest_version_offered_is_answered() {
    let gateway = start(config()).await;
    for (offer, answer) in [
        ("anpx.v1, anpx.v2", Some("anpx.v2")),
        ("anpx.v1", Some("anpx.v1")),
        ("", None),
    ] {
        let mut caller = Caller::connect(gateway.tunnel).await;
        caller
            .handshake("/", &[("Sec-WebSocket-Protocol", offer)])
            .await;
        let response = caller.head().await;
        assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
        let given = response
            .lines()
            .find_map(|l| l.strip_prefix("sec-websocket-protocol: "));
        assert_eq!(given, answer);
        // RFC 6455 section 1.3.
        assert!(
            response.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            "{response}"
        );
    }
}

fn named() -> Config {
    Config {
        endpoints: vec![Endpoint {
            name: "e".to_owned(),
            host: None,
            path: "/".to_owned(),
            receivers: vec!["known".to_owned()],
            ..Endpoint::default()
        }],
        ..config()
    }
}

#[tokio::test]
async fn a_receiver_nobody_named_is_refused_in_the_way_it_understands() {
    let gateway = start(named()).await;
    let v2 = ("Sec-WebSocket-Protocol", "anpx.v2");
    for (target, name) in [
        ("/", Some("stranger")),
        ("/", None),
        ("/?receiver=stranger", None),
    ] {
        let mut caller = Caller::connect(gateway.tunnel).await;
        let name = name.map(|n| ("ANP-Receiver", n));
        let headers: Vec<_> = [v2].into_iter().chain(name).collect();
        caller.handshake(target, &headers).await;
        assert!(caller.head().await.starts_with("HTTP/1.1 403 "));
    }
    let mut caller = Caller::connect(gateway.tunnel).await;
    caller.handshake("/?x=1&receiver=known", &[v2]).await;
    assert!(caller.head().await.starts_with("HTTP/1.1 101 "));

    // Version 1 knows no refusal but a close code.
    let mut caller = Caller::connect(gateway.tunnel).await;
    caller.handshake("/", &[]).await;
    assert!(caller.head().await.starts_with("HTTP/1.1 101 "));
    let close = caller.exactly(4).await;
    assert_eq!(close[0], 0x88);
    assert_eq!(u16::from_be_bytes([close[2], close[3]]), 4004);
}

#[tokio::test]
async fn no_more_tunnels_than_allowed() {
    let gateway = start(Config {
        max_tunnels: 1,
        ..config()
    })
    .await;
    let first = gateway.receiver().await;
    let mut caller = Caller::connect(gateway.tunnel).await;
    caller
        .handshake("/", &[("Sec-WebSocket-Protocol", "anpx.v2")])
        .await;
    let response = caller.head().await;
    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
    assert!(response.contains("retry-after"), "{response}");
    drop(first);
}

#[tokio::test]
async fn a_path_of_the_public_port_takes_tunnels_too() {
    let gateway = with_a_path().await;
    let mut caller = gateway.caller().await;
    // Also on a connection that served something else before.
    caller.get("/anpx").await;
    assert!(
        caller
            .until("serves no app\n")
            .await
            .starts_with("HTTP/1.1 426 ")
    );
    caller
        .handshake("/anpx?receiver=r", &[("Sec-WebSocket-Protocol", "anpx.v2")])
        .await;
    assert!(caller.head().await.starts_with("HTTP/1.1 101 "));
    let receiver = Receiver::on_default(caller).await;
    let mut caller = gateway.caller().await;
    caller.get("/app").await;
    answer(&mut receiver.accept().await, 200, "ok");
    caller.until("\r\n\r\nok").await;
}

#[tokio::test]
async fn a_lost_tunnel_is_forgotten() {
    let gateway = start(config()).await;
    let first = gateway.receiver().await;
    let second = gateway.receiver().await;
    first.kill().await;
    for _ in 0..4 {
        let mut caller = gateway.caller().await;
        caller.get("/").await;
        answer(&mut second.accept().await, 200, "ok");
        caller.until("\r\n\r\nok").await;
    }
}
