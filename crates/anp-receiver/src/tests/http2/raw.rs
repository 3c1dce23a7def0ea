//! An app's connection whose frames (RFC 9113 section 4.1) are read and written by hand.

use super::*;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

pub(super) struct Raw(crate::tests::Peer);

impl App {
    /// Takes a connection and sends `settings`, the payload of a SETTINGS frame.
    pub(super) async fn accept_raw(&self, settings: &[u8]) -> Raw {
        let (io, _) = self.listener.accept().await.unwrap();
        let read = BytesMut::new();
        let mut peer = crate::tests::Peer { io, read };
        peer.until("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        let mut raw = Raw(peer);
        raw.send(SETTINGS, 0, 0, settings).await;
        raw
    }
}

impl Raw {
    pub(super) async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let frame = [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat();
        self.0.io.write_all(&frame).await.unwrap();
    }

    /// The stream of the next frame of `kind`; settings and pings on the way are answered.
    pub(super) async fn until(&mut self, kind: u8) -> u32 {
        self.frame(kind).await.0
    }

    /// Stream and payload of the next frame of `kind`; settings and pings on the way are answered.
    pub(super) async fn frame(&mut self, kind: u8) -> (u32, Vec<u8>) {
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
                let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
                return (stream, payload);
            }
        }
    }

    /// Says that no request was processed, and that none is taken any more.
    pub(super) async fn go_away(&mut self) {
        // The last stream, then NO_ERROR (RFC 9113 section 6.8).
        self.send(GOAWAY, 0, 0, &[0; 8]).await;
    }

    async fn read(&mut self, into: &mut [u8]) {
        while self.0.read.len() < into.len() {
            let len = self.0.io.read_buf(&mut self.0.read).await.unwrap();
            assert_ne!(len, 0, "the receiver closed the connection");
        }
        into.copy_from_slice(&self.0.read.split_to(into.len()));
    }
}
