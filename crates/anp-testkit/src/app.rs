//! Local apps made of raw bytes, which misbehave as told.

use std::{future::Future, net::SocketAddr};

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use http::Request;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};

/// An app that hands every connection to a closure, with its first request's head read.
#[derive(Debug)]
pub struct App {
    addr: SocketAddr,
    scheme: &'static str,
    task: JoinHandle<()>,
}

impl Drop for App {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A connection to an app.
#[derive(Debug)]
pub struct Connection {
    socket: TcpStream,
    read: BytesMut,
}

impl App {
    /// An app that runs `serve` for each connection.
    ///
    /// # Panics
    /// No port is free.
    pub async fn start<S, F>(serve: S) -> Self
    where
        S: Fn(Connection) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("a bound port");
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(Connection {
                    socket,
                    read: BytesMut::new(),
                }));
            }
        });
        Self {
            addr,
            scheme: "http",
            task,
        }
    }

    /// An app that speaks HTTP/2 and runs `serve` for each request.
    ///
    /// # Panics
    /// No port is free.
    pub async fn http2<S, F>(serve: S) -> Self
    where
        S: Fn(Request<h2::RecvStream>, SendResponse<Bytes>) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("a bound port");
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let serve = serve.clone();
                tokio::spawn(async move {
                    let mut builder = h2::server::Builder::new();
                    let handshake = builder.enable_connect_protocol().handshake(socket);
                    let Ok(mut connection) = handshake.await else {
                        return;
                    };
                    while let Some(Ok((request, answer))) = connection.accept().await {
                        tokio::spawn(serve(request, answer));
                    }
                });
            }
        });
        Self {
            addr,
            scheme: "h2c",
            task,
        }
    }

    /// An app that refuses connections: its port is taken, and nobody listens.
    ///
    /// # Panics
    /// No port is free.
    pub fn refusing() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(free).expect("a free port");
        Self {
            addr: socket.local_addr().expect("a bound port"),
            scheme: "http",
            task: tokio::spawn(async move {
                let _held = socket;
                std::future::pending().await
            }),
        }
    }

    /// An app that gives its connections to the test.
    pub async fn by_hand() -> (Self, mpsc::UnboundedReceiver<Connection>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let app = Self::start(move |connection| {
            let _ = sender.send(connection);
            std::future::ready(())
        });
        (app.await, receiver)
    }

    /// Stops listening; ready once connections are refused. Those it has go on.
    pub async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.addr)
    }
}

impl Connection {
    /// The next request head as text; `None` once the caller is gone.
    pub async fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.windows(4).position(|w| w == b"\r\n\r\n") {
                return Some(String::from_utf8_lossy(&self.read.split_to(end + 4)).into_owned());
            }
            if !matches!(self.socket.read_buf(&mut self.read).await, Ok(n) if n > 0) {
                return None;
            }
        }
    }

    /// Reads `len` bytes of a body.
    pub async fn body(&mut self, len: usize) -> Option<Vec<u8>> {
        while self.read.len() < len {
            if !matches!(self.socket.read_buf(&mut self.read).await, Ok(n) if n > 0) {
                return None;
            }
        }
        Some(self.read.split_to(len).into())
    }

    /// Writes bytes as they are. False where the caller is gone.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.socket.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Writes a response with this body.
    pub async fn answer(&mut self, body: &str) -> bool {
        self.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await
    }

    /// Waits until the caller closes the connection, whatever it still sends.
    pub async fn closed(&mut self) {
        self.rest().await;
    }

    /// Everything the caller still sends before it closes the connection.
    pub async fn rest(&mut self) -> Vec<u8> {
        while matches!(self.socket.read_buf(&mut self.read).await, Ok(n) if n > 0) {}
        self.read.split().into()
    }

    /// Ends the connection with a reset.
    pub fn abort(self) {
        let _ = self.socket.set_zero_linger();
    }
}
