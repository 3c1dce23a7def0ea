//! Codes and errors of streams and sessions.

use std::{borrow::Cow, fmt};

/// Why a stream was reset (ANPX 3.8). Unknown codes are kept as they are.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResetCode(pub u32);

impl ResetCode {
    /// The response is whole; the rest of the request is not wanted.
    pub const NO_ERROR: Self = Self(0);
    /// The downstream went away.
    pub const CANCELLED: Self = Self(1);
    /// No byte of the request reached the app: another tunnel may be tried.
    pub const REFUSED: Self = Self(2);
    /// No connection to the upstream.
    pub const UPSTREAM_UNREACHABLE: Self = Self(3);
    /// The upstream broke off.
    pub const UPSTREAM_FAILED: Self = Self(4);
    /// A timer of ours ran out.
    pub const TIMEOUT: Self = Self(5);
    /// A flow-control rule was broken.
    pub const FLOW_CONTROL: Self = Self(6);
    /// A rule of the protocol was broken on this stream.
    pub const PROTOCOL: Self = Self(7);
    /// Something exceeds a limit of ANPX section 4.
    pub const TOO_LARGE: Self = Self(8);
    /// A fault of the sender.
    pub const INTERNAL: Self = Self(9);

    /// The name used in `docs/protocol.md`, or `UNKNOWN`.
    pub fn name(self) -> &'static str {
        const NAMES: [&str; 10] = [
            "NO_ERROR",
            "CANCELLED",
            "REFUSED",
            "UPSTREAM_UNREACHABLE",
            "UPSTREAM_FAILED",
            "TIMEOUT",
            "FLOW_CONTROL",
            "PROTOCOL",
            "TOO_LARGE",
            "INTERNAL",
        ];
        usize::try_from(self.0)
            .ok()
            .and_then(|i| NAMES.get(i))
            .copied()
            .unwrap_or("UNKNOWN")
    }
}

impl fmt::Display for ResetCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}

impl fmt::Debug for ResetCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A WebSocket close code as ANPX uses them (3.10, RFC 6455 section 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// Done.
    pub const DONE: Self = Self(1000);
    /// Drained or shutting down.
    pub const GOING_AWAY: Self = Self(1001);
    /// A WebSocket rule was broken (RFC 6455).
    pub const WEBSOCKET_PROTOCOL: Self = Self(1002);
    /// A message larger than the limit.
    pub const TOO_BIG: Self = Self(1009);
    /// ANPX was broken.
    pub const PROTOCOL: Self = Self(4000);
    /// DID authentication failed.
    pub const AUTHENTICATION: Self = Self(4003);
    /// The endpoint is not the receiver's to serve.
    pub const NOT_PERMITTED: Self = Self(4004);
    /// A limit was reached.
    pub const LIMIT: Self = Self(4008);
}

/// The session must end; the transport closes the WebSocket with `code` and `reason`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} (close {})", code.0)]
pub struct SessionError {
    /// The close code to send.
    pub code: CloseCode,
    /// A short text, at most 123 bytes (RFC 6455 section 5.5).
    pub reason: Cow<'static, str>,
}

impl SessionError {
    /// A breach of ANPX: close 4000.
    pub const fn protocol(reason: &'static str) -> Self {
        Self {
            code: CloseCode::PROTOCOL,
            reason: Cow::Borrowed(reason),
        }
    }

    /// A limit was reached: close 4008.
    pub const fn limit(reason: &'static str) -> Self {
        Self {
            code: CloseCode::LIMIT,
            reason: Cow::Borrowed(reason),
        }
    }
}

/// A stream ended before it was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The peer reset the stream, or this side did because the peer broke a rule on it.
    #[error("stream reset: {0}")]
    Reset(ResetCode),
    /// The session ended under the stream.
    #[error("tunnel ended")]
    SessionEnded {
        /// False where no byte of the request was ever written: another tunnel may be tried.
        written: bool,
    },
}

/// Why a stream was not opened. Nothing of the request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The session takes no stream now: not established, paused, draining, or all places taken.
    #[error("the tunnel takes no new stream now")]
    Unavailable,
    /// The head exceeds a limit of ANPX section 4: the caller gets 431, or 414 for the target.
    #[error("the request head exceeds a limit of the tunnel")]
    TooLarge,
    /// The head breaks a rule of ANPX 3.3: the caller gets 400.
    #[error("the request head breaks a rule of the tunnel's protocol")]
    Invalid,
    /// The wire version of this session cannot carry the request (an upgrade on version 1).
    #[error("the tunnel cannot carry this request")]
    Unsupported,
}
