//! CORS at the gateway, in place of the app's.

use anp_gateway::{Config, Cors, Endpoint, Switch};
use anpx::session::End;
use h2::client;
use http::Request;

use crate::support::{Running, config, head, soon, start};

const PREFLIGHT: &str = "OPTIONS /x HTTP/1.1\r\nhost: test\r\norigin: https://app.example\r\n\
                         access-control-request-method: PUT\r\n\
                         access-control-request-headers: authorization\r\n\r\n";

fn cors(text: &str) -> Option<Switch<Cors>> {
    Some(serde_json::from_str(text).unwrap())
}

/// One origin may read what `/` serves, nobody is told anything at `/own`.
async fn one_origin() -> Running {
    let endpoint = |name: &str, path: &str, cors| Endpoint {
        name: name.to_owned(),
        path: path.to_owned(),
        receivers: vec!["r".to_owned()],
        cors,
        ..Endpoint::default()
    };
    start(Config {
        cors: cors(r#"{"origins": ["https://app.example"], "credentials": true}"#),
        endpoints: vec![
            endpoint("all", "/", None),
            endpoint("own", "/own", cors("false")),
        ],
        ..config()
    })
    .await
}

#[tokio::test]
async fn a_preflight_needs_no_receiver() {
    let gateway = one_origin().await;
    let mut caller = gateway.caller().await;
    // The connection goes on.
    for _ in 0..2 {
        caller.send(PREFLIGHT).await;
        let head = caller.head().await;
        assert!(head.starts_with("HTTP/1.1 204 No Content\r\n"), "{head}");
        for field in [
            "access-control-allow-origin: https://app.example\r\n",
            "access-control-allow-credentials: true\r\n",
            "access-control-allow-methods: GET, HEAD, POST, PUT, PATCH, DELETE\r\n",
            "access-control-allow-headers: authorization\r\n",
            "access-control-max-age: 3600\r\n",
            "vary: origin\r\n",
        ] {
            assert!(head.contains(field), "{field} in {head}");
        }
        assert!(!head.contains("content-length"), "{head}");
    }
    caller
        .send(PREFLIGHT.replace("app.example", "evil.example"))
        .await;
    let head = caller.head().await;
    assert!(
        head.starts_with("HTTP/1.1 204 ") && !head.contains("access-control-allow"),
        "{head}"
    );
}

#[tokio::test]
async fn the_gateways_word_counts_and_the_apps_does_not() {
    let gateway = one_origin().await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    let own = [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-private-network", "true"),
        ("vary", "accept"),
        ("content-length", "0"),
    ];
    for (path, origin, ours) in [
        ("/", "https://app.example", true),
        ("/", "https://evil.example", false),
        ("/own", "https://evil.example", false),
    ] {
        caller
            .send(format!(
                "GET {path} HTTP/1.1\r\nhost: test\r\norigin: {origin}\r\n\r\n"
            ))
            .await;
        let mut request = receiver.accept().await;
        assert_eq!(request.head.headers.get("origin"), Some(origin.as_bytes()));
        let response = head(200, &own);
        request
            .response
            .respond(&response, "".into(), End::Yes)
            .unwrap();
        let head = caller.head().await;
        let granted = head.contains("access-control-allow-origin: https://app.example\r\n");
        assert_eq!(granted, ours, "{head}");
        let theirs = head.contains("access-control-allow-origin: *")
            && head.contains("access-control-allow-private-network");
        assert_eq!(theirs, path == "/own", "{head}");
        assert!(head.contains("vary: accept\r\n"), "{head}");
        assert_eq!(head.contains("vary: origin\r\n"), path == "/", "{head}");
    }
}

#[tokio::test]
async fn scripts_may_read_the_gateways_own_answers() {
    let gateway = one_origin().await;
    let mut caller = gateway.caller().await;
    caller
        .send("GET / HTTP/1.1\r\nhost: test\r\norigin: https://app.example\r\n\r\n")
        .await;
    let head = caller.head().await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(
        head.contains("access-control-allow-origin: https://app.example\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn preflights_of_http2_and_other_uses_of_options() {
    let gateway = one_origin().await;
    let socket = gateway.caller().await.socket;
    let (send, connection) = soon(client::handshake(socket)).await.unwrap();
    tokio::spawn(connection);
    let mut send = soon(send.ready()).await.unwrap();
    let ask = |method: Option<&str>| {
        let ask = Request::options("http://test/x").header("origin", "https://app.example");
        let ask = method.into_iter().fold(ask, |ask, method| {
            ask.header("access-control-request-method", method)
        });
        ask.body(()).unwrap()
    };
    let (response, _): (_, h2::SendStream<bytes::Bytes>) =
        send.send_request(ask(Some("PUT")), true).unwrap();
    let response = soon(response).await.unwrap();
    assert_eq!(response.status(), 204);
    assert_eq!(
        response.headers()["access-control-allow-origin"],
        "https://app.example"
    );
    assert!(!response.headers().contains_key("content-length"));

    let receiver = gateway.receiver().await;
    let (response, _) = send.send_request(ask(None), true).unwrap();
    let mut request = receiver.accept().await;
    assert_eq!(&request.head.method[..], b"OPTIONS");
    request
        .response
        .respond(&head(200, &[]), "".into(), End::Yes)
        .unwrap();
    assert_eq!(soon(response).await.unwrap().status(), 200);
}
