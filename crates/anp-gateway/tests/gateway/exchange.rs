//! Heads both ways, statuses of the gateway's own, keep-alive.

use anp_gateway::Endpoint;
use anpx::session::End;
use bytes::Bytes;

use crate::support::{answer, body, config, head, soon, start};

fn problem(response: &str) -> serde_json::Value {
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains("content-type: application/problem+json"),
        "{head}"
    );
    serde_json::from_str(body).unwrap()
}

#[tokio::test]
async fn the_app_sees_what_the_caller_sent() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller
        .send("PATCH /a%2Fb/../c?x=%20&y HTTP/1.1\r\nHost: Some.Host:99\r\nCookie: a=1\r\nConnection: x-hop\r\n\
               X-Hop: 1\r\nX-Forwarded-For: 6.6.6.6\r\nCookie: b=2\r\nContent-Length: 5\r\n\r\nhello")
        .await;
    let mut request = receiver.accept().await;
    assert_eq!(&request.head.method[..], b"PATCH");
    assert_eq!(&request.head.target[..], b"/a%2Fb/../c?x=%20&y");
    assert_eq!(&request.head.authority[..], b"Some.Host:99");
    assert_eq!(&request.head.scheme[..], b"http");
    let address = caller.socket.local_addr().unwrap().to_string();
    assert_eq!(
        request.head.client_addr.as_deref(),
        Some(address.as_bytes())
    );
    let fields = &request.head.headers;
    let cookies: Vec<_> = fields.iter().filter(|(n, _)| *n == b"cookie").collect();
    assert_eq!(cookies.len(), 2);
    assert_eq!(fields.get("x-hop"), None);
    assert_eq!(fields.get("x-forwarded-for"), Some(&b"127.0.0.1"[..]));
    assert_eq!(fields.get("x-forwarded-host"), Some(&b"Some.Host:99"[..]));
    assert_eq!(
        fields.get("x-request-id"),
        Some(&request.head.request_id[..])
    );
    assert_eq!(body(&mut request.body).await.unwrap(), b"hello");

    let fields = [
        ("set-cookie", "a=1"),
        ("content-length", "2"),
        ("set-cookie", "b=2"),
    ];
    let ok = Bytes::from_static(b"ok");
    request
        .response
        .respond(&head(299, &fields), ok, End::Yes)
        .unwrap();
    let response = caller.head().await;
    assert!(response.starts_with("HTTP/1.1 299 "), "{response}");
    assert!(response.contains("set-cookie: a=1\r\n") && response.contains("set-cookie: b=2\r\n"));
    assert_eq!(caller.exactly(2).await, b"ok");
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    // The second is there before the first is answered.
    caller.get("/1").await;
    caller.get("/2").await;
    for n in ["/1", "/2"] {
        let mut request = receiver.accept().await;
        assert_eq!(&request.head.target[..], n.as_bytes());
        answer(&mut request, 200, "ok");
        let head = caller.head().await;
        assert!(head.contains("content-length: 2"), "{head}");
        assert_eq!(caller.exactly(2).await, b"ok");
    }
}

#[tokio::test]
async fn answers_without_a_body() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    for (method, status, length) in [
        ("HEAD", 200, "7"),
        ("GET", 304, "9"),
        ("GET", 204, ""),
        ("GET", 200, "0"),
    ] {
        caller
            .send(format!("{method} / HTTP/1.1\r\nhost: h\r\n\r\n"))
            .await;
        let mut request = receiver.accept().await;
        let fields: &[_] = match length {
            "" => &[],
            length => &[("content-length", length)],
        };
        let head = head(status, fields);
        request
            .response
            .respond(&head, Bytes::new(), End::Yes)
            .unwrap();
        let response = caller.head().await;
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status} ")),
            "{response}"
        );
        assert_eq!(
            response.contains("content-length"),
            !length.is_empty(),
            "{response}"
        );
        assert!(!response.contains("transfer-encoding"), "{response}");
    }
    caller.get("/last").await;
    answer(&mut receiver.accept().await, 200, "ok");
    assert!(caller.head().await.contains("content-length: 2"));
}

#[tokio::test]
async fn without_a_receiver_503() {
    let gateway = start(config()).await;
    let response = gateway.get("/").await;
    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
    assert!(response.contains("retry-after: 1\r\n"), "{response}");
    let problem = problem(&response);
    assert_eq!(problem["status"], 503);
    assert_eq!(problem["request_id"].as_str().unwrap().len(), 36);
}

#[tokio::test]
async fn endpoints_are_chosen_by_host_and_path() {
    let endpoint = |name: &str, host: Option<&str>, path: &str| Endpoint {
        name: name.to_owned(),
        host: host.map(str::to_owned),
        path: path.to_owned(),
        receivers: vec![name.to_owned()],
        ..Endpoint::default()
    };
    let gateway = start(anp_gateway::Config {
        endpoints: vec![
            endpoint("a", None, "/a"),
            endpoint("b", Some("b.test"), "/"),
        ],
        ..config()
    })
    .await;
    let a = gateway
        .receiver_with(
            "a",
            anp_tunnel::TunnelConfig::new(anpx::session::Role::Receiver),
        )
        .await;
    let mut caller = gateway.caller().await;
    caller.get("/a/x").await;
    answer(&mut a.accept().await, 200, "a");
    caller.until("\r\n\r\na").await;

    assert!(gateway.get("/b").await.starts_with("HTTP/1.1 404 "));
    assert!(gateway.get("/x/../a").await.starts_with("HTTP/1.1 400 "));
    caller.send("GET / HTTP/1.1\r\nhost: b.test\r\n\r\n").await;
    assert!(caller.head().await.starts_with("HTTP/1.1 503 "));
}

#[tokio::test]
async fn bad_requests_are_told_why() {
    let gateway = start(config()).await;
    let long = format!("GET /{} HTTP/1.1\r\nhost: h\r\n\r\n", "x".repeat(17_000));
    let many = format!(
        "GET / HTTP/1.1\r\nhost: h\r\n{}\r\n",
        "a: b\r\n".repeat(300)
    );
    let huge = format!(
        "GET / HTTP/1.1\r\nhost: h\r\na: {}\r\n\r\n",
        "x".repeat(70_000)
    );
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        ("GET http://a/ HTTP/1.1\r\nhost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: u@h\r\n\r\n", 400),
        ("GET / HTTP/9\r\nhost: h\r\n\r\n", 400),
        ("CONNECT h:1 HTTP/1.1\r\nhost: h:1\r\n\r\n", 405),
        (
            "GET / HTTP/1.1\r\nhost: h\r\ncontent-length: x\r\n\r\n",
            400,
        ),
        (&long, 414),
        (&many, 431),
        (&huge, 431),
    ] {
        let mut caller = gateway.caller().await;
        caller.send(request).await;
        let head = caller.head().await;
        let shown = &request[..request.len().min(60)];
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{shown:?} {head}"
        );
    }
}

#[tokio::test]
async fn a_late_answer_is_504() {
    let gateway = start(anp_gateway::Config {
        response_timeout: anp_tunnel::units::Span::from_millis(50),
        ..config()
    })
    .await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller.get("/").await;
    let request = receiver.accept().await;
    let response = caller.head().await;
    assert!(response.starts_with("HTTP/1.1 504 "), "{response}");
    drop(request);
    // The connection goes on.
    caller.until("}\n").await;
    caller.get("/").await;
    answer(&mut soon(receiver.accept()).await, 200, "ok");
    assert!(caller.head().await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_version_1_receiver_serves_as_well() {
    let gateway = start(config()).await;
    let receiver = gateway.receiver_v1().await;
    let mut caller = gateway.caller().await;
    // The gateway says 100 itself: version 1 has no word for it.
    caller
        .send("POST /a%20b?x=1 HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n")
        .await;
    assert_eq!(caller.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    caller.send("body").await;
    let mut request = receiver.accept().await;
    assert_eq!(&request.head.target[..], b"/a%20b?x=1");
    assert_eq!(request.head.headers.get("expect"), None);
    assert_eq!(body(&mut request.body).await.unwrap(), b"body");
    answer(&mut request, 200, "ok");
    caller.until("\r\n\r\nok").await;
}

#[tokio::test]
async fn one_connection_too_many_is_503() {
    let gateway = start(anp_gateway::Config {
        max_connections: 1,
        ..config()
    })
    .await;
    let receiver = gateway.receiver().await;
    let mut first = gateway.caller().await;
    first.get("/").await;
    answer(&mut receiver.accept().await, 200, "ok");
    first.until("ok").await;
    let response = gateway.caller().await.rest().await;
    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
    first.get("/").await;
    answer(&mut receiver.accept().await, 200, "ok");
    first.until("ok").await;
}
