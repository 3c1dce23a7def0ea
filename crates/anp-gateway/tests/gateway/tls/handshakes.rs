//! What callers get, and what those get who are none.

use anp_gateway::{Config, Gateway, KeyPair};
use anp_tunnel::units::Span;
use anpx::{ResetCode, session::End};
use bytes::Bytes;
use h2::client;
use http::Request;
use tokio::io::AsyncReadExt;

use super::authority::{Authority, caller, connect, connect_to, receiver, settings, showing};
use crate::support::{Caller, answer, body, config, head, send, soon, start};

#[tokio::test]
async fn requests_and_bodies_cross_both_roads_as_https() {
    let authority = Authority::new();
    let gateway = start(showing(&authority.issue("gate", &["gate.example"]))).await;
    let receiver = receiver(gateway.tunnel, authority.client(&["http/1.1"])).await;
    let mut caller = caller(gateway.public, &authority).await;
    let large = Bytes::from(vec![b'x'; 3 << 20]);
    caller
        .send(format!(
            "POST / HTTP/1.1\r\nhost: gate.example\r\nx-forwarded-proto: http\r\n\
             forwarded: proto=http\r\nconnection: x-secret\r\nx-secret: 1\r\n\
             content-length: {}\r\n\r\n",
            large.len()
        ))
        .await;
    let mut request = receiver.accept().await;
    assert_eq!(&request.head.scheme[..], b"https");
    let told: Vec<_> = request
        .head
        .headers
        .iter()
        .map(|(n, v)| (String::from_utf8_lossy(n), String::from_utf8_lossy(v)))
        .collect();
    let of = |name: &str| -> Vec<_> { told.iter().filter(|(n, _)| n == name).collect() };
    assert_eq!(of("x-forwarded-proto").len(), 1);
    assert_eq!(of("x-forwarded-proto")[0].1, "https");
    assert!(of("forwarded")[0].1.contains("proto=https"), "{told:?}");
    assert!(of("x-secret").is_empty());

    let upload = caller.send(&large);
    let (got, ()) = tokio::join!(body(&mut request.body), upload);
    assert!(got.unwrap() == large);
    let ok = head(200, &[]);
    request
        .response
        .respond(&ok, Bytes::new(), End::No)
        .unwrap();
    let download = async {
        caller.head().await;
        let mut whole = Vec::new();
        loop {
            let size = caller.until("\r\n").await;
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            whole.extend(caller.exactly(size).await);
            caller.until("\r\n").await;
            if size == 0 {
                return whole;
            }
        }
    };
    let (sent, got) = tokio::join!(send(&mut request, large.clone(), End::Yes), download);
    sent.unwrap();
    assert!(got == large);
}

#[tokio::test]
async fn http2_is_spoken_where_the_caller_offers_it() {
    let authority = Authority::new();
    let gateway = start(showing(&authority.issue("gate", &["gate.example"]))).await;
    let receiver = receiver(gateway.tunnel, authority.client(&[])).await;
    for (offer, chosen) in [
        (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
        (&["http/1.1", "h2"], Some(b"h2")),
        (&["http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let stream = connect(gateway.public, authority.client(offer))
            .await
            .unwrap();
        assert_eq!(stream.alpn(), chosen);
    }
    let stream = connect(gateway.public, authority.client(&["h2"]))
        .await
        .unwrap();
    let (sender, connection) = soon(client::handshake(stream)).await.unwrap();
    tokio::spawn(async move {
        let _ = connection.await;
    });
    let mut sender = soon(sender.ready()).await.unwrap();
    let request = Request::get("https://gate.example/a").body(()).unwrap();
    let (response, _) = sender.send_request(request, true).unwrap();
    let mut request = receiver.accept().await;
    assert_eq!(&request.head.scheme[..], b"https");
    answer(&mut request, 200, "over h2");
    assert_eq!(soon(response).await.unwrap().status(), 200);
    // Receivers speak HTTP/1.1 alone, and whoever insists on another is told so.
    let error = connect(gateway.tunnel, authority.client(&["h2"]))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("NoApplicationProtocol"),
        "{error}"
    );
}

#[tokio::test]
async fn the_name_that_is_asked_for_decides_the_certificate() {
    let authority = Authority::new();
    let first = authority.issue("first", &["gate.example"]);
    let second = authority.issue("second", &["*.apps.example"]);
    let mut config = showing(&first);
    if let Some(tls) = &mut config.tls {
        tls.more.push(KeyPair {
            cert: second.cert,
            key: second.key,
        });
    }
    let gateway = start(config).await;
    for name in ["gate.example", "a.apps.example"] {
        let client = authority.client(&[]);
        connect_to(name, gateway.public, client).await.unwrap();
    }
    let client = authority.client(&[]);
    let error = connect_to("b.a.apps.example", gateway.public, client).await;
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("not valid for name")
    );
}

#[tokio::test]
async fn a_message_that_breaks_off_has_no_proper_end() {
    let authority = Authority::new();
    let gateway = start(showing(&authority.issue("gate", &["gate.example"]))).await;
    let receiver = receiver(gateway.tunnel, authority.client(&[])).await;
    let mut caller = caller(gateway.public, &authority).await;
    // HTTP/1.0: the connection's end is the body's.
    caller
        .send("GET / HTTP/1.0\r\nhost: gate.example\r\n\r\n")
        .await;
    let mut request = receiver.accept().await;
    let ok = head(200, &[]);
    let part = Bytes::from_static(b"part");
    request.response.respond(&ok, part, End::No).unwrap();
    caller.until("\r\n\r\npart").await;
    request.response.reset(ResetCode::UPSTREAM_FAILED);
    let mut rest = Vec::new();
    soon(caller.socket.read_to_end(&mut rest))
        .await
        .unwrap_err();
    assert!(rest.is_empty());

    // The same body, whole.
    let mut caller = super::authority::caller(gateway.public, &authority).await;
    caller
        .send("GET / HTTP/1.0\r\nhost: gate.example\r\n\r\n")
        .await;
    let mut request = receiver.accept().await;
    let whole = Bytes::from_static(b"whole");
    request.response.respond(&ok, whole, End::Yes).unwrap();
    caller.until("\r\n\r\nwhole").await;
    assert_eq!(soon(caller.socket.read_to_end(&mut rest)).await.unwrap(), 0);
}

#[tokio::test]
async fn plain_http_is_told_what_to_speak() {
    let authority = Authority::new();
    let gateway = start(showing(&authority.issue("gate", &["gate.example"]))).await;
    for (address, hint) in [(gateway.public, "https://"), (gateway.tunnel, "wss://")] {
        let mut plain = Caller::connect(address).await;
        plain.get("/").await;
        let answer = plain.rest().await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains(hint), "{answer}");
    }
    // What is neither is closed without a word.
    let mut other = Caller::connect(gateway.public).await;
    other.send(b"\x00\x01\x02").await;
    assert_eq!(other.rest().await, "");
    let metrics = gateway.metrics().await;
    let line = "handshakes_total{listener=\"public\",outcome=\"plain\"} 2\n";
    assert!(metrics.contains(line), "{metrics}");
}

/// Row 30 of the threats, through TLS.
#[tokio::test]
async fn slow_handshakes_are_closed_in_the_time_of_a_head() {
    let authority = Authority::new();
    let gateway = start(Config {
        head_timeout: Span::from_millis(50),
        ..showing(&authority.issue("gate", &["gate.example"]))
    })
    .await;
    for address in [gateway.public, gateway.tunnel] {
        let mut silent = Caller::connect(address).await;
        silent.drain().await;
        let mut begun = Caller::connect(address).await;
        begun.send(b"\x16\x03\x01\x02\x00\x01").await;
        begun.drain().await;
        // A handshake in time, and then no request.
        let stream = connect(address, authority.client(&[])).await.unwrap();
        Caller::on(stream).drain().await;
    }
    let metrics = gateway.metrics().await;
    for listener in ["public", "tunnel"] {
        let line = format!("handshakes_total{{listener=\"{listener}\",outcome=\"late\"}} 2\n");
        assert!(metrics.contains(&line), "{metrics}");
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_keep_it_from_starting() {
    let authority = Authority::new();
    let one = authority.issue("one", &["gate.example"]);
    let other = authority.issue("other", &["gate.example"]);
    let mut config = showing(&one);
    if let Some(tls) = &mut config.tls {
        tls.key = other.key.clone();
    }
    let error = Gateway::bind(config).await.unwrap_err().to_string();
    assert!(error.starts_with("tls: "), "{error}");
    assert!(error.contains("other.key: is not the key of"), "{error}");
    let mut missing = self::config();
    missing.tls = Some(anp_gateway::TlsConfig {
        cert: one.cert.with_file_name("none.pem"),
        ..settings(&one)
    });
    let error = Gateway::bind(missing).await.unwrap_err().to_string();
    assert!(error.contains("none.pem: cannot be read"), "{error}");
}

#[tokio::test]
async fn every_series_of_the_metrics_is_in_the_reference() {
    let authority = Authority::new();
    let gateway = start(showing(&authority.issue("gate", &["gate.example"]))).await;
    let metrics = gateway.metrics().await;
    let mut exported: Vec<_> = metrics
        .lines()
        .filter_map(|line| {
            let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
            let end = if kind == "counter" { "_total" } else { "" };
            Some((format!("{name}{end}"), kind.to_owned()))
        })
        .collect();
    exported.sort();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
    let document = std::fs::read_to_string(path).unwrap();
    let mut described: Vec<_> = document
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.strip_prefix("| `anp_gateway_")?.split_once("` | ")?;
            Some((
                format!("anp_gateway_{name}"),
                rest.split(' ').next()?.to_owned(),
            ))
        })
        .collect();
    described.sort();
    assert_eq!(described, exported);
    // Elsewhere they are called the same.
    for path in ["operations.md", "middleware.md", "http.md"] {
        let path = format!("{}/../../docs/{path}", env!("CARGO_MANIFEST_DIR"));
        let document = std::fs::read_to_string(path).unwrap();
        for name in document.split("`anp_gateway_").skip(1) {
            let name = format!("anp_gateway_{}", name.split('`').next().unwrap());
            assert!(exported.iter().any(|(known, _)| *known == name), "{name}");
        }
    }
}
