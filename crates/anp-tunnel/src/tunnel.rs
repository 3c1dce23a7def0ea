//! A tunnel: one WebSocket and the session on it.

use std::{
    borrow::Cow,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::Duration,
};

use anpx::{
    CloseCode, OpenError, RequestHead,
    session::{End, Session},
};
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    config::{TunnelConfig, Version},
    driver::Driver,
    shared::Shared,
    status::{Observer, Status},
    stream::{self, RecvStream, SendStream},
    timer::now,
};

/// A request as a receiver gets it.
#[derive(Debug)]
pub struct Incoming {
    /// The request's head.
    pub head: Box<RequestHead>,
    /// The request's body.
    pub body: RecvStream,
    /// Where the response goes.
    pub response: SendStream,
}

/// A handle on a tunnel, cheap to clone and usable from any thread.
#[derive(Clone, Debug)]
pub struct Tunnel {
    shared: Arc<Shared>,
}

impl Tunnel {
    /// Puts a session on `io`, on which the WebSocket handshake is over. `read` holds bytes that
    /// were read past it. Nothing happens until the driver is polled.
    ///
    /// The role is that of the configuration; a receiver is the WebSocket's client.
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
        let now = now();
        let session = config.session(version, now);
        let shared = Arc::new(Shared::new(session, version, observer));
        let driver = Driver::new(io, read, Arc::clone(&shared), config, now);
        (Self { shared }, driver)
    }

    /// Where the tunnel stands.
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// The wire version; `Undecided` until known.
    pub fn version(&self) -> Version {
        self.shared.with(|state| state.version)
    }

    /// Streams that hold a place now; an atomic load.
    pub fn open_streams(&self) -> usize {
        self.shared.open_streams()
    }

    /// How many streams may be opened now (0 while opening, paused, draining or full); an atomic load.
    pub fn capacity(&self) -> usize {
        self.shared.capacity()
    }

    /// Gateway: false while the receiver asks for no new streams (ANPX 3.9).
    pub fn is_accepting(&self) -> bool {
        self.shared.with(|state| {
            let session = state.session.as_ref();
            session.is_none_or(Session::is_accepting)
        })
    }

    /// The least round-trip time seen.
    pub fn round_trip(&self) -> Option<Duration> {
        self.shared.with(|state| state.round_trip)
    }

    /// Bytes read from the connection and written to it, WebSocket framing included.
    pub fn bytes(&self) -> (u64, u64) {
        let Shared { received, sent, .. } = &*self.shared;
        (received.load(Relaxed), sent.load(Relaxed))
    }

    /// Gateway: opens a stream. `body` is at most [`Tunnel::first_capacity`] bytes. With `End::Yes`
    /// the request is whole.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was sent.
    pub fn open(
        &self,
        head: &RequestHead,
        body: Bytes,
        end: End,
    ) -> Result<(SendStream, RecvStream), OpenError> {
        self.shared.with(|state| {
            let session = state.session.as_mut().ok_or(OpenError::Unavailable)?;
            let id = session.open(now, head, body, end)?;
            Ok(stream::halves(&self.shared, state, id))
        })
    }

    /// Most body bytes that may go inside a head.
    pub fn first_capacity(&self) -> usize {
        self.shared
            .with(|state| state.session.as_ref().map_or(0, Session::first_capacity))
    }

    /// Receiver: the next request; `None` once the tunnel ended.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Option<Incoming>> {
        self.shared.with(|state| {
            if let Some((id, head)) = state.session.as_mut().and_then(Session::accept) {
                let (response, body) = stream::halves(&self.shared, state, id);
                return Poll::Ready(Some(Incoming {
                    head,
                    body,
                    response,
                }));
            }
            if state.ended {
                return Poll::Ready(None);
            }
            state.wait_accept(cx.waker());
            Poll::Pending
        })
    }

    /// Receiver: pauses or resumes new streams (the local app's health).
    pub fn set_accepting(&self, accepting: bool) {
        self.shared.with(|state| {
            if let Some(session) = &mut state.session {
                session.set_accepting(accepting);
            }
        });
    }

    /// Begins a graceful end (ANPX 3.9); the driver ends once every stream has.
    pub fn drain(&self) {
        self.shared.with(|state| state.drain_requested = true);
        self.shared.set_status(Status::Draining);
    }

    /// Closes at once with `code` and a `reason` of at most 123 bytes.
    pub fn close(&self, code: CloseCode, reason: impl Into<Cow<'static, str>>) {
        let reason = reason.into();
        self.shared.with(|state| {
            state.close_request.get_or_insert((code, reason));
        });
    }
}
