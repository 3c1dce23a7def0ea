//! Where a tunnel stands, and who is told.

use anpx::CloseCode;

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
