//! A gateway's tunnel and a receiver's over an in-memory connection.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    future::poll_fn,
    sync::{Arc, Mutex},
    task::{Context, Wake, Waker},
    time::Duration,
};

use anp_tunnel::{
    Closed, Head, Incoming, Observer, Part, RecvStream, SendStream, Status, Tunnel, TunnelConfig,
    Version,
};
use anpx::{
    CloseCode, Fields, RequestHead, ResetCode, ResponseHead, StreamError,
    session::{End, Role},
};
use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, BufWriter},
    runtime::Builder,
    sync::watch,
    task::JoinHandle,
};

struct Pair {
    gateway: Tunnel,
    receiver: Tunnel,
    gateway_driver: JoinHandle<Closed>,
    receiver_driver: JoinHandle<Closed>,
    gateway_status: watch::Receiver<Status>,
}

fn config(role: Role) -> TunnelConfig {
    TunnelConfig::new(role)
}

/// Lets a test wait for a status.
struct Watch(watch::Sender<Status>);

impl Observer for Watch {
    fn status(&self, status: Status) {
        self.0.send_replace(status);
    }
    fn capacity(&self) {}
}

type Spawned = (Tunnel, JoinHandle<Closed>, watch::Receiver<Status>);

fn spawn<IO>(io: IO, version: Version, config: TunnelConfig) -> Spawned
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, status) = watch::channel(Status::Opening);
    let observer = Arc::new(Watch(sender));
    let (tunnel, driver) = Tunnel::new(io, Bytes::new(), version, config, Some(observer));
    (tunnel, tokio::spawn(driver), status)
}

/// Two tunnels over a connection that buffers `buffer` bytes, once each knows the other.
async fn pair(buffer: usize, receiver_version: Version) -> Pair {
    pair_of(buffer, Version::V2, receiver_version).await
}

async fn pair_of(buffer: usize, version: Version, receiver_version: Version) -> Pair {
    let (a, b) = tokio::io::duplex(buffer);
    pair_over(a, b, version, receiver_version).await
}

async fn pair_over<IO>(a: IO, b: IO, version: Version, receiver_version: Version) -> Pair
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (gateway, gateway_driver, mut status) = spawn(a, version, config(Role::Gateway));
    let (receiver, receiver_driver, mut other) = spawn(b, receiver_version, config(Role::Receiver));
    let ready = |status: &Status| *status >= Status::Ready;
    status.wait_for(ready).await.unwrap();
    other.wait_for(ready).await.unwrap();
    Pair {
        gateway,
        receiver,
        gateway_driver,
        receiver_driver,
        gateway_status: status,
    }
}

fn request(method: &'static str) -> RequestHead {
    RequestHead {
        method: Bytes::from_static(method.as_bytes()),
        target: Bytes::from_static(b"/path?q=%20"),
        scheme: Bytes::from_static(b"http"),
        authority: Bytes::from_static(b"example.org"),
        headers: Fields::from_pairs([("accept", "*/*"), ("accept", "text/html")]).unwrap(),
        request_id: Bytes::from_static(b"0f8fad5b-d9cb-469f-a165-70867728950e"),
        client_addr: Some(Bytes::from_static(b"192.0.2.1:1234")),
        protocol: None,
    }
}

fn response(status: u16) -> ResponseHead {
    ResponseHead {
        status,
        headers: Fields::from_pairs([("x-answer", "42")]).unwrap(),
    }
}

async fn accept(tunnel: &Tunnel) -> Incoming {
    poll_fn(|cx| tunnel.poll_accept(cx))
        .await
        .expect("the tunnel is open")
}

async fn head(stream: &mut RecvStream) -> Result<Head, StreamError> {
    poll_fn(|cx| stream.poll_head(cx)).await
}

async fn part(stream: &mut RecvStream) -> Option<Result<Part, StreamError>> {
    poll_fn(|cx| stream.poll_part(cx)).await
}

async fn body(stream: &mut RecvStream) -> Result<Vec<u8>, StreamError> {
    let mut body = Vec::new();
    while let Some(part) = part(stream).await {
        if let Part::Data(data, _) = part? {
            body.extend_from_slice(&data);
        }
    }
    Ok(body)
}

async fn send(stream: &mut SendStream, mut data: Bytes) -> Result<(), StreamError> {
    while !data.is_empty() {
        let capacity = poll_fn(|cx| stream.poll_capacity(cx)).await?;
        let piece = data.split_to(capacity.min(data.len()));
        stream.send_data(piece, End::from(data.is_empty()))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_request_and_its_response_cross() {
    let pair = pair(64 << 10, Version::V2).await;
    let (_send, mut recv) = pair
        .gateway
        .open(&request("GET"), Bytes::new(), End::Yes)
        .unwrap();
    assert_eq!(pair.gateway.open_streams(), 1);
    let mut incoming = accept(&pair.receiver).await;
    assert_eq!(*incoming.head, request("GET"));
    assert!(part(&mut incoming.body).await.is_none());
    incoming.response.inform(&response(103)).unwrap();
    incoming
        .response
        .respond(&response(200), Bytes::from_static(b"hello"), End::Yes)
        .unwrap();
    drop(incoming);
    assert!(matches!(head(&mut recv).await, Ok(Head::Informational(h)) if h == response(103)));
    assert!(matches!(head(&mut recv).await, Ok(Head::Final(h, End::No)) if h == response(200)));
    assert!(matches!(part(&mut recv).await, Some(Ok(Part::Data(d, End::Yes))) if d == "hello"));
    assert!(recv.is_end());
    drop((_send, recv));
    assert_eq!(pair.gateway.open_streams(), 0);
}

#[tokio::test]
async fn bodies_cross_both_ways_whatever_the_connection_buffers() {
    for buffer in [7, 1000, 1 << 20] {
        let size = if buffer == 7 { 200_000 } else { 3_000_000 };
        let pair = pair(buffer, Version::Undecided).await;
        assert_eq!(pair.receiver.version(), Version::V2);
        let data: Bytes = (0..size)
            .map(|i| u8::try_from(i % 251).unwrap())
            .collect::<Vec<_>>()
            .into();
        let (mut tx, mut rx) = pair
            .gateway
            .open(&request("POST"), Bytes::new(), End::No)
            .unwrap();
        let mut incoming = accept(&pair.receiver).await;
        let echo = async {
            incoming
                .response
                .respond(&response(200), Bytes::new(), End::No)
                .unwrap();
            while let Some(part) = part(&mut incoming.body).await {
                let Ok(Part::Data(data, _)) = part else {
                    panic!("{part:?}")
                };
                let mut data = data;
                while !data.is_empty() {
                    let n = poll_fn(|cx| incoming.response.poll_capacity(cx))
                        .await
                        .unwrap();
                    let piece = data.split_to(n.min(data.len()));
                    incoming.response.send_data(piece, End::No).unwrap();
                }
            }
            incoming
                .response
                .send_trailers(Fields::from_pairs([("x-end", "1")]).unwrap())
                .unwrap();
        };
        let read = async {
            head(&mut rx).await.unwrap();
            body(&mut rx).await.unwrap()
        };
        let ((), sent, received) = tokio::join!(echo, send(&mut tx, data.clone()), read);
        sent.unwrap();
        assert!(received == data, "{} bytes of {size}", received.len());
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_transport_keeps_is_flushed_without_another_frame() {
    let (a, b) = tokio::io::duplex(7);
    let exchange = async {
        let (a, b) = (BufWriter::new(a), BufWriter::new(b));
        let pair = pair_over(a, b, Version::V2, Version::V2).await;
        let (_tx, mut rx) = pair
            .gateway
            .open(&request("GET"), Bytes::new(), End::Yes)
            .unwrap();
        let mut incoming = accept(&pair.receiver).await;
        incoming
            .response
            .respond(&response(200), Bytes::from_static(b"hello"), End::Yes)
            .unwrap();
        assert!(matches!(head(&mut rx).await, Ok(Head::Final(_, End::No))));
        assert_eq!(body(&mut rx).await.unwrap(), b"hello");
        pair.gateway.close(CloseCode::DONE, "done");
        let closed = pair.receiver_driver.await.unwrap();
        assert_eq!(closed.code, Some(CloseCode::DONE));
    };
    // Paused time moves only when everything waits: for the ping that would push out what was kept.
    tokio::time::timeout(Duration::from_secs(1), exchange)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_reset_reaches_the_other_side_and_a_dropped_reader_cancels() {
    let pair = pair(64 << 10, Version::V2).await;
    let (_tx, mut rx) = pair
        .gateway
        .open(&request("GET"), Bytes::new(), End::Yes)
        .unwrap();
    let mut incoming = accept(&pair.receiver).await;
    incoming.response.reset(ResetCode::UPSTREAM_UNREACHABLE);
    let error = head(&mut rx).await.unwrap_err();
    assert_eq!(error, StreamError::Reset(ResetCode::UPSTREAM_UNREACHABLE));

    let stream = pair
        .gateway
        .open(&request("GET"), Bytes::new(), End::Yes)
        .unwrap();
    let mut incoming = accept(&pair.receiver).await;
    drop(stream);
    let error = poll_fn(|cx| incoming.response.poll_error(cx)).await;
    assert_eq!(error, StreamError::Reset(ResetCode::CANCELLED));
}

#[tokio::test]
async fn a_receiver_that_drains_serves_what_was_opened_and_then_closes() {
    let mut pair = pair(64 << 10, Version::V2).await;
    let (_tx, mut rx) = pair
        .gateway
        .open(&request("GET"), Bytes::new(), End::Yes)
        .unwrap();
    let mut incoming = accept(&pair.receiver).await;
    pair.receiver.drain();
    pair.gateway_status
        .wait_for(|status| *status == Status::Draining)
        .await
        .unwrap();
    assert!(
        pair.gateway
            .open(&request("GET"), Bytes::new(), End::Yes)
            .is_err()
    );
    incoming
        .response
        .respond(&response(200), Bytes::new(), End::Yes)
        .unwrap();
    drop(incoming);
    assert!(matches!(head(&mut rx).await, Ok(Head::Final(_, End::Yes))));
    let closed = pair.receiver_driver.await.unwrap();
    assert_eq!(
        (closed.code, closed.by_peer),
        (Some(CloseCode::GOING_AWAY), false)
    );
    let closed = pair.gateway_driver.await.unwrap();
    assert_eq!(
        (closed.code, closed.by_peer),
        (Some(CloseCode::GOING_AWAY), true)
    );
}

#[tokio::test]
async fn a_close_tells_the_peer_why_and_breaks_what_is_open() {
    let pair = pair(64 << 10, Version::V2).await;
    let (_tx, mut rx) = pair
        .gateway
        .open(&request("GET"), Bytes::new(), End::Yes)
        .unwrap();
    let incoming = accept(&pair.receiver).await;
    pair.gateway.close(CloseCode::NOT_PERMITTED, "not yours");
    assert_eq!(
        head(&mut rx).await.unwrap_err(),
        StreamError::SessionEnded { written: true }
    );
    let closed = pair.receiver_driver.await.unwrap();
    assert_eq!(
        (closed.code, &closed.reason[..]),
        (Some(CloseCode::NOT_PERMITTED), "not yours")
    );
    assert!(closed.by_peer && closed.was_ready);
    drop(incoming);
    assert!(poll_fn(|cx| pair.receiver.poll_accept(cx)).await.is_none());
}

#[tokio::test]
async fn a_driver_that_is_dropped_ends_its_streams() {
    let pair = pair(64 << 10, Version::V2).await;
    let (_tx, mut rx) = pair
        .gateway
        .open(&request("GET"), Bytes::new(), End::Yes)
        .unwrap();
    pair.gateway_driver.abort();
    assert!(matches!(
        head(&mut rx).await,
        Err(StreamError::SessionEnded { .. })
    ));
    assert_eq!(pair.gateway.status(), Status::Closed);
    let closed = pair.receiver_driver.await.unwrap();
    assert_eq!((closed.code, closed.by_peer), (None, true));
}

/// Holds the last handle on a stream and waits for that stream, as what an app left behind does.
struct Last(Mutex<SendStream>);

impl Wake for Last {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn with_its_waker_the_last_handle_on_a_stream_may_go() {
    let talk = async || {
        let pair = pair(64 << 10, Version::V2).await;
        let _stream = pair
            .gateway
            .open(&request("GET"), Bytes::new(), End::Yes)
            .unwrap();
        let Incoming { body, response, .. } = accept(&pair.receiver).await;
        drop(body);
        let last = Arc::new(Last(Mutex::new(response)));
        let waker = Waker::from(Arc::clone(&last));
        let cx = &mut Context::from_waker(&waker);
        assert!(last.0.lock().unwrap().poll_error(cx).is_pending());
        drop((last, waker));
        pair.gateway_driver.abort();
        pair.receiver_driver.await.unwrap()
    };
    // On a thread of its own: one that waits for itself could not tell.
    let (sender, closed) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        sender.send(runtime.block_on(talk())).unwrap();
    });
    let closed = closed.recv_timeout(Duration::from_secs(15));
    assert_eq!(closed.expect("the tunnel ends").code, None);
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_found_dead_within_two_ping_intervals() {
    for (version, reason) in [
        (Version::V2, "no SETTINGS in time"),
        // Without a handshake of its own it is the pings that find out.
        (Version::V1, "nothing was read for two ping intervals"),
    ] {
        let (a, _held_open) = tokio::io::duplex(64 << 10);
        let (_gateway, driver, _status) = spawn(a, version, config(Role::Gateway));
        let closed = tokio::time::timeout(Duration::from_secs(21), driver)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((&closed.reason[..], closed.by_peer), (reason, false));
    }
}

#[tokio::test]
async fn a_drain_that_comes_before_the_version_is_known_is_not_lost() {
    let (a, b) = tokio::io::duplex(64 << 10);
    let (receiver, driver, _) = spawn(b, Version::Undecided, config(Role::Receiver));
    receiver.drain();
    tokio::task::yield_now().await;
    let (_gateway, _, mut status) = spawn(a, Version::V2, config(Role::Gateway));
    let draining = status.wait_for(|status| *status >= Status::Draining);
    draining.await.unwrap();
    let closed = driver.await.unwrap();
    assert_eq!(
        (closed.code, closed.by_peer),
        (Some(CloseCode::GOING_AWAY), false)
    );
}

#[tokio::test(start_paused = true)]
async fn an_idle_tunnel_of_version_1_sleeps_between_its_pings() {
    for receiver_version in [Version::V1, Version::Undecided] {
        let pair = pair_of(64 << 10, Version::V1, receiver_version).await;
        // A driver that is never idle would keep the paused time from moving at all.
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(pair.receiver.version(), Version::V1);
        assert_eq!(pair.receiver.status(), Status::Ready);
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_tunnel_stays() {
    let pair = pair(64 << 10, Version::V2).await;
    // Paused time jumps from timer to timer: an hour of pings, in no time.
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(pair.gateway.status(), Status::Ready);
    assert_eq!(pair.receiver.status(), Status::Ready);
    assert!(pair.gateway.round_trip().is_some());
}
