//! Security headers, times of an endpoint, prefixes that are taken off.

use anp_gateway::{Config, Endpoint, SecurityHeaders, Switch};
use anp_tunnel::units::Span;
use anpx::session::End;
use h2::client;
use http::Request;

use crate::support::{Running, answer, config, head, soon, start};

async fn with(endpoint: Endpoint, more: Config) -> Running {
    start(Config {
        endpoints: vec![Endpoint {
            name: "e".to_owned(),
            receivers: vec!["r".to_owned()],
            ..endpoint
        }],
        ..more
    })
    .await
}

#[tokio::test]
async fn careful_headers_where_the_app_sets_none() {
    let more = Config {
        security_headers: Some(Switch::On(SecurityHeaders::default())),
        trusted_proxies: vec!["127.0.0.1".parse().unwrap()],
        ..config()
    };
    let gateway = with(Endpoint::default(), more).await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    for scheme in ["http", "https"] {
        caller
            .send(format!(
                "GET / HTTP/1.1\r\nhost: test\r\nx-forwarded-proto: {scheme}\r\n\r\n"
            ))
            .await;
        let fields = [("x-frame-options", "DENY"), ("content-length", "0")];
        let mut request = receiver.accept().await;
        request
            .response
            .respond(&head(200, &fields), "".into(), End::Yes)
            .unwrap();
        let head = caller.head().await;
        assert!(head.contains("x-frame-options: DENY\r\n"), "{head}");
        assert!(!head.contains("SAMEORIGIN"), "{head}");
        assert!(
            head.contains("x-content-type-options: nosniff\r\n"),
            "{head}"
        );
        assert_eq!(
            head.contains("strict-transport-security: "),
            scheme == "https",
            "{head}"
        );
    }
}

#[tokio::test]
async fn the_apps_prefix_is_its_own_affair() {
    let endpoint = Endpoint {
        path: "/a/b".to_owned(),
        strip_prefix: true,
        ..Endpoint::default()
    };
    let gateway = with(endpoint, config()).await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    for (target, seen) in [
        ("/a/b/c%2F?d=/a/b", "/c%2F?d=/a/b"),
        ("/a/b?x", "/?x"),
        ("/a/b", "/"),
    ] {
        caller
            .send(format!(
                "GET {target} HTTP/1.1\r\nhost: test\r\nx-forwarded-prefix: /evil\r\n\r\n"
            ))
            .await;
        let mut request = receiver.accept().await;
        assert_eq!(&request.head.target[..], seen.as_bytes());
        let prefixes: Vec<_> = request
            .head
            .headers
            .iter()
            .filter(|(name, _)| *name == b"x-forwarded-prefix")
            .map(|(_, value)| value)
            .collect();
        assert_eq!(prefixes, [b"/a/b"]);
        answer(&mut request, 200, "ok");
        caller.until("\r\n\r\nok").await;
    }
    assert!(gateway.get("/a/b//x").await.starts_with("HTTP/1.1 400 "));
    assert!(
        gateway
            .get("/a/b/../b/x")
            .await
            .starts_with("HTTP/1.1 400 ")
    );
}

/// An endpoint that waits longer than its gateway, and one that does not wait so long.
async fn patient_and_not() -> Running {
    let endpoint = |name: &str, millis| Endpoint {
        name: name.to_owned(),
        path: format!("/{name}"),
        receivers: vec!["r".to_owned()],
        response_timeout: Some(Span::from_millis(millis)),
        idle_timeout: Some(Span::from_millis(millis)),
        ..Endpoint::default()
    };
    start(Config {
        endpoints: vec![endpoint("patient", 60_000), endpoint("not", 50)],
        response_timeout: Span::from_millis(200),
        idle_timeout: Span::from_millis(200),
        ..config()
    })
    .await
}

#[tokio::test]
async fn an_endpoint_has_times_of_its_own() {
    let gateway = patient_and_not().await;
    let receiver = gateway.receiver().await;
    let mut patient = gateway.caller().await;
    patient.get("/patient").await;
    let mut held = receiver.accept().await;
    let mut caller = gateway.caller().await;
    // Far more than the gateway would wait for the other.
    for _ in 0..8 {
        caller.get("/not").await;
        assert!(caller.head().await.starts_with("HTTP/1.1 504 "));
        caller.until("}\n").await;
    }
    answer(&mut held, 200, "at last");
    patient.until("at last").await;
}

#[tokio::test]
async fn and_over_http2_the_connection_waits_as_long() {
    let gateway = patient_and_not().await;
    let receiver = gateway.receiver().await;
    let socket = gateway.caller().await.socket;
    let (send, connection) = soon(client::handshake(socket)).await.unwrap();
    tokio::spawn(connection);
    let mut send = soon(send.ready()).await.unwrap();
    let get = |path: &str| Request::get(format!("http://test{path}")).body(()).unwrap();
    let (patient, _): (_, h2::SendStream<bytes::Bytes>) =
        send.send_request(get("/patient"), true).unwrap();
    let mut held = receiver.accept().await;
    // Meanwhile the connection's own time is over, which is 2 s more than a request's.
    let mut clock = gateway.caller().await;
    for _ in 0..48 {
        clock.get("/not").await;
        clock.until("}\n").await;
    }
    answer(&mut held, 200, "at last");
    assert_eq!(soon(patient).await.unwrap().status(), 200);
}
