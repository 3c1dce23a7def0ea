//! A whole receiver against a scripted gateway and a scripted app.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[cfg(test)]
mod reload;

use std::{future::poll_fn, io::ErrorKind};

use anp_receiver::{Config, Error, Event, Failure, Proxies, Receiver, Reloaded, Reloader};
use anp_tunnel::{
    Head, Part, RecvStream, SendStream, Status, Tunnel, TunnelConfig, Version, handshake,
    units::Span,
};
use anpx::{
    CloseCode, Fields, RequestHead,
    session::{End, Role},
};
use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

/// A listener that plays the gateway's tunnel address.
struct Gateway {
    listener: TcpListener,
}

/// A handshake request that waits for its answer.
struct Knock {
    io: TcpStream,
    head: String,
}

impl Gateway {
    async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    async fn knock(&self) -> Knock {
        let (io, _) = self.listener.accept().await.unwrap();
        Knock::read(io).await
    }

    /// Accepts a tunnel of version 2 and waits until both sides are ready.
    async fn tunnel(&self) -> Tunnel {
        let tunnel = self.knock().await.accept(Version::V2).await;
        while tunnel.status() == Status::Opening {
            tokio::task::yield_now().await;
        }
        tunnel
    }
}

impl Knock {
    async fn read(mut io: TcpStream) -> Self {
        let mut head = BytesMut::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert_ne!(io.read_buf(&mut head).await.unwrap(), 0);
        }
        let head = String::from_utf8(head.to_vec()).unwrap();
        Self { io, head }
    }

    async fn answer(mut self, text: &str) {
        self.io.write_all(text.as_bytes()).await.unwrap();
    }

    async fn accept(mut self, version: Version) -> Tunnel {
        let (_, rest) = self.head.split_once("Sec-WebSocket-Key: ").unwrap();
        let (key, _) = rest.split_once("\r\n").unwrap();
        let protocol = match version {
            Version::V2 => handshake::V2,
            _ => handshake::V1,
        };
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n",
            handshake::accept_key(key.as_bytes())
        );
        self.io.write_all(answer.as_bytes()).await.unwrap();
        let config = TunnelConfig::new(Role::Gateway);
        let (tunnel, driver) = Tunnel::new(self.io, Bytes::new(), version, config, None);
        tokio::spawn(driver);
        tunnel
    }
}

/// An app that plays its part by hand.
struct App(TcpListener);

impl App {
    async fn listen() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// The URLs of a receiver that calls it.
    fn to(&self) -> Vec<anp_receiver::AppUrl> {
        let url = format!("http://{}", self.0.local_addr().unwrap());
        vec![url.parse().unwrap()]
    }

    /// A request that it has got.
    async fn asked(&self) -> Knock {
        let (io, _) = self.0.accept().await.unwrap();
        Knock::read(io).await
    }
}

/// Answers a request at its app; what came of it at the gateway.
async fn answered(asked: Knock, recv: &mut RecvStream) -> Option<(u16, Vec<u8>)> {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    asked.answer(answer).await;
    whole(recv).await
}

fn ok() -> Option<(u16, Vec<u8>)> {
    Some((200, b"ok".to_vec()))
}

/// A receiver that runs, what it tells, and the way to stop it.
struct Running {
    events: mpsc::UnboundedReceiver<String>,
    stop: Option<oneshot::Sender<()>>,
    result: JoinHandle<Result<(), Error>>,
    reloader: Reloader,
}

impl Running {
    fn start(config: Config) -> Self {
        Self::through(config, Proxies::none())
    }

    fn through(config: Config, proxies: Proxies) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let receiver = Receiver::new(config)
            .unwrap()
            .with_proxies(proxies)
            .with_observer(move |event| {
                let text = match event {
                    Event::Ready {
                        tunnel, version, ..
                    } => format!("ready {tunnel} {version:?}"),
                    Event::Lost {
                        reason, attempt, ..
                    } => format!("lost {attempt} {reason}"),
                    Event::GivenUp { reason, .. } => format!("given up {reason}"),
                    other => format!("{other:?}"),
                };
                let _ = sender.send(text);
            });
        let reloader = receiver.reloader();
        let result = tokio::spawn(receiver.run(async {
            let _ = stopped.await;
        }));
        Self {
            events,
            stop: Some(stop),
            result,
            reloader,
        }
    }

    async fn reload(&mut self, config: &Config) -> Reloaded {
        let reload = self.reloader.prepare(config.clone()).unwrap();
        self.reloader.take_up(reload).await
    }

    async fn event(&mut self) -> String {
        self.events.recv().await.unwrap()
    }

    fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }
}

fn config(gateway: &Gateway) -> Config {
    Config {
        gateways: vec![
            format!("ws://127.0.0.1:{}/anpx", gateway.port())
                .parse()
                .unwrap(),
        ],
        to: vec!["http://127.0.0.1:9".parse().unwrap()],
        name: Some("box".into()),
        tunnels: 1,
        reconnect_delay: Span::from_millis(1),
        max_reconnect_delay: Span::from_millis(1),
        ..Config::default()
    }
}

fn get(tunnel: &Tunnel) -> (SendStream, RecvStream) {
    let head = RequestHead {
        method: Bytes::from_static(b"GET"),
        target: Bytes::from_static(b"/"),
        scheme: Bytes::from_static(b"http"),
        authority: Bytes::from_static(b"public.example"),
        headers: Fields::default(),
        request_id: Bytes::from_static(b"0f8fad5b-d9cb-469f-a165-70867728950e"),
        client_addr: None,
        protocol: None,
    };
    tunnel.open(&head, Bytes::new(), End::Yes).unwrap()
}

async fn whole(recv: &mut RecvStream) -> Option<(u16, Vec<u8>)> {
    let head = poll_fn(|cx| recv.poll_head(cx)).await.ok()?;
    let Head::Final(head, _) = head else {
        panic!("expected a final head, got {head:?}");
    };
    let mut body = Vec::new();
    while let Some(part) = poll_fn(|cx| recv.poll_part(cx)).await {
        if let Part::Data(data, _) = part.ok()? {
            body.extend_from_slice(&data);
        }
    }
    Some((head.status, body))
}

#[tokio::test]
async fn a_lost_tunnel_is_opened_again() {
    let gateway = Gateway::listen().await;
    let mut running = Running::start(config(&gateway));
    let knock = gateway.knock().await;
    assert!(knock.head.starts_with("GET /anpx HTTP/1.1\r\n"));
    assert!(knock.head.contains("\r\nANP-Receiver: box\r\n"));
    knock
        .answer("HTTP/1.1 503 Service Unavailable\r\n\r\n")
        .await;
    let told = running.event().await;
    assert!(
        told.starts_with("lost 1 the gateway refused the tunnel: HTTP 503"),
        "{told}"
    );
    gateway
        .knock()
        .await
        .answer("HTTP/1.1 404 Not Found\r\n\r\n")
        .await;
    let told = running.event().await;
    assert!(
        told.starts_with("lost 2 answered HTTP 404: is this the tunnel address?"),
        "{told}"
    );
    let tunnel = gateway.tunnel().await;
    assert_eq!(running.event().await, "ready 0 V2");
    tunnel.close(CloseCode::LIMIT, "enough");
    let told = running.event().await;
    assert_eq!(
        told,
        "lost 1 the gateway closed the tunnel: enough (close 4008)"
    );
    gateway.tunnel().await;
    assert_eq!(running.event().await, "ready 0 V2");
}

#[tokio::test]
async fn refusals_that_will_not_pass_end_the_receiver() {
    for status in ["401 Unauthorized", "403 Forbidden"] {
        let gateway = Gateway::listen().await;
        let mut running = Running::start(config(&gateway));
        gateway
            .knock()
            .await
            .answer(&format!("HTTP/1.1 {status}\r\n\r\n"))
            .await;
        assert!(
            running
                .event()
                .await
                .starts_with("given up the gateway refused")
        );
        let error = running.result.await.unwrap().unwrap_err();
        assert!(
            matches!(
                error,
                Error::GivenUp {
                    cause: Failure::Connect(_),
                    ..
                }
            ),
            "{error}"
        );
    }
    for code in [CloseCode::AUTHENTICATION, CloseCode::NOT_PERMITTED] {
        let gateway = Gateway::listen().await;
        let running = Running::start(config(&gateway));
        let tunnel = gateway.knock().await.accept(Version::V2).await;
        tunnel.close(code, "not you");
        let error = running.result.await.unwrap().unwrap_err();
        assert!(
            matches!(&error, Error::GivenUp { cause: Failure::Closed { code: Some(c), .. }, .. } if *c == code.0),
            "{error}"
        );
        assert!(error.to_string().contains("not you"), "{error}");
    }
}

#[tokio::test]
async fn a_gateway_that_took_it_before_is_asked_again() {
    for code in [CloseCode::AUTHENTICATION, CloseCode::NOT_PERMITTED] {
        let gateway = Gateway::listen().await;
        let mut running = Running::start(config(&gateway));
        let tunnel = gateway.tunnel().await;
        assert_eq!(running.event().await, "ready 0 V2");
        tunnel.close(code, "not now");
        let told = running.event().await;
        assert!(
            told.starts_with("lost 1 the gateway closed the tunnel: not now"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn attempts_may_be_counted() {
    let gateway = Gateway::listen().await;
    let mut config = config(&gateway);
    config.max_reconnect_attempts = Some(2);
    drop(gateway);
    let mut running = Running::start(config);
    for attempt in 1..=2 {
        let told = running.event().await;
        assert!(
            told.starts_with(&format!("lost {attempt} cannot connect to 127.0.0.1:")),
            "{told}"
        );
    }
    assert!(running.event().await.starts_with("given up cannot connect"));
    let error = running.result.await.unwrap().unwrap_err();
    assert!(
        error.to_string().contains("2 reconnect attempts failed"),
        "{error}"
    );
}

#[tokio::test]
async fn one_gateway_given_up_leaves_the_other() {
    let [refusing, taking] = [Gateway::listen().await, Gateway::listen().await];
    let mut config = config(&refusing);
    config.gateways.push(
        format!("http://127.0.0.1:{}", taking.port())
            .parse()
            .unwrap(),
    );
    let mut running = Running::start(config);
    refusing
        .knock()
        .await
        .answer("HTTP/1.1 403 Forbidden\r\n\r\n")
        .await;
    assert!(running.event().await.starts_with("given up"));
    taking.tunnel().await;
    assert_eq!(running.event().await, "ready 0 V2");
    running.stop();
    assert!(running.result.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_called_one() {
    let gateway = Gateway::listen().await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = free.local_addr().unwrap().to_string();
    drop(free);
    let mut config = config(&gateway);
    config.gateways = vec!["wss://gate.example".parse().unwrap()];
    let proxies = Proxies::from_vars(|name| (name == "HTTPS_PROXY").then(|| proxy.clone()));
    let mut running = Running::through(config, proxies.unwrap());
    let expected = format!("lost 1 cannot connect to the proxy {proxy} (HTTPS_PROXY): ");
    let told = running.event().await;
    assert!(told.starts_with(&expected), "{told}");
}

#[tokio::test]
async fn a_second_tunnel_waits_for_a_gateway_of_version_2() {
    let gateway = Gateway::listen().await;
    let mut config = config(&gateway);
    config.tunnels = 2;
    config.workers = 2;
    let mut running = Running::start(config);
    let first = gateway.tunnel().await;
    let second = gateway.tunnel().await;
    assert_eq!(running.event().await, "ready 0 V2");
    assert_eq!(running.event().await, "ready 1 V2");
    assert_eq!(
        (first.status(), second.status()),
        (Status::Ready, Status::Ready)
    );
}

#[tokio::test]
async fn a_gateway_of_version_1_gets_one_tunnel() {
    let gateway = Gateway::listen().await;
    let mut config = config(&gateway);
    config.tunnels = 3;
    let mut running = Running::start(config);
    let tunnel = gateway.knock().await.accept(Version::V1).await;
    assert_eq!(running.event().await, "ready 0 V1");
    running.stop();
    assert!(running.result.await.unwrap().is_ok());
    assert_eq!(tunnel.version(), Version::V1);
    // The receiver is over, so whatever it would have opened waits here by now.
    let waiting = gateway.listener.into_std().unwrap().accept();
    assert_eq!(waiting.unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[tokio::test]
async fn what_a_gateway_says_at_the_end_is_told_and_is_one_line() {
    for (code, says, told) in [
        (
            CloseCode::LIMIT,
            "bye\n2026 INFO FORGED\u{1b}[31m\u{202e}",
            "bye\\n2026 INFO FORGED\\u{1b}[31m\\u{202e} (close 4008)",
        ),
        (
            CloseCode::GOING_AWAY,
            "closed by the operator",
            "closed by the operator (close 1001)",
        ),
        (CloseCode::GOING_AWAY, "", "no reason given (close 1001)"),
    ] {
        let gateway = Gateway::listen().await;
        let mut config = config(&gateway);
        // Whoever closes a tunnel within this is not asked for another at once.
        config.reconnect_delay = Span::from_secs(300);
        config.max_reconnect_delay = Span::from_secs(300);
        let mut running = Running::start(config);
        let tunnel = gateway.tunnel().await;
        assert_eq!(running.event().await, "ready 0 V2");
        tunnel.close(code, says);
        let told = format!("lost 1 the gateway closed the tunnel: {told}");
        assert_eq!(running.event().await, told);
    }
}

#[tokio::test]
async fn a_stop_is_not_taken_for_a_gateway_that_drains() {
    let gateway = Gateway::listen().await;
    let mut config = config(&gateway);
    // Each has its own chance to see its tunnel drain before it sees the stop.
    config.tunnels = 32;
    // A tunnel that a gateway drains within this is told to be lost.
    config.reconnect_delay = Span::from_secs(300);
    config.max_reconnect_delay = Span::from_secs(300);
    let mut running = Running::start(config);
    let mut tunnels = Vec::new();
    for _ in 0..32 {
        tunnels.push(gateway.tunnel().await);
        assert!(running.event().await.starts_with("ready "));
    }
    running.stop();
    running.result.await.unwrap().unwrap();
    assert_eq!(running.events.recv().await, None);
}

#[tokio::test]
async fn a_draining_tunnel_is_replaced_while_it_serves() {
    let gateway = Gateway::listen().await;
    let app = App::listen().await;
    let mut config = config(&gateway);
    config.to = app.to();
    let mut running = Running::start(config);
    let old = gateway.tunnel().await;
    assert_eq!(running.event().await, "ready 0 V2");
    let (_send, mut recv) = get(&old);
    let asked = app.asked().await;
    old.drain();
    let new = gateway.tunnel().await;
    assert_eq!(running.event().await, "ready 0 V2");
    assert_eq!(answered(asked, &mut recv).await, ok());
    assert_eq!(new.status(), Status::Ready);
}

#[tokio::test]
async fn a_stop_lets_requests_in_flight_end() {
    let gateway = Gateway::listen().await;
    let app = App::listen().await;
    let mut config = config(&gateway);
    config.to = app.to();
    let mut running = Running::start(config);
    let tunnel = gateway.tunnel().await;
    assert_eq!(running.event().await, "ready 0 V2");
    let (_send, mut recv) = get(&tunnel);
    let asked = app.asked().await;
    running.stop();
    while tunnel.status() != Status::Draining {
        tokio::task::yield_now().await;
    }
    assert_eq!(answered(asked, &mut recv).await, ok());
    assert!(running.result.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_stop_does_not_wait_beyond_its_deadline() {
    let gateway = Gateway::listen().await;
    let app = App::listen().await;
    let mut config = config(&gateway);
    config.to = app.to();
    config.drain_timeout = Span::ZERO;
    let mut running = Running::start(config);
    let tunnel = gateway.tunnel().await;
    let (_send, mut recv) = get(&tunnel);
    let _asked = app.asked().await;
    running.stop();
    assert_eq!(whole(&mut recv).await, None);
    assert!(running.result.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_receiver_that_is_dropped_closes_its_tunnels() {
    let gateway = Gateway::listen().await;
    let running = Running::start(config(&gateway));
    let tunnel = gateway.tunnel().await;
    running.result.abort();
    while tunnel.status() != Status::Closed {
        tokio::task::yield_now().await;
    }
}
