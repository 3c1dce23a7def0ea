//! A tunnel: one WebSocket and the session on it.
#![allow(unused_variables, clippy::todo)]

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use anpx::{
    CloseCode, OpenError, RequestHead,
    session::{
        End,
        config::{V1Config, V2Config},
    },
};
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{RecvStream, SendStream};

/// The wire version of a tunnel, as the handshake left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Version 1.
    V1,
    /// Version 2.
    V2,
    /// Receiver that offered `anpx.v2` and got no answer: the first binary message decides (ANPX section 1).
    Undecided,
}

/// What a tunnel is made with.
#[derive(Clone, Debug)]
pub struct TunnelConfig {
    /// Session settings of version 1.
    pub v1: V1Config,
    /// Session settings of version 2.
    pub v2: V2Config,
    /// A side that read nothing this long sends a ping; twice this long without a byte ends the tunnel.
    pub ping_interval: Duration,
    /// How long frames may wait with nothing written before the tunnel ends.
    pub write_timeout: Duration,
}

/// Where a tunnel stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The peer has not yet shown that it speaks the protocol.
    Opening,
    /// Streams may be opened or accepted.
    Ready,
    /// One side began a drain: no new streams.
    Draining,
    /// The connection is gone.
    Closed,
}

/// Told of changes, from inside the driver: must be quick and must not call the tunnel.
pub trait Observer: Send + Sync {
    /// The status changed.
    fn status(&self, status: Status);
    /// A place for a stream became free, or the peer's `accepting` changed.
    fn capacity(&self);
}

/// Why a driver ended.
#[derive(Clone, Debug)]
pub struct Closed {
    /// The close code: ours where `by_peer` is false, else the peer's (`None`: the connection broke).
    pub code: Option<CloseCode>,
    /// The reason sent or read, or the I/O error, fit for a log.
    pub reason: String,
    /// True where the peer closed or vanished.
    pub by_peer: bool,
    /// True where the tunnel had been [`Status::Ready`].
    pub was_ready: bool,
}

/// A request as a receiver gets it.
#[derive(Debug)]
pub struct Incoming {
    /// The request's head.
    pub head: RequestHead,
    /// The request's body.
    pub body: RecvStream,
    /// Where the response goes.
    pub response: SendStream,
}

/// A handle on a tunnel, cheap to clone and usable from any thread.
#[derive(Clone, Debug)]
pub struct Tunnel {}

impl Tunnel {
    /// Puts a session on `io`, on which the WebSocket handshake is over. `read` holds bytes that
    /// were read past it. Nothing happens until the driver is polled.
    pub fn new<IO>(
        io: IO,
        read: Bytes,
        version: Version,
        config: TunnelConfig,
        observer: Option<Arc<dyn Observer>>,
    ) -> (Self, Driver<IO>)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send,
    {
        todo!()
    }

    /// Where the tunnel stands.
    pub fn status(&self) -> Status {
        todo!()
    }

    /// The wire version; `Undecided` until known.
    pub fn version(&self) -> Version {
        todo!()
    }

    /// Streams that hold a place now; an atomic load.
    pub fn open_streams(&self) -> usize {
        todo!()
    }

    /// How many streams may be opened now (0 while opening, paused, draining or full); an atomic load.
    pub fn capacity(&self) -> usize {
        todo!()
    }

    /// The least round-trip time seen.
    pub fn round_trip(&self) -> Option<Duration> {
        todo!()
    }

    /// Gateway: opens a stream. `body` is at most [`Tunnel::first_capacity`] bytes. With `End::Yes`
    /// the request is whole.
    pub fn open(
        &self,
        head: &RequestHead,
        body: Bytes,
        end: End,
    ) -> Result<(SendStream, RecvStream), OpenError> {
        todo!()
    }

    /// Most body bytes that may go inside a head.
    pub fn first_capacity(&self) -> usize {
        todo!()
    }

    /// Receiver: the next request; `None` once the tunnel ended.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Option<Incoming>> {
        todo!()
    }

    /// Receiver: pauses or resumes new streams (the local app's health).
    pub fn set_accepting(&self, accepting: bool) {
        todo!()
    }

    /// Begins a graceful end (ANPX 3.9); the driver ends once every stream has.
    pub fn drain(&self) {
        todo!()
    }

    /// Closes at once with `code` and a `reason` of at most 123 bytes.
    pub fn close(&self, code: CloseCode, reason: &'static str) {
        todo!()
    }
}

/// Moves the bytes of one tunnel: a future to be spawned, ready when the connection is gone.
#[derive(Debug)]
pub struct Driver<IO> {
    io: IO,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Future for Driver<IO> {
    type Output = Closed;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Closed> {
        todo!()
    }
}
