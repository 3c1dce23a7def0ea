//! What the status listener says of receivers that are not started, and to whom.

use anp_receiver::{Config, Monitor, Receiver};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

fn receiver(name: Option<&str>, gateways: &[&str]) -> Monitor {
    let config = Config {
        gateways: gateways.iter().map(|url| url.parse().unwrap()).collect(),
        to: vec!["http://127.0.0.1:9".parse().unwrap()],
        name: name.map(str::to_owned),
        ..Config::default()
    };
    Receiver::new(config).unwrap().monitor()
}

/// The status of these receivers.
fn status(receivers: Vec<Monitor>) -> Status {
    let watched = Watched::default();
    watched.follow(receivers);
    Status::new(Arc::new(watched))
}

/// Status, the header `name`, and the body.
async fn ask(status: &Status, method: &str, path: &str, name: &str) -> (u16, String, String) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(())
        .unwrap();
    let reply = status.answer(&request);
    let header = reply.headers().get(name);
    let header = header
        .map_or("", |value| value.to_str().unwrap())
        .to_owned();
    let status = reply.status().as_u16();
    let body = reply.into_body().collect().await.unwrap().to_bytes();
    (status, header, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn paths_and_methods_are_few() {
    let status = status(vec![receiver(None, &["ws://a.example"])]);
    let text = "text/plain; charset=utf-8";
    for method in ["GET", "HEAD"] {
        let (code, kind, body) = ask(&status, method, "/healthz", "content-type").await;
        assert_eq!((code, &*kind, &*body), (200, text, "ok\n"));
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        for path in ["/healthz", "/readyz", "/metrics"] {
            let (code, allow, _) = ask(&status, method, path, "allow").await;
            assert_eq!((code, &*allow), (405, "GET, HEAD"), "{method} {path}");
        }
    }
    for path in ["/", "/healthz/", "/Metrics", "/stats", "/metrics/x"] {
        for method in ["GET", "POST"] {
            let (code, allow, _) = ask(&status, method, path, "allow").await;
            assert_eq!((code, &*allow), (404, ""), "{method} {path}");
        }
    }
    assert_eq!(ask(&status, "GET", "/metrics?x=y", "").await.0, 200);
}

#[tokio::test]
async fn who_is_not_ready_is_named() {
    let gateways = ["ws://a.example"];
    let both = [receiver(Some("one"), &gateways), receiver(None, &gateways)];
    let status = status(both.to_vec());
    let (code, _, body) = ask(&status, "GET", "/readyz", "").await;
    assert_eq!(code, 503);
    assert_eq!(
        body,
        "not ready\none: it is not started\nit is not started\n"
    );
}

#[tokio::test]
async fn every_series_says_whose_it_is() {
    let gateways = ["wss://a.example/t?key=secret", "ws://b.example:8765"];
    let status = status(vec![
        receiver(Some("one"), &gateways),
        // Twice the same: one series, or no scrape would be taken.
        receiver(None, &[gateways[1], gateways[1]]),
    ]);
    let (code, kind, body) = ask(&status, "GET", "/metrics", "content-type").await;
    assert_eq!((code, &*kind), (200, metrics::OPENMETRICS));
    let series: Vec<_> = body.lines().filter(|line| !line.starts_with('#')).collect();
    let mut known = series.clone();
    known.sort_unstable();
    known.dedup();
    assert_eq!(known.len(), series.len(), "{body}");
    assert!(
        body.ends_with("# EOF\n") && !body.contains("secret"),
        "{body}"
    );
    for line in [
        "anp_receiver_ready{receiver=\"one\"} 0",
        "anp_receiver_ready{receiver=\"\"} 0",
        "anp_receiver_tunnels{receiver=\"one\",gateway=\"wss://a.example/t\"} 0",
        "anp_receiver_tunnels{receiver=\"\",gateway=\"ws://b.example:8765\"} 0",
        "anp_receiver_tunnels_lost_total{receiver=\"one\",gateway=\"ws://b.example:8765\"} 0",
        "anp_receiver_requests_total{receiver=\"one\",class=\"2xx\"} 0",
        "anp_receiver_app_failures_total{receiver=\"\",kind=\"unreachable\"} 0",
    ] {
        assert!(series.contains(&line), "{line} is not in\n{body}");
    }
    // Nobody asks for the app's health.
    assert!(!body.contains("anp_receiver_app_up"), "{body}");
}

#[tokio::test]
async fn the_document_has_every_series() {
    let config = Config {
        gateways: vec!["ws://a.example".parse().unwrap()],
        to: vec!["http://127.0.0.1:9".parse().unwrap()],
        health_path: Some("/".to_owned()),
        ..Config::default()
    };
    let status = status(vec![Receiver::new(config).unwrap().monitor()]);
    let (_, _, body) = ask(&status, "GET", "/metrics", "").await;
    let series = body.lines().filter(|line| !line.starts_with('#'));
    let mut served: Vec<_> = series
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    served.dedup();
    let document = include_str!("../../../../docs/operations.md");
    // Those of gateways are told before; some are the same.
    let (_, own) = document.split_once("| `anp_receiver_ready`").unwrap();
    let rows = own.lines().filter_map(|line| {
        let name = line.strip_prefix("| `")?.split('`').next()?;
        name.starts_with("anp_").then_some(name)
    });
    let mut described: Vec<_> = rows.chain(["anp_receiver_ready"]).collect();
    served.sort_unstable();
    described.sort_unstable();
    assert_eq!(described, served);
}

async fn served() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let status = status(vec![receiver(None, &["ws://a.example"])]);
    tokio::spawn(serve(status, listener));
    address
}

#[tokio::test]
async fn an_answer_to_head_has_no_body_and_ends_the_connection() {
    let address = served().await;
    let mut answers = Vec::new();
    for method in ["GET", "HEAD"] {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let request = format!("{method} /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("content-length: 3\r\n"), "{answer}");
        answers.push(answer);
    }
    assert!(answers[0].ends_with("\r\n\r\nok\n"), "{}", answers[0]);
    assert!(answers[1].ends_with("\r\n\r\n"), "{}", answers[1]);
}

#[tokio::test]
async fn places_are_limited() {
    let address = served().await;
    let mut first = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        first.push(TcpStream::connect(address).await.unwrap());
    }
    let mut more = TcpStream::connect(address).await.unwrap();
    // It is closed, although nothing was asked.
    assert_eq!(more.read(&mut [0]).await.unwrap_or(0), 0);
    // Whoever was there before is answered.
    let last = first.last_mut().unwrap();
    last.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    assert_ne!(last.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_asks_nothing_keeps_no_place() {
    let address = served().await;
    for begun in ["", "GET /healthz HTTP/1.1\r\nhost"] {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(begun.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // It was reset, or closed.
        let ended = timeout(2 * PATIENCE, socket.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "{begun:?}");
        assert_eq!(answer, b"", "{begun:?}");
    }
}
