//! A tunnel: one WebSocket and the session on it.

use std::{
    borrow::Cow,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use anpx::{
    CloseCode, OpenError, RequestHead,
    limits::{FRAME_OVERHEAD, MAX_V1_FRAME},
    session::{
        End, Role, Session,
        config::{V1Config, V2Config},
        v1, v2,
    },
};
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{Driver, RecvStream, SendStream, shared::Shared, stream};

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

/// What a tunnel is made with. Its two session settings must be for the same role.
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

impl TunnelConfig {
    /// The defaults for `role`: pings every 10 s, 30 s to write.
    pub fn new(role: Role) -> Self {
        Self {
            v1: V1Config::new(role),
            v2: V2Config::new(role),
            ping_interval: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
        }
    }

    /// The session of `version`, `None` while it is undecided.
    pub(crate) fn session(&self, version: Version, now: Instant) -> Option<Session> {
        match version {
            Version::V1 => Some(Session::V1(v1::Session::new(self.v1.clone(), now))),
            Version::V2 => Some(Session::V2(v2::Session::new(self.v2.clone(), now))),
            Version::Undecided => None,
        }
    }

    /// Most bytes of a message on `version` (ANPX section 4).
    pub(crate) fn message_limit(&self, version: Version) -> usize {
        match version {
            Version::V2 => {
                let body = usize::try_from(self.v2.max_frame_body).unwrap_or(usize::MAX);
                body.saturating_add(FRAME_OVERHEAD)
            }
            Version::V1 | Version::Undecided => MAX_V1_FRAME,
        }
    }
}

/// Where a tunnel stands. It only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
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

impl Status {
    pub(crate) fn from_u8(value: u8) -> Self {
        match value {
            0 => Self::Opening,
            1 => Self::Ready,
            2 => Self::Draining,
            _ => Self::Closed,
        }
    }
}

/// Told of changes as they happen, on the thread that caused them: must be quick.
pub trait Observer: Send + Sync {
    /// The status changed.
    fn status(&self, status: Status);
    /// There are places for streams where there were none, or the peer's `accepting` changed.
    fn capacity(&self);
}

/// Why a driver ended.
#[derive(Clone, Debug)]
pub struct Closed {
    /// The close code: ours where `by_peer` is false, else the peer's. `None`: the connection broke, or
    /// was silent or full for too long.
    pub code: Option<CloseCode>,
    /// The reason sent or read, or the I/O error, fit for a log.
    pub reason: String,
    /// True where the peer closed or the connection broke; false where this side would not have it any
    /// longer.
    pub by_peer: bool,
    /// True where the tunnel had been [`Status::Ready`].
    pub was_ready: bool,
}

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

/// The time, as tokio's clock tells it: tests pause that one.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
