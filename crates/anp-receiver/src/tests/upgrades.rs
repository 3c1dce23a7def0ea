//! Upgrades to HTTP/1.1 apps: what is asked, what may be answered, and the raw bytes after a 101.

use std::{future::poll_fn, io};

use anp_tunnel::Part;
use anpx::{CloseCode, ResetCode, StreamError, session::End};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{App, Call, Gateway, Peer, on_worker};

const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n\
     Connection: Upgrade\r\nSec-WebSocket-Accept: abc=\r\n\r\n";
const FAILED: StreamError = StreamError::Reset(ResetCode::UPSTREAM_FAILED);

/// A request to upgrade, whose head the app has read.
async fn asked(gateway: &Gateway, app: &App) -> (Call, Peer) {
    let fields = [("sec-websocket-key", "a2V5"), ("x-a", "1")];
    let call = gateway.call_with("GET", &fields, None, Some("websocket"));
    let mut peer = app.accept().await;
    assert_eq!(
        peer.head().await,
        "GET /a%2Fb?q=%zz HTTP/1.1\r\nHost: public.example\r\nsec-websocket-key: a2V5\r\n\
         x-a: 1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    );
    (call, peer)
}

/// An upgrade that the app accepted, with `behind` in the same write.
async fn accepted(gateway: &Gateway, app: &App, behind: &str) -> (Call, Peer) {
    let (mut call, mut peer) = asked(gateway, app).await;
    peer.send(&format!("{SWITCHING}{behind}")).await;
    assert_eq!(call.status().await, Ok(101));
    (call, peer)
}

impl Peer {
    /// Reads up to the end; what was read, and how it ended.
    async fn rest(&mut self) -> (String, Result<(), io::ErrorKind>) {
        let ended = loop {
            match self.io.read_buf(&mut self.read).await {
                Ok(0) => break Ok(()),
                Ok(_) => {}
                Err(e) => break Err(e.kind()),
            }
        };
        let rest = String::from_utf8(self.read.split().to_vec()).unwrap();
        (rest, ended)
    }

    /// Waits until the connection was reset, which an orderly close is not.
    async fn reset_by_receiver(mut self) {
        let ended = self.rest().await.1;
        assert_eq!(ended, Err(io::ErrorKind::ConnectionReset));
    }
}

impl Call {
    /// Reads body bytes up to the end of the half.
    async fn rest(&mut self) -> Result<String, StreamError> {
        let mut rest = String::new();
        while let Some(part) = self.part().await {
            match part? {
                Part::Data(data, _) => rest.push_str(std::str::from_utf8(&data).unwrap()),
                Part::Trailers(_) => panic!("trailers on raw bytes"),
            }
        }
        Ok(rest)
    }
}

#[test]
fn an_accepted_upgrade_carries_bytes_both_ways() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let (mut call, mut peer) = asked(&gateway, &app).await;
        peer.send(SWITCHING).await;
        let head = match call.head().await.unwrap() {
            anp_tunnel::Head::Final(head, End::No) => head,
            other => panic!("{other:?}"),
        };
        assert_eq!(head.status, 101);
        let fields = super::texts(&head.headers);
        assert_eq!(fields, [("sec-websocket-accept".into(), "abc=".into())]);
        for turn in ["\0one\r\n\r\n", "two"] {
            call.send(turn, End::No).await.unwrap();
            peer.until(turn).await;
            peer.send(turn).await;
            assert_eq!(call.text().await, turn);
        }
        call.send("", End::Yes).await.unwrap();
        assert_eq!(peer.rest().await, (String::new(), Ok(())));
        drop(peer);
        assert_eq!(call.rest().await, Ok(String::new()));
    });
}

#[test]
fn bytes_right_behind_the_101_are_not_lost() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let (mut call, peer) = accepted(&gateway, &app, "first bytes").await;
        assert_eq!(call.text().await, "first bytes");
        drop(peer);
        assert_eq!(call.rest().await, Ok(String::new()));
        // An app that says all it has to say at once.
        let (mut call, mut peer) = asked(&gateway, &app).await;
        peer.send(&format!("{SWITCHING}all of it")).await;
        peer.io.shutdown().await.unwrap();
        assert_eq!(call.status().await, Ok(101));
        assert_eq!(call.rest().await, Ok("all of it".into()));
    });
}

#[test]
fn a_refused_upgrade_is_an_ordinary_exchange() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        // A connection that waits for an ordinary request is left to those.
        let mut call = gateway.get();
        let mut waiting = app.accept().await;
        waiting.head().await;
        waiting
            .send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await;
        assert_eq!(call.status().await, Ok(200));

        let (mut call, mut peer) = asked(&gateway, &app).await;
        peer.send("HTTP/1.1 103 Early Hints\r\n\r\n").await;
        peer.send("HTTP/1.1 403 Forbidden\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        peer.send("2\r\nno\r\n0\r\nx-sum: 1\r\n\r\n").await;
        let answer = call.answer().await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (403, "no"));
        assert_eq!(answer.trailers, [("x-sum".into(), "1".into())]);
        // Nothing else goes over a connection that an upgrade was asked on.
        assert_eq!(peer.rest().await, (String::new(), Ok(())));
    });
}

#[test]
fn upgrades_that_cannot_be_are_failures() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        for answer in [
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: irc\r\nconnection: upgrade\r\n\r\n",
        ] {
            let (mut call, mut peer) = asked(&gateway, &app).await;
            peer.send(answer).await;
            assert_eq!(call.status().await, Err(FAILED), "{answer:?}");
            peer.gone().await;
        }
        // One that dies is not asked a second time.
        let (mut call, peer) = asked(&gateway, &app).await;
        drop(peer);
        assert_eq!(call.status().await, Err(FAILED));
        let mut call = gateway.call_with("GET", &[], None, Some("h2c"));
        let refused = StreamError::Reset(ResetCode::PROTOCOL);
        assert_eq!(call.status().await, Err(refused));
    });
}

#[test]
fn each_direction_ends_by_itself() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        // The app first.
        let (mut call, mut peer) = accepted(&gateway, &app, "").await;
        peer.send("last words").await;
        peer.io.shutdown().await.unwrap();
        assert_eq!(call.rest().await, Ok("last words".into()));
        call.send("still there", End::No).await.unwrap();
        peer.until("still there").await;
        call.send("bye", End::Yes).await.unwrap();
        assert_eq!(peer.rest().await, ("bye".into(), Ok(())));
        drop(call);
        // The caller first.
        let (mut call, mut peer) = accepted(&gateway, &app, "").await;
        call.send("question", End::Yes).await.unwrap();
        assert_eq!(peer.rest().await, ("question".into(), Ok(())));
        peer.send("answer").await;
        drop(peer);
        assert_eq!(call.rest().await, Ok("answer".into()));
        drop(call);
        while gateway.tunnel.open_streams() > 0 {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn an_app_that_closed_takes_no_more() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let (mut call, mut peer) = accepted(&gateway, &app, "").await;
        peer.send("bye").await;
        drop(peer);
        // What it said before is whole, and the caller is told that the rest is not wanted.
        assert_eq!(call.rest().await, Ok("bye".into()));
        let error = loop {
            if let Err(error) = call.send("anyone?", End::No).await {
                break error;
            }
        };
        assert_eq!(error, StreamError::Reset(ResetCode::NO_ERROR));
    });
}

#[test]
fn an_abort_of_one_side_is_an_abort_at_the_other() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        // The caller's.
        let (call, peer) = accepted(&gateway, &app, "").await;
        drop(call);
        peer.reset_by_receiver().await;
        // The caller's, after its own FIN.
        let (mut call, mut peer) = accepted(&gateway, &app, "").await;
        call.send("all", End::Yes).await.unwrap();
        peer.until("all").await;
        drop(call);
        // The FIN came in order; what is written afterwards meets a reset.
        while peer.io.write_all(b"x").await.is_ok() {
            tokio::task::yield_now().await;
        }
        // The app's, with nothing under way and with bytes on their way to it.
        for sending in [false, true] {
            let (mut call, peer) = accepted(&gateway, &app, "").await;
            if sending {
                let bytes = Bytes::from(vec![b'x'; 64 << 10]);
                call.send(bytes, End::No).await.unwrap();
            }
            peer.reset();
            assert_eq!(call.rest().await, Err(FAILED), "sending: {sending}");
        }
        // The tunnel's.
        let (call, peer) = accepted(&gateway, &app, "").await;
        gateway.tunnel.close(CloseCode::GOING_AWAY, "");
        peer.reset_by_receiver().await;
        drop(call);
    });
}

#[test]
fn much_crosses_both_ways_at_once() {
    const LEN: usize = 8 << 20;
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let (mut call, mut peer) = accepted(&gateway, &app, "").await;
        let echo = async {
            let (mut read, mut write) = peer.io.split();
            tokio::io::copy(&mut read, &mut write).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let pattern: Bytes = (0..=250).cycle().take(LEN).collect();
        let mut left = pattern.clone();
        let exchange = async {
            let mut got = Vec::with_capacity(LEN);
            loop {
                tokio::select! {
                    biased;
                    part = poll_fn(|cx| call.recv.poll_part(cx)) => match part {
                        Some(Ok(Part::Data(data, _))) => got.extend_from_slice(&data),
                        None => break got,
                        other => panic!("{other:?}"),
                    },
                    room = poll_fn(|cx| call.send.poll_capacity(cx)), if !left.is_empty() => {
                        let piece = left.split_to(room.unwrap().min(left.len()));
                        call.send.send_data(piece, End::from(left.is_empty())).unwrap();
                    }
                }
            }
        };
        let ((), got) = tokio::join!(echo, exchange);
        assert!(got == pattern);
    });
}
