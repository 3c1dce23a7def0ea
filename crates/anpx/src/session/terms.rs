//! What a session and its owner say to each other.

use bytes::Bytes;

use crate::{Fields, ResponseHead, frame::Frame};

/// Names a stream within its session. On version 1 the number is local and the wire has the request id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u32);

/// What a session tells its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer speaks the protocol: SETTINGS was read; on version 1 the first frame or JSON pong.
    Established,
    /// Receiver: [`Session::accept`](super::Session::accept) has a request.
    Incoming,
    /// [`Session::read`](super::Session::read) has something new to say about this stream.
    Readable(StreamId),
    /// [`Session::send_capacity`](super::Session::send_capacity) may have grown, or the stream was reset.
    Writable(StreamId),
    /// Gateway: [`Session::capacity`](super::Session::capacity) may have changed. Not told of where
    /// it grew and was not 0.
    Capacity,
    /// The peer will take (gateway) or open (receiver) no more streams: open another tunnel.
    Draining,
}

/// The next part of a half, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// Gateway: an informational head; the final one follows.
    Informational(ResponseHead),
    /// Gateway: the final head. With `end` nothing follows.
    Head(ResponseHead, End),
    /// Body bytes. With `end` nothing follows.
    Data(Bytes, End),
    /// Trailers; nothing follows.
    Trailers(Fields),
    /// The half ended; given once, and only where no earlier part carried `end`.
    End,
    /// Nothing to read now.
    Pending,
}

/// Whether a part is the last of its half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is.
    Yes,
    /// More follows, if only the end itself.
    No,
}

impl From<bool> for End {
    fn from(end: bool) -> Self {
        if end { Self::Yes } else { Self::No }
    }
}

impl End {
    /// True for `Yes`.
    pub fn is_end(self) -> bool {
        self == Self::Yes
    }
}

/// One WebSocket message to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transmit {
    /// A binary message holding one frame.
    Frame(Frame),
    /// A text message (version 1: JSON control).
    Text(String),
}
