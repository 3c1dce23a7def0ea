//! Whether the app at the other end of a connection is still there.
//!
//! A connection whose app was cut off, without a word, looks like one whose app takes its time. So
//! where streams wait and nothing comes, the app is asked with a ping, and gets no new streams until
//! something is heard; a connection without an answer ends.

use std::{
    cell::Cell,
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use h2::{Ping, PingPong};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::{Instant, sleep, timeout},
};

/// How long streams wait before the app is in doubt, to twice as long where it said something
/// meanwhile.
pub(super) const SILENCE: Duration = Duration::from_secs(10);
/// How long the answer to a ping may take: an app that computes may be slow to say anything.
pub(super) const PONG: Duration = Duration::from_secs(20);
/// Pings that an app gets without having answered any request between them. Servers of gRPC end a
/// connection at the third.
const PINGS: u8 = 2;
/// Pings this far apart are no nuisance to those servers, whose limit is 300 s.
const PING_INTERVAL: Duration = Duration::from_secs(330);

/// What is known of a connection's app.
#[derive(Debug)]
pub(super) struct Liveness {
    streams: Cell<usize>,
    /// Something was read since this was last set back.
    heard: Cell<bool>,
    /// Nothing was read though a stream waited.
    doubted: Cell<bool>,
    /// Part of an answer came since the last ping.
    answered: Cell<bool>,
    /// There is a stream, after there was none.
    asked: Notify,
}

/// A stream of a connection; it counts until it is dropped.
#[derive(Debug)]
pub(super) struct Waiting(Rc<Liveness>);

/// A connection's socket, whose reads are noticed.
#[derive(Debug)]
pub(super) struct Heard<IO> {
    io: IO,
    liveness: Rc<Liveness>,
}

impl Liveness {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            streams: Cell::new(0),
            heard: Cell::new(false),
            doubted: Cell::new(false),
            answered: Cell::new(false),
            asked: Notify::new(),
        })
    }

    /// Notices what is read from `io`.
    pub(super) fn hear<IO>(self: &Rc<Self>, io: IO) -> Heard<IO> {
        let liveness = Rc::clone(self);
        Heard { io, liveness }
    }

    /// Streams that are open.
    pub(super) fn streams(&self) -> usize {
        self.streams.get()
    }

    /// The app is asked whether it is there, or cannot be asked so soon again.
    pub(super) fn is_doubted(&self) -> bool {
        self.doubted.get()
    }

    /// Counts a stream, which waits for the app.
    pub(super) fn wait(self: &Rc<Self>) -> Waiting {
        let before = self.streams.replace(self.streams.get() + 1);
        if before == 0 {
            self.asked.notify_one();
        }
        Waiting(Rc::clone(self))
    }

    /// Watches until the app is found gone.
    pub(super) async fn watch(&self, mut ping: PingPong) {
        let mut left = PINGS;
        let mut last: Option<Instant> = None;
        loop {
            self.silence().await;
            self.doubted.set(true);
            if self.answered.take() {
                left = PINGS;
            }
            let rare = last.is_none_or(|last| last.elapsed() >= PING_INTERVAL);
            if left == 0 && !(rare && self.streams() > 0) {
                continue;
            }
            left = left.saturating_sub(1);
            last = Some(Instant::now());
            if self.pong(&mut ping).await.is_err() {
                return;
            }
        }
    }

    /// Ready once a stream waited and nothing was read for a while.
    async fn silence(&self) {
        loop {
            while self.streams() == 0 && !self.doubted.get() {
                self.asked.notified().await;
            }
            self.heard.set(false);
            sleep(SILENCE).await;
            if !self.heard.get() {
                return;
            }
        }
    }

    /// Asks the app. Fails where nothing is heard for [`PONG`].
    async fn pong(&self, ping: &mut PingPong) -> Result<(), Gone> {
        let mut pong = pin!(ping.ping(Ping::opaque()));
        loop {
            self.heard.set(false);
            match timeout(PONG, &mut pong).await {
                Ok(pong) => return pong.map(drop).map_err(|_| Gone),
                // Behind what it sends, its answer may be late.
                Err(_) if self.heard.get() => {}
                Err(_) => return Err(Gone),
            }
        }
    }
}

/// The app does not answer.
struct Gone;

impl Waiting {
    /// The app sent part of an answer.
    pub(super) fn answered(&self) {
        self.0.answered.set(true);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let streams = &self.0.streams;
        streams.set(streams.get().saturating_sub(1));
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Heard<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.io).poll_read(cx, buf);
        if read.is_ready() {
            this.liveness.heard.set(true);
            this.liveness.doubted.set(false);
        }
        read
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Heard<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
