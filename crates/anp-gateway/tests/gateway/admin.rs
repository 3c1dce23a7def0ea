//! Health, metrics, and what keeps a gateway from starting.

use anp_gateway::{Config, Gateway, Shutdown};
use anp_tunnel::units::Span;

use crate::support::{Caller, answer, config, start};

async fn ask(address: std::net::SocketAddr, path: &str) -> String {
    let mut caller = Caller::connect(address).await;
    caller
        .send(format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        ))
        .await;
    caller.rest().await
}

#[tokio::test]
async fn health_and_metrics() {
    let gateway = start(Config {
        drain_timeout: Span::from_secs(20),
        ..config()
    })
    .await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller.get("/").await;
    answer(&mut receiver.accept().await, 200, "ok");
    caller.until("\r\n\r\nok").await;

    assert!(
        ask(gateway.admin, "/healthz")
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    assert!(
        ask(gateway.admin, "/readyz")
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    let nothing = ask(gateway.admin, "/other").await;
    assert!(nothing.starts_with("HTTP/1.1 404 "));
    assert!(nothing.contains("\r\nanp-admin: gateway\r\n"), "{nothing}");
    // The caller has its answer a moment before it counts as over.
    let metrics = gateway.metrics_say("anp_gateway_in_flight 0").await;
    for line in [
        "anp_gateway_requests_total{endpoint=\"open\",class=\"2xx\"} 1\n",
        "anp_gateway_tunnels 1\n",
        "anp_gateway_tunnel_handshakes_total{status=\"101\"} 1\n",
        "anp_gateway_reloads_total{outcome=\"taken\"} 0\n",
        "anp_gateway_response_head_seconds_count 1\n",
        "anp_gateway_response_head_seconds_bucket{le=\"+Inf\"} 1\n",
        "anp_gateway_connections 1\n",
        "# EOF\n",
    ] {
        assert!(metrics.contains(line), "{line:?} is not in {metrics}");
    }

    // A request under way keeps it stopping for as long as is needed to see it.
    caller.get("/held").await;
    let held = receiver.accept().await;
    gateway.shutdown.send_replace(Shutdown::Graceful);
    while !ask(gateway.admin, "/readyz")
        .await
        .starts_with("HTTP/1.1 503 ")
    {}
    assert!(
        ask(gateway.admin, "/healthz")
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    drop(held);
}

#[tokio::test]
async fn what_cannot_be_is_said_before_anything_opens() {
    let error = Gateway::bind(Config {
        max_streams: 0,
        ..config()
    })
    .await
    .unwrap_err();
    assert_eq!(error.to_string(), "max_streams: 0 is outside 1 to 1024");

    let gateway = start(config()).await;
    let error = Gateway::bind(Config {
        listen: gateway.public,
        ..config()
    })
    .await
    .unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("listen {}: ", gateway.public)),
        "{text}"
    );
}

#[tokio::test]
async fn the_public_health_path_is_the_gateways_own() {
    let gateway = start(Config {
        health_path: Some("/-/healthz".to_owned()),
        drain_timeout: Span::from_secs(20),
        ..config()
    })
    .await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller.get("/-/healthz?x").await;
    let ready = caller.until("\r\n\r\nready\n").await;
    assert!(ready.starts_with("HTTP/1.1 200 "), "{ready}");
    caller
        .send("HEAD /-/healthz HTTP/1.1\r\nhost: any.example\r\n\r\n")
        .await;
    let head = caller.head().await;
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.contains("content-length: 6"),
        "{head}"
    );
    caller
        .send("POST /-/healthz HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nhi")
        .await;
    assert!(
        caller
            .until("GET and HEAD\n")
            .await
            .starts_with("HTTP/1.1 405 ")
    );
    // Nothing else is hidden from the app.
    for path in ["/-/healthz/", "/-/healthzz", "/-/"] {
        caller.get(path).await;
        answer(&mut receiver.accept().await, 200, "app");
        caller.until("\r\n\r\napp").await;
    }

    caller.get("/held").await;
    let mut held = receiver.accept().await;
    let mut other = gateway.caller().await;
    other.get("/-/healthz").await;
    other.until("ready\n").await;
    gateway.shutdown.send_replace(Shutdown::Graceful);
    while !ask(gateway.admin, "/readyz").await.contains(" 503 ") {}
    other.get("/-/healthz").await;
    let last = other.rest().await;
    assert!(
        last.starts_with("HTTP/1.1 503 ") && last.ends_with("stopping\n"),
        "{last}"
    );
    answer(&mut held, 200, "late");
    caller.until("late").await;
}
