//! Limits of clients, endpoints and tenants.

use anp_gateway::{Config, Endpoint, RateLimit, Switch};
use anp_tunnel::{Part, TunnelConfig, units::Span};
use anpx::session::{End, Role};
use tokio::net::TcpSocket;

use crate::support::{
    Caller, Receiver, Running, answer, body, config, endpoint, head, part, send, soon, start,
};

fn limit(text: &str) -> Option<Switch<RateLimit>> {
    Some(serde_json::from_str(text).unwrap())
}

/// Asks on a connection of its own and has the app answer; the response's head.
async fn served(gateway: &Running, receiver: &Receiver, path: &str) -> String {
    let mut caller = gateway.caller().await;
    caller.get(path).await;
    answer(&mut receiver.accept().await, 200, "ok");
    caller.until("\r\n\r\nok").await
}

#[tokio::test]
async fn one_address_uses_up_its_own_limit() {
    let gateway = start(Config {
        client_rate: limit(r#"{"requests": "1/h", "burst": 2}"#),
        endpoints: vec![
            endpoint("a", "r"),
            endpoint("b", "r"),
            Endpoint {
                client_rate: limit("false"),
                ..endpoint("free", "r")
            },
            Endpoint {
                client_rate: limit(r#"{"requests": "1/h"}"#),
                ..endpoint("own", "r")
            },
        ],
        ..config()
    })
    .await;
    let receiver = gateway.receiver().await;
    let first = served(&gateway, &receiver, "/a").await;
    assert!(
        first.contains("ratelimit-policy: \"client\";q=2;w=7200\r\n"),
        "{first}"
    );
    assert!(
        first.contains("ratelimit: \"client\";r=1;t=3600\r\n"),
        "{first}"
    );
    let second = served(&gateway, &receiver, "/b").await;
    assert!(
        second.contains("ratelimit: \"client\";r=0;t=7200\r\n"),
        "{second}"
    );

    let refused = gateway.get("/a").await;
    let (head, problem) = refused.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("HTTP/1.1 429 Too Many Requests\r\n"),
        "{head}"
    );
    assert!(head.contains("retry-after: 3600\r\n"), "{head}");
    assert!(
        head.contains("ratelimit: \"client\";r=0;t=3600\r\n"),
        "{head}"
    );
    let problem: serde_json::Value = serde_json::from_str(problem).unwrap();
    assert_eq!(problem["violated-policies"], serde_json::json!(["client"]));

    let free = served(&gateway, &receiver, "/free").await;
    assert!(!free.contains("ratelimit"), "{free}");
    served(&gateway, &receiver, "/own").await;
    assert!(gateway.get("/own").await.starts_with("HTTP/1.1 429 "));

    // Somebody else has as much.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = Caller::on(soon(socket.connect(gateway.public)).await.unwrap());
    other.get("/a").await;
    answer(&mut receiver.accept().await, 200, "ok");
    other.until("\r\n\r\nok").await;

    let mut admin = Caller::connect(gateway.admin).await;
    admin
        .send("GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await;
    let metrics = admin.rest().await;
    assert!(
        metrics.contains("anp_gateway_rate_limited_total 2\n"),
        "{metrics}"
    );
}

#[tokio::test]
async fn who_is_behind_a_proxy_counts_and_not_the_proxy() {
    let gateway = start(Config {
        client_rate: limit(r#"{"requests": "1/h"}"#),
        trusted_proxies: vec!["127.0.0.1".parse().unwrap()],
        ..config()
    })
    .await;
    let receiver = gateway.receiver().await;
    for (client, status) in [
        ("192.0.2.1", 200),
        ("192.0.2.2", 200),
        ("192.0.2.1", 429),
        ("2001:db8::1", 200),
        ("2001:db8::2", 429),
        ("2001:db8:0:1::1", 200),
    ] {
        let mut caller = gateway.caller().await;
        caller
            .send(format!(
                "GET / HTTP/1.1\r\nhost: test\r\nx-forwarded-for: {client}\r\n\r\n"
            ))
            .await;
        if status == 200 {
            answer(&mut receiver.accept().await, 200, "ok");
        }
        let head = caller.head().await;
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{client}: {head}"
        );
    }
}

#[tokio::test]
async fn an_endpoint_and_a_tenant_have_limits_of_their_own() {
    let gateway = start(Config {
        endpoint_rate: limit(r#"{"requests": "1/h", "burst": 2}"#),
        tenant_rate: limit(r#"{"requests": "1/h", "burst": 3}"#),
        endpoints: vec![
            endpoint("a", "r"),
            endpoint("b", "r"),
            endpoint("c", "other"),
        ],
        ..config()
    })
    .await;
    let receiver = gateway.receiver().await;
    served(&gateway, &receiver, "/a").await;
    let both = served(&gateway, &receiver, "/a").await;
    assert!(
        both.contains("ratelimit: \"endpoint\";r=0;t=7200, \"tenant\";r=1;t=7200\r\n"),
        "{both}"
    );
    assert!(
        gateway
            .get("/a")
            .await
            .contains("\"violated-policies\":[\"endpoint\"]")
    );
    served(&gateway, &receiver, "/b").await;
    assert!(
        gateway
            .get("/b")
            .await
            .contains("\"violated-policies\":[\"tenant\"]")
    );
    let other = gateway
        .receiver_with("other", TunnelConfig::new(Role::Receiver))
        .await;
    served(&gateway, &other, "/c").await;
}

#[tokio::test]
async fn a_tenant_has_so_many_requests_at_once() {
    let gateway = start(Config {
        tenant_max_requests: Some(1),
        endpoints: vec![
            endpoint("a", "r"),
            endpoint("b", "r"),
            endpoint("c", "other"),
        ],
        ..config()
    })
    .await;
    let receiver = gateway.receiver().await;
    let other = gateway
        .receiver_with("other", TunnelConfig::new(Role::Receiver))
        .await;
    let mut first = gateway.caller().await;
    first.get("/a").await;
    let mut held = receiver.accept().await;
    let refused = gateway.get("/b").await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 1\r\n"));
    served(&gateway, &other, "/c").await;
    answer(&mut held, 200, "a");
    first.until("\r\n\r\na").await;
    first.get("/b").await;
    answer(&mut receiver.accept().await, 200, "b");
    first.until("\r\n\r\nb").await;
}

/// `slow` may move 16 KiB a second, others anything; nothing may stand still.
async fn paced() -> Running {
    start(Config {
        endpoints: vec![
            Endpoint {
                endpoint_rate: limit(r#"{"bytes": "16KiB"}"#),
                idle_timeout: Some(Span::from_millis(100)),
                response_timeout: Some(Span::from_millis(100)),
                ..endpoint("slow", "r")
            },
            endpoint("fast", "r"),
        ],
        ..config()
    })
    .await
}

#[tokio::test]
async fn a_download_is_held_back_and_not_broken() {
    let gateway = paced().await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller.get("/slow").await;
    let mut request = receiver.accept().await;
    let length = [("content-length", "32769")];
    let response = head(200, &length);
    request
        .response
        .respond(&response, "".into(), End::No)
        .unwrap();
    let first = vec![b'a'; 32 << 10];
    send(&mut request, first.into(), End::No).await.unwrap();
    caller.head().await;
    caller.exactly(32 << 10).await;
    send(&mut request, "b".into(), End::Yes).await.unwrap();
    // A second's worth is owed: what is not held back passes meanwhile.
    for _ in 0..4 {
        served(&gateway, &receiver, "/fast").await;
    }
    let mut early = [0];
    let read = caller.socket.try_read(&mut early).map_err(|e| e.kind());
    assert_eq!(read, Err(std::io::ErrorKind::WouldBlock));
    assert_eq!(caller.exactly(1).await, b"b");
}

#[tokio::test]
async fn what_is_held_back_keeps_its_http2_connection() {
    let span = Span::from_millis(100);
    let gateway = start(Config {
        endpoints: vec![Endpoint {
            endpoint_rate: limit(r#"{"bytes": "16KiB"}"#),
            ..endpoint("slow", "r")
        }],
        idle_timeout: span,
        response_timeout: span,
        ..config()
    })
    .await;
    let receiver = gateway.receiver().await;
    let socket = gateway.caller().await.socket;
    let (mut caller, connection) = soon(h2::client::handshake(socket)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("http://test/slow").body(()).unwrap();
    let (response, _) = caller.send_request(request, true).unwrap();
    let mut request = receiver.accept().await;
    let length = [("content-length", "65537")];
    let (head, end) = (head(200, &length), End::No);
    request.response.respond(&head, "".into(), end).unwrap();
    let first = vec![b'a'; 64 << 10];
    send(&mut request, first.into(), End::No).await.unwrap();
    // The last byte is held back longer than a connection on which nothing moves is kept.
    send(&mut request, "b".into(), End::Yes).await.unwrap();
    let mut body = soon(response).await.unwrap().into_body();
    let mut came = 0;
    while let Some(data) = soon(body.data()).await {
        let len = data.unwrap().len();
        body.flow_control().release_capacity(len).unwrap();
        came += len;
    }
    assert_eq!(came, (64 << 10) + 1);
}

#[tokio::test]
async fn an_upload_is_held_back_and_not_broken() {
    let gateway = paced().await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    let length = 48 << 10;
    caller
        .send(format!(
            "POST /slow HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n"
        ))
        .await;
    let mut request = receiver.accept().await;
    caller.send(vec![b'a'; 32 << 10]).await;
    let mut came = 0;
    while came < 32 << 10 {
        match part(&mut request.body).await {
            Some(Ok(Part::Data(data, End::No))) => came += data.len(),
            other => panic!("{other:?}"),
        }
    }
    caller.send(vec![b'b'; 16 << 10]).await;
    for _ in 0..4 {
        served(&gateway, &receiver, "/fast").await;
    }
    // More than the time in which anything must move, and still it is whole in the end.
    assert_eq!(body(&mut request.body).await.unwrap().len(), 16 << 10);
    answer(&mut request, 200, "ok");
    caller.until("\r\n\r\nok").await;
}
