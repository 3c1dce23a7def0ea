//! Requests through two real tunnels to scripted apps that speak raw TCP.

mod bodies;
mod coded;
mod failures;
mod heads;
mod http2;
mod service;
mod tasks;
mod upgrades;

use std::{future::poll_fn, rc::Rc, sync::Arc, time::Duration};

use anp_tunnel::{Head, Part, RecvStream, SendStream, Status, Tunnel, TunnelConfig, Version};
use anpx::{
    Fields, RequestHead, StreamError,
    session::{End, Role},
};
use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{Builder, LocalOptions},
    task::spawn_local,
};

use crate::{
    app::{App as Called, Apps, PoolConfig, Tasks},
    coding::Codings,
    dispatch::dispatch,
};

/// Runs a test on a runtime such as a worker has.
fn on_worker(test: impl Future<Output = ()>) {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default());
    runtime.unwrap().block_on(test);
}

/// An app's end: accepts connections and plays its part by hand.
struct App {
    listener: TcpListener,
}

/// One connection that an app accepted.
struct Peer {
    io: TcpStream,
    read: BytesMut,
}

impl App {
    async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener }
    }

    fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    async fn accept(&self) -> Peer {
        let (io, _) = self.listener.accept().await.unwrap();
        let read = BytesMut::new();
        Peer { io, read }
    }
}

impl Peer {
    /// Reads up to and including `mark`.
    async fn until(&mut self, mark: &str) -> String {
        loop {
            let found = self
                .read
                .windows(mark.len())
                .position(|w| w == mark.as_bytes());
            if let Some(at) = found {
                let taken = self.read.split_to(at + mark.len());
                return String::from_utf8(taken.to_vec()).unwrap();
            }
            let len = self.io.read_buf(&mut self.read).await.unwrap();
            assert_ne!(len, 0, "closed before {mark:?}, after {:?}", self.read);
        }
    }

    /// Reads a request's head.
    async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    async fn send(&mut self, text: &str) {
        self.io.write_all(text.as_bytes()).await.unwrap();
    }

    /// Waits until the other side closed or reset the connection.
    async fn gone(&mut self) {
        while self
            .io
            .read_buf(&mut self.read)
            .await
            .is_ok_and(|len| len > 0)
        {}
    }

    /// Ends the connection with a reset instead of an orderly close.
    fn reset(self) {
        self.io.set_zero_linger().unwrap();
    }
}

/// A gateway's end of a tunnel whose other end dispatches to apps.
struct Gateway {
    tunnel: Tunnel,
}

/// A request under way, as the gateway sees it.
struct Call {
    send: SendStream,
    recv: RecvStream,
}

impl Gateway {
    /// A tunnel to a receiver that calls `apps`.
    async fn before(apps: &[&str]) -> Self {
        Self::with(apps, Version::V2, Codings::default()).await
    }

    async fn with(apps: &[&str], version: Version, codings: Codings) -> Self {
        let apps = apps_at(apps, codings);
        let tasks = Rc::new(Tasks::new(apps, Rc::default(), Arc::default()));
        Self::calling(Called::Http(tasks), version).await
    }

    /// A tunnel to a receiver that calls `app`.
    async fn calling(app: Called, version: Version) -> Self {
        let (ours, theirs) = tokio::io::duplex(256 << 10);
        let config = TunnelConfig::new(Role::Gateway);
        let (tunnel, driver) = Tunnel::new(ours, Bytes::new(), version, config, None);
        spawn_local(driver);
        let config = TunnelConfig::new(Role::Receiver);
        let (receiver, driver) = Tunnel::new(theirs, Bytes::new(), version, config, None);
        spawn_local(driver);
        spawn_local(async move { dispatch(&receiver, |incoming| app.take(incoming)).await });
        while tunnel.status() == Status::Opening {
            tokio::task::yield_now().await;
        }
        Self { tunnel }
    }

    /// Opens a stream; `body` of `None` is a request without one.
    fn call(&self, method: &str, fields: &[(&str, &str)], body: Option<(&str, End)>) -> Call {
        self.call_with(method, fields, body, None)
    }

    fn call_with(
        &self,
        method: &str,
        fields: &[(&str, &str)],
        body: Option<(&str, End)>,
        protocol: Option<&'static str>,
    ) -> Call {
        let head = RequestHead {
            protocol: protocol.map(|p| Bytes::from_static(p.as_bytes())),
            ..request_head(method, "/a%2Fb?q=%zz", fields)
        };
        let (body, end) = match (body, protocol) {
            (Some((body, end)), _) => (Bytes::copy_from_slice(body.as_bytes()), end),
            (None, None) => (Bytes::new(), End::Yes),
            (None, Some(_)) => (Bytes::new(), End::No),
        };
        let (send, recv) = self.tunnel.open(&head, body, end).unwrap();
        Call { send, recv }
    }

    /// A GET of `target`.
    fn call_to(&self, target: &'static str) -> Call {
        let head = request_head("GET", target, &[]);
        let (send, recv) = self.tunnel.open(&head, Bytes::new(), End::Yes).unwrap();
        Call { send, recv }
    }

    fn get(&self) -> Call {
        self.call("GET", &[], None)
    }
}

fn apps_at(urls: &[&str], codings: Codings) -> Apps {
    let urls: Vec<_> = urls.iter().map(|url| url.parse().unwrap()).collect();
    let config = PoolConfig {
        connect_timeout: Duration::from_secs(5),
        max_idle: 64,
        idle_timeout: Duration::from_secs(60),
    };
    Apps::new(&urls, config).coded(codings)
}

fn request_head(method: &str, target: &'static str, fields: &[(&str, &str)]) -> RequestHead {
    RequestHead {
        method: Bytes::copy_from_slice(method.as_bytes()),
        target: Bytes::from_static(target.as_bytes()),
        scheme: Bytes::from_static(b"http"),
        authority: Bytes::from_static(b"public.example"),
        headers: Fields::from_pairs(fields.iter().copied()).unwrap(),
        request_id: Bytes::from_static(b"0f8fad5b-d9cb-469f-a165-70867728950e"),
        client_addr: None,
        protocol: None,
    }
}

/// A response, whole.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    fields: Vec<(String, String)>,
    body: String,
    trailers: Vec<(String, String)>,
}

fn texts(fields: &Fields) -> Vec<(String, String)> {
    let text = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
    fields.iter().map(|(n, v)| (text(n), text(v))).collect()
}

impl Call {
    async fn head(&mut self) -> Result<Head, StreamError> {
        poll_fn(|cx| self.recv.poll_head(cx)).await
    }

    async fn part(&mut self) -> Option<Result<Part, StreamError>> {
        poll_fn(|cx| self.recv.poll_part(cx)).await
    }

    /// The next body bytes as text.
    async fn text(&mut self) -> String {
        match self.part().await {
            Some(Ok(Part::Data(data, _))) => String::from_utf8(data.to_vec()).unwrap(),
            other => panic!("expected body bytes, got {other:?}"),
        }
    }

    /// The final head's status, informational heads skipped.
    async fn status(&mut self) -> Result<u16, StreamError> {
        loop {
            if let Head::Final(head, _) = self.head().await? {
                return Ok(head.status);
            }
        }
    }

    async fn send(&mut self, data: impl Into<Bytes>, end: End) -> Result<(), StreamError> {
        let mut data = data.into();
        loop {
            let room = match data.is_empty() {
                true => 0,
                false => poll_fn(|cx| self.send.poll_capacity(cx)).await?,
            };
            let piece = data.split_to(room.min(data.len()));
            let last = data.is_empty();
            self.send
                .send_data(piece, End::from(last && end.is_end()))?;
            if last {
                return Ok(());
            }
        }
    }

    /// Reads the rest of the body; gives its length.
    async fn drain(&mut self) -> Result<usize, StreamError> {
        let mut len = 0;
        while let Some(part) = self.part().await {
            if let Part::Data(data, _) = part? {
                len += data.len();
            }
        }
        Ok(len)
    }

    /// The whole response.
    async fn answer(&mut self) -> Result<Answer, StreamError> {
        let head = loop {
            if let Head::Final(head, _) = self.head().await? {
                break head;
            }
        };
        let mut answer = Answer {
            status: head.status,
            fields: texts(&head.headers),
            body: String::new(),
            trailers: Vec::new(),
        };
        while let Some(part) = self.part().await {
            match part? {
                Part::Data(data, _) => answer.body.push_str(std::str::from_utf8(&data).unwrap()),
                Part::Trailers(trailers) => answer.trailers = texts(&trailers),
            }
        }
        Ok(answer)
    }
}
