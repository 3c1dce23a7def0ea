//! Receivers of one owner that each ask for some of its endpoints.

use anp_gateway::Config;
use anp_tunnel::{TunnelConfig, Version};
use anpx::session::Role;
use serde_json::json;

use crate::{
    api::Admin,
    support::{Caller, Receiver, Running, answer, config, endpoint, start},
};

async fn gateway(names: &[&str]) -> Running {
    start(Config {
        endpoints: names.iter().map(|name| endpoint(name, "known")).collect(),
        public_url: Some("http://gate.example".parse().unwrap()),
        ..config()
    })
    .await
}

/// The head of the answer to a receiver that asks for these, and its connection.
async fn asks(gateway: &Running, wishes: &[&str]) -> (String, Caller) {
    let mut caller = Caller::connect(gateway.tunnel).await;
    let mut offer = vec![
        ("Sec-WebSocket-Protocol", "anpx.v2"),
        ("ANP-Receiver", "known"),
    ];
    offer.extend(wishes.iter().map(|wish| ("ANPX-Endpoint", *wish)));
    caller.handshake("/", &offer).await;
    (caller.head().await, caller)
}

/// A receiver that serves one request at once, and only what it asks for.
async fn asking(gateway: &Running, wish: &str) -> Receiver {
    let (head, caller) = asks(gateway, &[wish]).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let mut config = TunnelConfig::new(Role::Receiver);
    config.v2.max_streams = 1;
    let receiver = Receiver::on(caller, Version::V2, config).await;
    gateway.all_ready().await;
    receiver
}

/// What the answer to a handshake says in a header of this name.
fn says<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(n, _)| *n == name).map(|(_, v)| v).collect()
}

/// A request that the receiver answers, at the path it was for.
async fn is_served(gateway: &Running, path: &str, receiver: &Receiver) {
    let mut caller = gateway.caller().await;
    caller.get(path).await;
    let mut incoming = receiver.accept().await;
    assert_eq!(incoming.head.target, path.as_bytes());
    answer(&mut incoming, 200, "mine");
    caller.until("\r\n\r\nmine").await;
}

#[tokio::test]
async fn who_asks_for_an_endpoint_serves_no_other() {
    let gateway = gateway(&["chat", "files", "both"]).await;
    let chat = asking(&gateway, "/chat").await;
    let files = asking(&gateway, "/files").await;
    // Often enough for a turn of either.
    for _ in 0..4 {
        is_served(&gateway, "/chat", &chat).await;
        is_served(&gateway, "/files", &files).await;
    }
    let unasked = gateway.get("/both").await;
    assert!(unasked.starts_with("HTTP/1.1 503 "), "{unasked}");
    let shown = gateway.ask_admin("/tunnels").await;
    let shown: String = shown.split_whitespace().collect();
    for name in ["chat", "files"] {
        let only = format!("\"endpoints\":[\"{name}\"]");
        assert!(shown.contains(&only), "{shown}");
    }
}

#[tokio::test]
async fn who_asks_for_more_than_there_is_serves_the_rest_and_is_told() {
    let gateway = gateway(&["chat", "files"]).await;
    let (head, caller) = asks(&gateway, &["/chat", "/gone", "a.example/x"]).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert_eq!(says(&head, "anpx-no-endpoint"), ["*/gone", "a.example/x"]);
    assert_eq!(
        says(&head, "anpx-public-url"),
        ["http://gate.example/chat/"]
    );
    let chat = Receiver::on_default(caller).await;
    is_served(&gateway, "/chat", &chat).await;
    let (head, _) = asks(&gateway, &["/gone"]).await;
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
}

#[tokio::test]
async fn a_request_that_waits_is_given_to_nobody_who_came_for_another_place() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = start(Config {
        endpoint_store: Some(directory.path().join("endpoints.redb")),
        ..config()
    })
    .await;
    let mut admin = Admin::connect(gateway.admin).await;
    let at = |name: &str, path: &str| json!({"name": name, "path": path, "receivers": ["known"]});
    admin.add(&at("chat", "/chat")).await;
    admin.add(&at("files", "/files")).await;
    let chat = asking(&gateway, "/chat").await;
    let files = asking(&gateway, "/files").await;
    let mut caller = gateway.caller().await;
    caller.get("/files/1").await;
    let mut under_way = files.accept().await;
    let mut waits = gateway.caller().await;
    waits.get("/files/2").await;
    gateway.metrics_say("anp_gateway_queued_total 1").await;

    let (code, _, body) = admin.ask("DELETE", "/endpoints/chat", "").await;
    assert_eq!(code, 204, "{body}");
    let moved = at("files", "/chat").to_string();
    let (code, _, body) = admin.ask("PUT", "/endpoints/files", &moved).await;
    assert_eq!(code, 200, "{body}");
    is_served(&gateway, "/chat", &chat).await;
    let late = waits.head().await;
    assert!(late.starts_with("HTTP/1.1 503 "), "{late}");
    answer(&mut under_way, 200, "whole");
    caller.until("\r\n\r\nwhole").await;

    // What it came for is there again, and so is it.
    let moved = at("files", "/files").to_string();
    let (code, _, body) = admin.ask("PUT", "/endpoints/files", &moved).await;
    assert_eq!(code, 200, "{body}");
    is_served(&gateway, "/files", &files).await;
}
