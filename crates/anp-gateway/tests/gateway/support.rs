//! The three parties of a test.

use std::{future::poll_fn, net::SocketAddr, sync::Arc, time::Duration};

use anp_gateway::{Bound, Config, Endpoint, Gateway, GatewayError, Shutdown};
use anp_tunnel::{
    Closed, Incoming, Observer, Part, RecvStream, Status, Tunnel, TunnelConfig, Version,
};
use anpx::{
    Fields, ResponseHead, StreamError,
    session::{End, Role},
};
use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

/// How long any single step may take before its test fails.
const LIMIT: Duration = Duration::from_secs(20);

/// Fails the test where `step` never happens.
pub(crate) async fn soon<T>(step: impl Future<Output = T>) -> T {
    timeout(LIMIT, step).await.expect("the step never happened")
}

/// A gateway that runs.
pub(crate) struct Running {
    pub(crate) public: SocketAddr,
    pub(crate) tunnel: SocketAddr,
    pub(crate) redirect: Option<SocketAddr>,
    pub(crate) admin: SocketAddr,
    pub(crate) shutdown: watch::Sender<Shutdown>,
    pub(crate) ended: JoinHandle<Result<(), GatewayError>>,
}

/// Two workers, every port free.
pub(crate) fn config() -> Config {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Config {
        listen: any,
        tunnel_listen: any,
        admin_listen: Some(any),
        workers: Some(2),
        ..Config::default()
    }
}

/// The endpoint `/name`, which one receiver serves.
pub(crate) fn endpoint(name: &str, receiver: &str) -> Endpoint {
    Endpoint {
        name: name.to_owned(),
        path: format!("/{name}"),
        receivers: vec![receiver.to_owned()],
        ..Endpoint::default()
    }
}

pub(crate) async fn start(config: Config) -> Running {
    run(Gateway::bind(config).await.unwrap())
}

/// A gateway of `config` on the listeners of another.
pub(crate) async fn following(old: &Bound, config: Config) -> Bound {
    let config = Config {
        listen: old.public_addr(),
        tunnel_listen: old.tunnel_addr(),
        redirect_listen: old.redirect_addr(),
        admin_listen: old.admin_addr(),
        ..config
    };
    Gateway::bind_with(config, old.listeners().unwrap())
        .await
        .unwrap()
}

pub(crate) fn run(bound: Bound) -> Running {
    let (shutdown, asked) = watch::channel(Shutdown::No);
    Running {
        public: bound.public_addr(),
        tunnel: bound.tunnel_addr(),
        redirect: bound.redirect_addr(),
        admin: bound.admin_addr().unwrap(),
        shutdown,
        ended: tokio::spawn(bound.run(asked)),
    }
}

impl Running {
    /// A receiver whose tunnel is ready on both sides.
    pub(crate) async fn receiver(&self) -> Receiver {
        self.receiver_with("r", TunnelConfig::new(Role::Receiver))
            .await
    }

    pub(crate) async fn receiver_with(&self, name: &str, config: TunnelConfig) -> Receiver {
        let offer = [
            ("Sec-WebSocket-Protocol", "anpx.v2"),
            ("ANP-Receiver", name),
        ];
        let mut caller = Caller::connect(self.tunnel).await;
        caller.handshake("/", &offer).await;
        let head = caller.head().await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        assert!(head.contains("sec-websocket-protocol: anpx.v2"), "{head}");
        let receiver = Receiver::on(caller, Version::V2, config).await;
        self.all_ready().await;
        receiver
    }

    /// Waits until the gateway has read the settings of every tunnel, which it may after the receiver
    /// has read those of the gateway.
    pub(crate) async fn all_ready(&self) {
        let read = async {
            while self
                .ask_admin("/tunnels?limit=1000")
                .await
                .contains("\"opening\"")
            {}
        };
        soon(read).await;
    }

    /// A receiver of version 1 whose tunnel is ready.
    pub(crate) async fn receiver_v1(&self) -> Receiver {
        let mut caller = Caller::connect(self.tunnel).await;
        caller.handshake("/ws", &[]).await;
        let head = caller.head().await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        Receiver::on(caller, Version::V1, TunnelConfig::new(Role::Receiver)).await
    }

    /// One whole exchange on a connection of its own, which the caller asks to be closed.
    pub(crate) async fn get(&self, target: &str) -> String {
        let mut caller = Caller::connect(self.public).await;
        let request = format!("GET {target} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        caller.send(&request).await;
        caller.rest().await
    }

    /// What `/metrics` says.
    pub(crate) async fn metrics(&self) -> String {
        self.ask_admin("/metrics").await
    }

    /// What the admin listener answers to a GET.
    pub(crate) async fn ask_admin(&self, path: &str) -> String {
        let mut caller = Caller::connect(self.admin).await;
        caller
            .send(format!(
                "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
            ))
            .await;
        caller.rest().await
    }

    /// Waits until the metrics hold this line; all of them.
    pub(crate) async fn metrics_say(&self, line: &str) -> String {
        let said = async {
            loop {
                let metrics = self.metrics().await;
                if metrics.contains(&format!("{line}\n")) {
                    return metrics;
                }
            }
        };
        soon(said).await
    }

    pub(crate) async fn caller(&self) -> Caller {
        Caller::connect(self.public).await
    }
}

/// A receiver played by the test.
pub(crate) struct Receiver {
    pub(crate) tunnel: Tunnel,
    pub(crate) driver: JoinHandle<Closed>,
}

struct Ready(watch::Sender<Status>);

impl Observer for Ready {
    fn status(&self, status: Status) {
        self.0.send_replace(status);
    }
    fn capacity(&self) {}
}

impl Receiver {
    pub(crate) async fn on<IO>(caller: Caller<IO>, version: Version, config: TunnelConfig) -> Self
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (status, mut ready) = watch::channel(Status::Opening);
        let (tunnel, driver) = Tunnel::new(
            caller.socket,
            Bytes::from(caller.read),
            version,
            config,
            Some(Arc::new(Ready(status))),
        );
        let driver = tokio::spawn(driver);
        soon(ready.wait_for(|s| *s == Status::Ready)).await.unwrap();
        Self { tunnel, driver }
    }

    /// On a connection whose handshake is over.
    pub(crate) async fn on_default<IO>(caller: Caller<IO>) -> Self
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        Self::on(caller, Version::V2, TunnelConfig::new(Role::Receiver)).await
    }

    /// The next request.
    pub(crate) async fn accept(&self) -> Incoming {
        soon(poll_fn(|cx| self.tunnel.poll_accept(cx)))
            .await
            .expect("the tunnel ended")
    }

    /// Ends the connection as a killed process does.
    pub(crate) async fn kill(self) {
        self.driver.abort();
        let _ = self.driver.await;
    }
}

pub(crate) fn head(status: u16, fields: &[(&str, &str)]) -> ResponseHead {
    ResponseHead {
        status,
        headers: Fields::from_pairs(fields.iter().copied()).unwrap(),
    }
}

/// Answers with a text.
pub(crate) fn answer(request: &mut Incoming, status: u16, text: &'static str) {
    let length = text.len().to_string();
    let head = head(status, &[("content-length", &length)]);
    let text = Bytes::from_static(text.as_bytes());
    request.response.respond(&head, text, End::Yes).unwrap();
}

/// The next part of a body.
pub(crate) async fn part(body: &mut RecvStream) -> Option<Result<Part, StreamError>> {
    soon(poll_fn(|cx| body.poll_part(cx))).await
}

/// The whole of a body.
pub(crate) async fn body(body: &mut RecvStream) -> Result<Vec<u8>, StreamError> {
    let mut bytes = Vec::new();
    while let Some(next) = part(body).await {
        match next? {
            Part::Data(data, _) => bytes.extend_from_slice(&data),
            Part::Trailers(_) => {}
        }
    }
    Ok(bytes)
}

/// Sends all of `data` on the response, as its windows allow.
pub(crate) async fn send(
    request: &mut Incoming,
    mut data: Bytes,
    end: End,
) -> Result<(), StreamError> {
    while !data.is_empty() {
        let most = soon(poll_fn(|cx| request.response.poll_capacity(cx))).await?;
        let piece = data.split_to(most.min(data.len()));
        let last = data.is_empty() && end.is_end();
        request.response.send_data(piece, End::from(last))?;
    }
    Ok(())
}

/// A caller that writes and reads raw bytes.
pub(crate) struct Caller<IO = TcpStream> {
    pub(crate) socket: IO,
    read: Vec<u8>,
}

impl Caller {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let socket = soon(TcpStream::connect(address)).await.unwrap();
        socket.set_nodelay(true).unwrap();
        Self::on(socket)
    }

    /// Leaves with a reset.
    pub(crate) fn reset(self) {
        self.socket.set_zero_linger().unwrap();
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Caller<IO> {
    /// On a connection that is open already.
    pub(crate) fn on(socket: IO) -> Self {
        Self {
            socket,
            read: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon(self.socket.write_all(bytes.as_ref())).await.unwrap();
    }

    /// A GET that leaves the connection open.
    pub(crate) async fn get(&mut self, target: &str) {
        self.send(format!("GET {target} HTTP/1.1\r\nhost: test\r\n\r\n"))
            .await;
    }

    pub(crate) async fn handshake(&mut self, target: &str, headers: &[(&str, &str)]) {
        let mut request = format!(
            "GET {target} HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        );
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        self.send(request + "\r\n").await;
    }

    /// Reads up to and with `end`.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        loop {
            let found = self
                .read
                .windows(end.len())
                .position(|w| w == end.as_bytes());
            if let Some(at) = found {
                let rest = self.read.split_off(at + end.len());
                let read = std::mem::replace(&mut self.read, rest);
                return String::from_utf8(read).unwrap();
            }
            let n = soon(self.socket.read_buf(&mut self.read)).await.unwrap();
            let so_far = String::from_utf8_lossy(&self.read);
            assert!(
                n > 0,
                "the connection ended before {end:?}, after {so_far:?}"
            );
        }
    }

    /// A response head.
    pub(crate) async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    /// Exactly so many bytes.
    pub(crate) async fn exactly(&mut self, n: usize) -> Vec<u8> {
        while self.read.len() < n {
            let got = soon(self.socket.read_buf(&mut self.read)).await.unwrap();
            assert!(got > 0, "the connection ended early");
        }
        let rest = self.read.split_off(n);
        std::mem::replace(&mut self.read, rest)
    }

    /// Everything up to the connection's end, whole or broken.
    pub(crate) async fn rest(&mut self) -> String {
        String::from_utf8(self.rest_bytes().await).unwrap()
    }

    /// Everything up to the connection's end, whatever it is.
    pub(crate) async fn rest_bytes(&mut self) -> Vec<u8> {
        self.drain().await;
        std::mem::take(&mut self.read).to_vec()
    }

    /// Waits for the connection's end.
    pub(crate) async fn drain(&mut self) {
        while let Ok(1..) = soon(self.socket.read_buf(&mut self.read)).await {}
    }

    /// Ends what is sent; the answer can still be read.
    pub(crate) async fn finish(&mut self) {
        soon(self.socket.shutdown()).await.unwrap();
    }

    /// True where the connection ends with a reset, false where it ends plainly.
    pub(crate) async fn is_reset(&mut self) -> bool {
        loop {
            match soon(self.socket.read_buf(&mut self.read)).await {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }
}
