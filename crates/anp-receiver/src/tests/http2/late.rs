//! Frames for streams that were given up.

use super::*;

/// A connection whose frames (RFC 9113 section 4.1) are read and written by hand.
struct Raw(crate::tests::Peer);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;

impl Raw {
    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let frame = [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat();
        self.0.io.write_all(&frame).await.unwrap();
    }

    /// The stream of the next frame of `kind`; settings and pings on the way are answered.
    async fn until(&mut self, kind: u8) -> u32 {
        loop {
            let mut head = [0; 9];
            self.read(&mut head).await;
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            self.read(&mut payload).await;
            match (head[3], head[4] & 1) {
                (SETTINGS, 0) => self.send(SETTINGS, 1, 0, b"").await,
                (PING, 0) => self.send(PING, 1, 0, &payload).await,
                _ => {}
            }
            if head[3] == kind {
                return u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            }
        }
    }

    async fn read(&mut self, into: &mut [u8]) {
        while self.0.read.len() < into.len() {
            let len = self.0.io.read_buf(&mut self.0.read).await.unwrap();
            assert_ne!(len, 0, "the receiver closed the connection");
        }
        into.copy_from_slice(&self.0.read.split_to(into.len()));
    }
}

#[test]
fn callers_that_leave_in_masses_do_not_end_the_connection() {
    const AT_ONCE: usize = 100;
    on_worker(async {
        let app = crate::tests::App::listen().await;
        let url = app.url().replace("http:", "h2c:");
        let gateway = Gateway::before(&[&url]).await;
        let mut calls = vec![gateway.get()];
        let mut peer = app.accept().await;
        peer.until("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        let mut peer = Raw(peer);
        peer.send(SETTINGS, 0, 0, b"").await;
        peer.until(HEADERS).await;
        for _ in 0..25 {
            drop(calls);
            let first = peer.until(RST_STREAM).await;
            calls = (0..AT_ONCE).map(|_| gateway.get()).collect();
            for _ in 0..AT_ONCE {
                assert!(peer.until(HEADERS).await > first);
            }
            let last = calls.pop().unwrap();
            drop(calls);
            let mut streams = Vec::new();
            for _ in 1..AT_ONCE {
                streams.push(peer.until(RST_STREAM).await);
            }
            for stream in streams {
                peer.send(DATA, 0, stream, b"late").await;
            }
            calls = vec![last];
        }
        drop(calls);
        peer.until(RST_STREAM).await;
        let mut call = gateway.get();
        let stream = peer.until(HEADERS).await;
        // END_STREAM and END_HEADERS, and `:status: 200` (RFC 7541 appendix A).
        peer.send(HEADERS, 5, stream, b"\x88").await;
        assert_eq!(call.status().await, Ok(200));
    });
}
