//! The listener that sends callers on to https.

use anp_gateway::{Config, Gateway, Shutdown};
use anp_tunnel::units::Span;
use tokio::net::TcpStream;

use super::authority::{Authority, showing};
use crate::support::{Caller, Running, following, run, soon, start};

/// A gateway at port 443, as its callers see it, that sends callers on.
fn redirecting(authority: &Authority) -> Config {
    Config {
        redirect_listen: Some("127.0.0.1:0".parse().unwrap()),
        public_url: Some("https://gate.example".parse().unwrap()),
        ..showing(&authority.issue("gate", &["gate.example"]))
    }
}

impl Running {
    async fn plain_caller(&self) -> Caller {
        Caller::connect(self.redirect.unwrap()).await
    }

    /// All that comes back for these bytes, up to the connection's end.
    async fn told(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut caller = self.plain_caller().await;
        caller.send(bytes).await;
        caller.rest().await
    }
}

fn location(head: &str) -> Option<&str> {
    head.lines()
        .find_map(|line| line.strip_prefix("location: "))
}

#[tokio::test]
async fn every_request_is_sent_to_the_same_place_with_https() {
    let authority = Authority::new();
    let gateway = start(redirecting(&authority)).await;
    let mut caller = gateway.plain_caller().await;
    // All on one connection.
    for (line, host, expected) in [
        ("GET /", "gate.example", "https://gate.example/"),
        (
            "HEAD /a/%2e?b=c&d",
            "a.gate.example:80",
            "https://a.gate.example/a/%2e?b=c&d",
        ),
        ("GET //b.example/", "a", "https://a//b.example/"),
        ("DELETE /x?", "[::1]:8080", "https://[::1]/x?"),
        ("OPTIONS /x", "192.0.2.1", "https://192.0.2.1/x"),
        (
            "GET http://gate.example?q",
            "gate.example",
            "https://gate.example/?q",
        ),
        ("GET http://a:80/x", "a:80", "https://a/x"),
    ] {
        let request = format!("{line} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        caller.send(request).await;
        let head = caller.head().await;
        assert!(
            head.starts_with("HTTP/1.1 308 Permanent Redirect\r\n"),
            "{head}"
        );
        assert_eq!(location(&head), Some(expected));
        assert!(head.contains("content-length: 0\r\n"), "{head}");
        assert!(!head.contains("connection:"), "{head}");
    }
    let metrics = gateway.metrics_say("anp_gateway_redirects_total 7").await;
    // None is a request of an endpoint or of a caller.
    assert!(
        !metrics.contains("anp_gateway_requests_total{"),
        "{metrics}"
    );
    assert!(metrics.contains("anp_gateway_connections 0\n"), "{metrics}");
    assert!(
        metrics.contains("anp_gateway_received_bytes_total 0\n"),
        "{metrics}"
    );
}

#[tokio::test]
async fn the_port_is_that_of_the_public_listener_where_nothing_else_is_known() {
    let authority = Authority::new();
    let gateway = start(Config {
        public_url: None,
        ..redirecting(&authority)
    })
    .await;
    let mut caller = gateway.plain_caller().await;
    caller.get("/").await;
    let expected = format!("https://test:{}/", gateway.public.port());
    assert_eq!(location(&caller.head().await), Some(&*expected));
}

#[tokio::test]
async fn a_connection_is_closed_where_it_cannot_go_on() {
    let authority = Authority::new();
    let gateway = start(redirecting(&authority)).await;
    for request in [
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\nhost: a\r\n\r\n",
        // Nobody reads the body, come or not.
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4000000\r\n\r\nbo",
        "PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
        "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n",
    ] {
        let mut caller = gateway.plain_caller().await;
        caller.send(request).await;
        let head = caller.head().await;
        assert!(head.starts_with("HTTP/1.1 308 "), "{head}");
        assert!(head.contains("connection: close\r\n"), "{head}");
        // The end of what is written, before the caller ends.
        assert_eq!(caller.rest().await, "", "{request}");
    }
    let mut old = gateway.plain_caller().await;
    for _ in 0..2 {
        old.send("GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n")
            .await;
        let head = old.head().await;
        assert!(head.contains("connection: keep-alive\r\n"), "{head}");
    }
}

#[tokio::test]
async fn nothing_is_made_of_what_is_no_host_or_no_place() {
    let authority = Authority::new();
    let gateway = start(redirecting(&authority)).await;
    for (status, request) in [
        (400, "GET / HTTP/1.1\r\n\r\n"),
        (400, "GET / HTTP/1.0\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nhost: a\r\nHost: b\r\n\r\n"),
        (400, "GET http://b/ HTTP/1.1\r\nhost: a\r\n\r\n"),
        (400, "GET http://u@a/ HTTP/1.1\r\nhost: u@a\r\n\r\n"),
        (400, "GET ftp://a/ HTTP/1.1\r\nhost: a\r\n\r\n"),
        (400, "GET x HTTP/1.1\r\nhost: a\r\n\r\n"),
        (400, "GET /#x HTTP/1.1\r\nhost: a\r\n\r\n"),
        (400, "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n"),
        (400, "OPTIONS http://a HTTP/1.1\r\nhost: a\r\n\r\n"),
        (405, "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n"),
        (505, "GET / HTTP/2.0\r\nhost: a\r\n\r\n"),
        // What could split the head of the answer.
        (400, "GET /\r\nx: y HTTP/1.1\r\nhost: a\r\n\r\n"),
        (400, "GET /\rx HTTP/1.1\r\nhost: a\r\n\r\n"),
        (400, "GET /\nx: y HTTP/1.1\r\nhost: a\r\n\r\n"),
        (400, "GET /\0 HTTP/1.1\r\nhost: a\r\n\r\n"),
        (400, "GET /\u{e9} HTTP/1.1\r\nhost: a\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nhost: a\rx\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nhost: a\r\n x\r\n\r\n"),
        // Framing that two could read differently.
        (
            400,
            "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        ),
        (400, "\x16\x03\x01\x02\x00\x01"),
    ] {
        let answer = gateway.told(request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request:?}: {answer}"
        );
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        assert_eq!(location(&answer), None, "{request:?}");
        assert_eq!(answer.matches("content-length: ").count(), 1, "{answer}");
    }
    for host in [
        "", ".", ".:80", "a b", "a/b", "a,b", "u@a", "a\\b", "a\"", "a:x", "::1", "[::1", "a%0d",
    ] {
        let answer = gateway
            .told(format!("GET /b.example/ HTTP/1.1\r\nhost: {host}\r\n\r\n"))
            .await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{host:?}: {answer}");
        assert_eq!(location(&answer), None, "{host:?}");
    }
    // HEAD has no body there, either.
    let answer = gateway.told("HEAD / HTTP/1.1\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
    gateway.metrics_say("anp_gateway_redirects_total 0").await;
}

#[tokio::test]
async fn neither_health_nor_tunnels_are_behind_it() {
    let authority = Authority::new();
    let gateway = start(Config {
        health_path: Some("/-/healthz".to_owned()),
        tunnel_path: Some("/anpx".to_owned()),
        ..redirecting(&authority)
    })
    .await;
    let mut caller = gateway.plain_caller().await;
    caller.get("/-/healthz").await;
    assert!(caller.head().await.starts_with("HTTP/1.1 308 "));
    let offer = [("Sec-WebSocket-Protocol", "anpx.v2")];
    caller.handshake("/anpx", &offer).await;
    let head = caller.head().await;
    assert_eq!(location(&head), Some("https://test/anpx"));
    // HTTP/2 is not spoken.
    assert_eq!(gateway.told("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await, "");
}

#[tokio::test]
async fn heads_and_idle_connections_are_bounded() {
    let authority = Authority::new();
    let impatient = start(Config {
        head_timeout: Span::from_millis(50),
        ..redirecting(&authority)
    })
    .await;
    assert_eq!(impatient.told("").await, "");
    assert_eq!(impatient.told("GET / HTTP/1.1\r\nhost: a\r\n").await, "");
    let gateway = start(Config {
        keep_alive_timeout: Span::from_millis(50),
        ..redirecting(&authority)
    })
    .await;
    let answer = gateway.told("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
    let large = "x".repeat(64 << 10);
    let answer = gateway
        .told(format!("GET / HTTP/1.1\r\nhost: a\r\nx: {large}\r\n\r\n"))
        .await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let answer = gateway.told(format!("GET /{large}")).await;
    assert!(answer.starts_with("HTTP/1.1 414 "), "{answer}");
}

#[tokio::test]
async fn its_connections_are_counted_apart() {
    let authority = Authority::new();
    let gateway = start(Config {
        max_connections: 1,
        health_path: Some("/-/healthz".to_owned()),
        ..redirecting(&authority)
    })
    .await;
    let mut one = gateway.plain_caller().await;
    one.get("/").await;
    one.head().await;
    let answer = gateway.told("").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    gateway
        .metrics_say("anp_gateway_connections_refused_total 1")
        .await;
    // A caller finds a place all the same.
    let mut caller = gateway.caller().await;
    caller.get("/").await;
    let answer = caller.rest().await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    gateway
        .metrics_say("anp_gateway_connections_refused_total 1")
        .await;
    one.get("/").await;
    assert!(one.head().await.starts_with("HTTP/1.1 308 "));
}

#[tokio::test]
async fn a_balancer_says_there_too_whose_connection_it_is() {
    let authority = Authority::new();
    let gateway = start(Config {
        proxy_protocol: true,
        trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
        ..redirecting(&authority)
    })
    .await;
    let request = "GET /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let header = "PROXY TCP4 192.0.2.1 203.0.113.9 40000 80\r\n";
    let answer = gateway.told(format!("{header}{request}")).await;
    assert_eq!(location(&answer), Some("https://a/x"), "{answer}");
    assert_eq!(gateway.told(request).await, "");
}

#[tokio::test]
async fn a_graceful_stop_closes_it() {
    let authority = Authority::new();
    let gateway = start(redirecting(&authority)).await;
    let mut idle = gateway.plain_caller().await;
    idle.get("/").await;
    idle.head().await;
    // One whose first request is still to come.
    let mut new = gateway.plain_caller().await;
    gateway.shutdown.send_replace(Shutdown::Graceful);
    soon(async { while TcpStream::connect(gateway.redirect.unwrap()).await.is_ok() {} }).await;
    for caller in [&mut idle, &mut new] {
        caller.get("/last").await;
        let last = caller.rest().await;
        assert!(last.starts_with("HTTP/1.1 308 "), "{last}");
        assert!(last.contains("connection: close\r\n"), "{last}");
    }
    drop((idle, new));
    soon(gateway.ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_replaced_gateway_leaves_it_to_the_next() {
    let authority = Authority::new();
    let old = Gateway::bind(redirecting(&authority)).await.unwrap();
    let at = old.redirect_addr().unwrap();
    let next = following(&old, redirecting(&authority)).await;
    assert_eq!(next.redirect_addr(), Some(at));
    let old = run(old);
    old.shutdown.send_replace(Shutdown::Replaced);
    soon(old.ended).await.unwrap().unwrap();
    // The system holds it until the next gateway runs.
    let mut early = Caller::connect(at).await;
    early.get("/early").await;
    let _gateway = run(next);
    assert_eq!(location(&early.head().await), Some("https://test/early"));
}

#[tokio::test]
async fn a_gateway_without_it_gives_it_up_and_one_that_has_it_opens_it() {
    let authority = Authority::new();
    let without = || Config {
        redirect_listen: None,
        ..redirecting(&authority)
    };
    let old = Gateway::bind(redirecting(&authority)).await.unwrap();
    let at = old.redirect_addr().unwrap();
    let next = Gateway::bind_with(without(), old.listeners().unwrap()).await;
    let next = next.unwrap();
    drop(old);
    assert_eq!(next.redirect_addr(), None);
    let given = next.listeners().unwrap();
    let _running = run(next);
    soon(async { while TcpStream::connect(at).await.is_ok() {} }).await;
    let again = Gateway::bind_with(redirecting(&authority), given).await;
    let again = run(again.unwrap());
    let answer = again.told("GET / HTTP/1.0\r\nhost: a\r\n\r\n").await;
    assert_eq!(location(&answer), Some("https://a/"));
}
