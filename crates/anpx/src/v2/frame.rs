//! The frames of version 2 as a reader sees them (ANPX 3.2).

use bytes::Bytes;

use crate::{Fields, FieldsError, RequestHead, ResetCode, ResponseHead};

/// The type byte of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Opens a stream. From the gateway.
    Request = 0x01,
    /// A final or informational head. From the receiver.
    Response = 0x02,
    /// Body bytes.
    Data = 0x03,
    /// The last fields of a half.
    Trailers = 0x04,
    /// Flow-control credit.
    Window = 0x05,
    /// The end of both halves.
    Reset = 0x06,
    /// Limits of the side that sends it; the first frame of each.
    Settings = 0x07,
    /// No new streams.
    GoAway = 0x08,
}

impl Kind {
    /// The kind of a type byte, or `None` for a type to be skipped.
    pub fn from_byte(byte: u8) -> Option<Self> {
        use Kind::{Data, GoAway, Request, Reset, Response, Settings, Trailers, Window};
        [
            Request, Response, Data, Trailers, Window, Reset, Settings, GoAway,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }

    /// The name ANPX gives the frame.
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "REQUEST",
            Self::Response => "RESPONSE",
            Self::Data => "DATA",
            Self::Trailers => "TRAILERS",
            Self::Window => "WINDOW",
            Self::Reset => "RESET",
            Self::Settings => "SETTINGS",
            Self::GoAway => "GOAWAY",
        }
    }
}

/// One frame, decoded and checked as far as a frame alone can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The stream, 0 for the session.
    pub stream: u32,
    /// END_STREAM.
    pub end: bool,
    /// What it says.
    pub payload: Payload,
}

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// The head of a request and the first bytes of its body.
    Request {
        /// The head; `protocol` is there exactly where the frame has the UPGRADE flag.
        head: Box<RequestHead>,
        /// May be empty.
        body: Bytes,
    },
    /// The head of a response and the first bytes of its body.
    Response {
        /// The head; its status is 100 to 599.
        head: ResponseHead,
        /// Empty on an informational head.
        body: Bytes,
    },
    /// Body bytes.
    Data(Bytes),
    /// Trailer fields.
    Trailers(Fields),
    /// Credit in bytes.
    Window(u32),
    /// Both halves ended.
    Reset(ResetCode),
    /// Limits.
    Settings(Settings),
    /// No new streams.
    GoAway {
        /// Why.
        code: ResetCode,
        /// From a gateway: the highest stream it opened.
        last_stream: Option<u32>,
    },
    /// A type this version does not define: skipped.
    Unknown(u8),
    /// A frame whose fault concerns its stream only.
    Faulty(Kind, StreamFault),
}

/// What a SETTINGS frame holds; an absent tag means the default, or in a later SETTINGS no change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Largest body of a frame its sender reads, in bytes.
    pub max_frame_body: Option<u32>,
    /// What a stream's window toward its sender starts with, in bytes.
    pub initial_window: Option<u32>,
    /// Receiver: streams at once.
    pub max_streams: Option<u32>,
    /// Receiver: whether new streams are welcome.
    pub accepting: Option<bool>,
}

impl Settings {
    /// Default and range of `max_frame_body` (ANPX 3.2, 3.3).
    pub const MAX_FRAME_BODY: (u32, std::ops::RangeInclusive<u32>) = (64 << 10, 4 << 10..=1 << 20);
    /// Default and range of `initial_window`.
    pub const INITIAL_WINDOW: (u32, std::ops::RangeInclusive<u32>) =
        (64 << 10, 16 << 10..=16 << 20);
    /// Default and range of `max_streams`.
    pub const MAX_STREAMS: (u32, std::ops::RangeInclusive<u32>) = (1024, 1..=65535);

    /// True where every value that is there is within its range.
    pub fn in_range(&self) -> bool {
        let within = |value: Option<u32>, range: &std::ops::RangeInclusive<u32>| {
            value.is_none_or(|v| range.contains(&v))
        };
        within(self.max_frame_body, &Self::MAX_FRAME_BODY.1)
            && within(self.initial_window, &Self::INITIAL_WINDOW.1)
            && within(self.max_streams, &Self::MAX_STREAMS.1)
    }
}

/// A fault that ends only the frame's stream: RESET PROTOCOL (ANPX 3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamFault {
    /// A required tag is absent.
    #[error("tag {0:#04x} is missing")]
    Missing(u8),
    /// Not a token (RFC 9110 section 9.1).
    #[error("bad method")]
    Method,
    /// Neither origin-form nor `*`, or with a byte no target may hold.
    #[error("bad target")]
    Target,
    /// Neither `http` nor `https`.
    #[error("bad scheme")]
    Scheme,
    /// With a byte no authority may hold.
    #[error("bad authority")]
    Authority,
    /// Not 1 to 64 of `[0-9A-Za-z._-]`.
    #[error("bad request_id")]
    RequestId,
    /// Not an address and port.
    #[error("bad client_addr")]
    ClientAddr,
    /// UPGRADE without a protocol token or the reverse, with END_STREAM or a body, or for websocket
    /// with another method than GET.
    #[error("bad upgrade")]
    Upgrade,
    /// Outside the range for this kind of head.
    #[error("bad status")]
    Status,
    /// INFORMATIONAL with a body, with END_STREAM or too large.
    #[error("bad informational head")]
    Informational,
    /// TRAILERS without END_STREAM.
    #[error("trailers without END_STREAM")]
    TrailersEnd,
    /// A field breaks a rule.
    #[error(transparent)]
    Fields(#[from] FieldsError),
    /// A head exceeds a limit of ANPX section 4.
    #[error("head exceeds its limit")]
    TooLarge,
}
