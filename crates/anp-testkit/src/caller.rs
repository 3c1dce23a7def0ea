//! An HTTP caller made of raw bytes.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A connection to a gateway's public port.
#[derive(Debug)]
pub struct Caller {
    socket: TcpStream,
    read: BytesMut,
}

/// The head of a response.
#[derive(Debug)]
pub struct ResponseHead {
    /// Status code.
    pub status: u16,
    /// The whole head as text.
    pub text: String,
}

impl ResponseHead {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.text.lines().skip(1).find_map(|line| {
            let (n, value) = line.split_once(':')?;
            n.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// How a body ended.
#[derive(Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// The message is whole.
    Whole,
    /// The connection ended inside it.
    Broken,
}

impl Caller {
    /// Connects.
    ///
    /// # Panics
    /// Nobody listens there.
    pub async fn connect(gateway: SocketAddr) -> Self {
        let socket = TcpStream::connect(gateway)
            .await
            .expect("the gateway listens");
        Self {
            socket,
            read: BytesMut::new(),
        }
    }

    /// Sends bytes as they are. False where the gateway has closed the connection.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.socket.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Sends a GET.
    pub async fn get(&mut self, target: &str) {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"))
            .await;
    }

    /// The next response head.
    ///
    /// # Panics
    /// The connection ended before one was whole.
    pub async fn head(&mut self) -> ResponseHead {
        let text = self.text_block().await;
        let status = text.get(9..12).and_then(|s| s.parse().ok());
        ResponseHead {
            status: status.expect("a status line"),
            text,
        }
    }

    /// Everything to the next empty line.
    ///
    /// # Panics
    /// The connection ended before.
    async fn text_block(&mut self) -> String {
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(self.fill().await, "no empty line: {:?}", self.read);
        };
        String::from_utf8_lossy(&self.read.split_to(end)).into_owned()
    }

    /// The next chunk of a chunked body; empty at its end, `None` where the connection ended.
    pub async fn chunk(&mut self) -> Option<Bytes> {
        let line = loop {
            if let Some(end) = self.read.windows(2).position(|w| w == b"\r\n") {
                break self.read.split_to(end + 2);
            }
            if !self.fill().await {
                return None;
            }
        };
        let size = std::str::from_utf8(&line).ok()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        let chunk = self.exactly(size + 2).await?;
        Some(chunk.slice(..size))
    }

    /// The rest of a chunked body, and how it ended.
    pub async fn chunks(&mut self) -> (Vec<u8>, BodyEnd) {
        let mut body = Vec::new();
        loop {
            match self.chunk().await {
                Some(chunk) if chunk.is_empty() => return (body, BodyEnd::Whole),
                Some(chunk) => body.extend_from_slice(&chunk),
                None => return (body, BodyEnd::Broken),
            }
        }
    }

    /// A body of `len` bytes, and how it ended.
    pub async fn sized(&mut self, len: usize) -> (Vec<u8>, BodyEnd) {
        match self.exactly(len).await {
            Some(body) => (body.into(), BodyEnd::Whole),
            None => (self.read.split().into(), BodyEnd::Broken),
        }
    }

    /// A head and the body its content-length tells.
    ///
    /// # Panics
    /// The head has no content-length, or the body is cut short.
    pub async fn response(&mut self) -> (ResponseHead, Vec<u8>) {
        let head = self.head().await;
        let len = head.header("content-length").and_then(|v| v.parse().ok());
        let (body, end) = self.sized(len.expect("a content-length")).await;
        assert_eq!(end, BodyEnd::Whole);
        (head, body)
    }

    async fn exactly(&mut self, len: usize) -> Option<Bytes> {
        while self.read.len() < len {
            if !self.fill().await {
                return None;
            }
        }
        Some(self.read.split_to(len).freeze())
    }

    async fn fill(&mut self) -> bool {
        matches!(self.socket.read_buf(&mut self.read).await, Ok(n) if n > 0)
    }
}
