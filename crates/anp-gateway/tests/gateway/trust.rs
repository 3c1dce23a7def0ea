//! Who is believed about the caller: trusted proxies, and load balancers that speak the PROXY
//! protocol.

use anp_gateway::Config;
use anp_tunnel::{Incoming, units::Span};

use crate::support::{Caller, Receiver, answer, config, start};

const V1: &str = "PROXY TCP4 192.0.2.1 203.0.113.9 40000 443\r\n";

/// Version 2 of the same, with an extension behind the addresses.
fn v2() -> Vec<u8> {
    let addresses = [192, 0, 2, 1, 203, 0, 113, 9, 0x9c, 0x40, 1, 0xbb];
    let fixed = [0x21, 0x11, 0, 16];
    [
        &b"\r\n\r\n\0\r\nQUIT\n"[..],
        &fixed,
        &addresses,
        &[4, 0, 1, 0],
    ]
    .concat()
}

/// A gateway that believes what comes from loopback.
fn trusting() -> Config {
    Config {
        trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
        ..config()
    }
}

fn balanced() -> Config {
    Config {
        proxy_protocol: true,
        ..trusting()
    }
}

fn field<'a>(request: &'a Incoming, name: &str) -> &'a str {
    let value = request.head.headers.get(name).unwrap();
    std::str::from_utf8(value).unwrap()
}

fn client(request: &Incoming) -> &str {
    std::str::from_utf8(request.head.client_addr.as_deref().unwrap()).unwrap()
}

/// Sends a request with these lines and returns it as the app would see it.
async fn seen(caller: &mut Caller, receiver: &Receiver, lines: &str) -> Incoming {
    let request = format!("GET / HTTP/1.1\r\nhost: h.example\r\n{lines}\r\n");
    caller.send(request).await;
    let mut request = receiver.accept().await;
    answer(&mut request, 200, "ok");
    caller.until("ok").await;
    request
}

#[tokio::test]
async fn a_stranger_is_not_believed() {
    let said = "x-forwarded-for: 6.6.6.6\r\nx-forwarded-proto: https\r\nx-forwarded-host: evil\r\n\
                forwarded: for=6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nx-request-id: mine\r\n";
    let other = Config {
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        ..config()
    };
    for config in [config(), other] {
        let gateway = start(config).await;
        let receiver = gateway.receiver().await;
        let mut caller = gateway.caller().await;
        let request = seen(&mut caller, &receiver, said).await;
        assert_eq!(field(&request, "x-forwarded-for"), "127.0.0.1");
        assert_eq!(field(&request, "x-forwarded-proto"), "http");
        assert_eq!(field(&request, "x-forwarded-host"), "h.example");
        let forwarded = "for=127.0.0.1;proto=http;host=\"h.example\"";
        assert_eq!(field(&request, "forwarded"), forwarded);
        assert_eq!(&request.head.scheme[..], b"http");
        let address = caller.socket.local_addr().unwrap().to_string();
        assert_eq!(client(&request), address);
        assert!(!request.head.headers.iter().any(|(_, v)| v == b"6.6.6.6"));
    }
}

#[tokio::test]
async fn a_trusted_proxy_names_the_caller() {
    let gateway = start(trusting()).await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    // What the caller itself wrote to the left of its address does not count.
    let said = "X-Forwarded-For: 6.6.6.6, 192.0.2.1\r\nx-forwarded-for: 127.0.0.9\r\n\
                X-Forwarded-Proto: https\r\nX-Forwarded-Host: a.example\r\nX-Request-Id: mine\r\n";
    let request = seen(&mut caller, &receiver, said).await;
    let chain = "192.0.2.1, 127.0.0.9, 127.0.0.1";
    assert_eq!(field(&request, "x-forwarded-for"), chain);
    assert_eq!(field(&request, "x-forwarded-proto"), "https");
    assert_eq!(field(&request, "x-forwarded-host"), "a.example");
    assert_eq!(
        field(&request, "forwarded"),
        "for=192.0.2.1;proto=https;host=\"a.example\", for=127.0.0.9, for=127.0.0.1"
    );
    assert_eq!(&request.head.scheme[..], b"https");
    assert_eq!(&request.head.authority[..], b"h.example");
    assert_eq!(client(&request), "192.0.2.1:0");
    assert_ne!(field(&request, "x-request-id"), "mine");
    let ours = request
        .head
        .headers
        .iter()
        .filter(|(n, _)| n.starts_with(b"x-forwarded-"));
    assert_eq!(ours.count(), 3);

    // Each request of the connection is somebody else's.
    let said = "Forwarded: for=\"[2001:db8::1]:77\";proto=https\r\n";
    let request = seen(&mut caller, &receiver, said).await;
    assert_eq!(client(&request), "[2001:db8::1]:77");
    assert_eq!(field(&request, "x-forwarded-for"), "2001:db8::1, 127.0.0.1");
    assert_eq!(field(&request, "x-forwarded-host"), "h.example");

    let peer = caller.socket.local_addr().unwrap().to_string();
    for garbage in [
        "X-Forwarded-For: 192.0.2.1:80",
        "X-Forwarded-For: 192.0.2.1, unknown",
        "Forwarded: for=x",
    ] {
        let request = seen(&mut caller, &receiver, &format!("{garbage}\r\n")).await;
        assert_eq!(client(&request), peer, "{garbage}");
        assert_eq!(field(&request, "x-forwarded-for"), "127.0.0.1");
    }
}

#[tokio::test]
async fn a_proxy_header_names_the_caller() {
    let gateway = start(balanced()).await;
    let receiver = gateway.receiver().await;
    for header in [V1.as_bytes().to_vec(), v2()] {
        let mut caller = gateway.caller().await;
        // The first request comes in one piece with the header, the second is pipelined.
        let get = b"GET / HTTP/1.1\r\nhost: h\r\nx-forwarded-for: 6.6.6.6\r\n\r\n";
        caller.send([&header[..], get, get].concat()).await;
        for _ in 0..2 {
            let mut request = receiver.accept().await;
            assert_eq!(client(&request), "192.0.2.1:40000");
            // The load balancer is trusted, the caller it names is not.
            assert_eq!(field(&request, "x-forwarded-for"), "192.0.2.1");
            answer(&mut request, 200, "ok");
            caller.until("ok").await;
        }
        // Another header is no request.
        caller.send([&header[..], b"\r\n"].concat()).await;
        assert!(caller.rest().await.starts_with("HTTP/1.1 400 "));
    }
}

#[tokio::test]
async fn a_proxy_header_may_come_byte_by_byte() {
    let gateway = start(balanced()).await;
    let receiver = gateway.receiver().await;
    for header in [V1.as_bytes().to_vec(), v2()] {
        let mut caller = gateway.caller().await;
        for byte in header {
            caller.send([byte]).await;
            // Gives the gateway its turn between two bytes.
            tokio::task::yield_now().await;
        }
        let request = seen(&mut caller, &receiver, "").await;
        assert_eq!(client(&request), "192.0.2.1:40000");
    }
}

#[tokio::test]
async fn a_proxy_header_may_name_nobody() {
    let gateway = start(balanced()).await;
    let receiver = gateway.receiver().await;
    let local = [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x20, 0, 0, 0]].concat();
    for header in [b"PROXY UNKNOWN\r\n".to_vec(), local] {
        let mut caller = gateway.caller().await;
        caller.send(&header).await;
        // The peer is a trusted proxy then, in its headers as well.
        let request = seen(&mut caller, &receiver, "x-forwarded-for: 192.0.2.7\r\n").await;
        assert_eq!(client(&request), "192.0.2.7:0");
    }
}

#[tokio::test]
async fn without_a_good_proxy_header_a_connection_is_closed() {
    let gateway = start(balanced()).await;
    let _receiver = gateway.receiver().await;
    let mut too_long = v2();
    too_long[14] = 0xff;
    for sent in [
        b"GET / HTTP/1.1\r\nhost: h\r\n\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 203.0.113.9 40000\r\n\r\n".to_vec(),
        [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat(),
        too_long,
    ] {
        let mut caller = gateway.caller().await;
        caller.send(&sent).await;
        assert_eq!(caller.rest().await, "", "{sent:?}");
    }
}

#[tokio::test]
async fn a_proxy_header_of_a_stranger_closes_the_connection() {
    let gateway = start(Config {
        trusted_proxies: vec!["192.0.2.0/24".parse().unwrap()],
        ..balanced()
    })
    .await;
    let mut caller = gateway.caller().await;
    // It may be closed before the header is written.
    use tokio::io::AsyncWriteExt;
    let _ = caller.socket.write_all(V1.as_bytes()).await;
    let _ = caller
        .socket
        .write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        .await;
    assert_eq!(caller.rest().await, "");
}

#[tokio::test]
async fn a_proxy_header_must_come_in_the_time_of_a_head() {
    let gateway = start(Config {
        head_timeout: Span::from_millis(200),
        ..balanced()
    })
    .await;
    for sent in ["", "PROXY ", V1] {
        let mut caller = gateway.caller().await;
        caller.send(sent).await;
        assert_eq!(caller.rest().await, "", "{sent:?}");
    }
}
