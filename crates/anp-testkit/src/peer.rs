//! A receiver made of raw bytes: it says whatever a test wants said.

use std::net::SocketAddr;

use anpx::{
    frame::Frame,
    v2::{self, Payload},
};
use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A connection to a gateway's tunnel port on which the WebSocket handshake is over.
#[derive(Debug)]
pub struct Peer {
    socket: TcpStream,
    read: BytesMut,
}

/// What a peer reads.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// A binary message.
    Binary(Bytes),
    /// A text message.
    Text(Bytes),
    /// Ping or pong.
    Control(u8),
    /// A Close and its code.
    Close(u16),
    /// The connection ended without a Close.
    Gone,
}

impl Peer {
    /// Connects and offers `protocol`; `path` may carry `?receiver=NAME`.
    ///
    /// # Panics
    /// The gateway refused the handshake.
    pub async fn connect(gateway: SocketAddr, path: &str, protocol: &str) -> Self {
        let mut socket = TcpStream::connect(gateway)
            .await
            .expect("the gateway listens");
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {gateway}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: {protocol}\r\n\r\n"
        );
        socket
            .write_all(request.as_bytes())
            .await
            .expect("the request is written");
        let mut read = BytesMut::new();
        let end = loop {
            if let Some(end) = read.windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
            let n = socket
                .read_buf(&mut read)
                .await
                .expect("the answer is read");
            assert!(n > 0, "the handshake was cut short: {read:?}");
        };
        let head = read.split_to(end);
        assert!(
            head.starts_with(b"HTTP/1.1 101 "),
            "{}",
            String::from_utf8_lossy(&head)
        );
        Self { socket, read }
    }

    /// Connects on version 2; ready once both sides have read the other's SETTINGS.
    pub async fn ready(gateway: SocketAddr, path: &str) -> Self {
        let mut peer = Self::connect(gateway, path, "anpx.v2").await;
        peer.send(&v2::encode::settings(&v2::Settings::default()))
            .await;
        assert!(matches!(peer.frame().await.payload, Payload::Settings(_)));
        // What answers this ping has read what came before it.
        peer.send_raw(&message(0x89, b"")).await;
        loop {
            match peer.read().await {
                Said::Control(10) => return peer,
                Said::Control(_) | Said::Binary(_) => {}
                other => panic!("{other:?} in place of a pong"),
            }
        }
    }

    /// Sends bytes as they are. False where the gateway has closed the connection.
    pub async fn send_raw(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).await.is_ok()
    }

    /// Sends one binary message. False where the gateway has closed the connection.
    pub async fn send_binary(&mut self, payload: &[u8]) -> bool {
        self.send_raw(&message(0x82, payload)).await
    }

    /// Sends one frame. False where the gateway has closed the connection.
    pub async fn send(&mut self, frame: &Frame) -> bool {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.send_binary(&bytes).await
    }

    /// The next version-2 frame; control frames in between are passed over.
    ///
    /// # Panics
    /// Something else came.
    pub async fn frame(&mut self) -> v2::Frame {
        loop {
            match self.read().await {
                Said::Binary(bytes) => {
                    return v2::Frame::decode(&bytes).expect("the gateway's frame is sound");
                }
                Said::Control(_) => {}
                other => panic!("{other:?} in place of a frame"),
            }
        }
    }

    /// The id of the next REQUEST; all else is passed over.
    pub async fn request(&mut self) -> u32 {
        loop {
            let frame = self.frame().await;
            if let Payload::Request { .. } = frame.payload {
                return frame.stream;
            }
        }
    }

    /// Reads until the gateway closes; the code, or `None` where it just went away.
    pub async fn closed(&mut self) -> Option<u16> {
        loop {
            match self.read().await {
                Said::Close(code) => return Some(code),
                Said::Gone => return None,
                _ => {}
            }
        }
    }

    /// The next thing the gateway says.
    pub async fn read(&mut self) -> Said {
        loop {
            if let Some(said) = self.take() {
                return said;
            }
            if !matches!(self.socket.read_buf(&mut self.read).await, Ok(n) if n > 0) {
                return Said::Gone;
            }
        }
    }

    /// Takes one unmasked, unfragmented frame off what was read.
    fn take(&mut self) -> Option<Said> {
        let (first, second) = (*self.read.first()?, *self.read.get(1)?);
        let (at, len) = match second {
            126 => (
                4,
                usize::from(u16::from_be_bytes(self.read.get(2..4)?.try_into().ok()?)),
            ),
            127 => {
                let len = u64::from_be_bytes(self.read.get(2..10)?.try_into().ok()?);
                (10, usize::try_from(len).ok()?)
            }
            len => (2, usize::from(len)),
        };
        if self.read.len() < at + len {
            return None;
        }
        let _ = self.read.split_to(at);
        let payload = self.read.split_to(len).freeze();
        Some(match first & 0x0f {
            1 => Said::Text(payload),
            2 => Said::Binary(payload),
            8 => Said::Close(
                payload
                    .get(..2)
                    .map_or(1005, |c| u16::from_be_bytes([c[0], c[1]])),
            ),
            opcode => Said::Control(opcode),
        })
    }
}

/// A masked WebSocket frame whose first byte is `first`; the key is 0, which leaves bytes as they are.
pub fn message(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | u8::try_from(len).unwrap_or(0)),
        len @ 126..=65535 => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(len).unwrap_or(0).to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend(u64::try_from(len).unwrap_or(0).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}
