//! Frames that end their session.

use super::frame::Kind;
use crate::{FieldsError, header::HeaderError, tlv};

/// A frame that breaks a rule of the whole session: it ends with close code 4000 (ANPX 3.6).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedFrame {
    /// The header or a CRC is wrong.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A frame of the other version.
    #[error("a frame of version {0} on a version-2 session")]
    Version(u8),
    /// A TLV reaches past the end.
    #[error(transparent)]
    Tlv(#[from] tlv::Truncated),
    /// A tag twice.
    #[error("tag {tag:#04x} at byte {at} is repeated")]
    RepeatedTag {
        /// The tag.
        tag: u8,
        /// Offset of its second appearance from the start of the frame.
        at: usize,
    },
    /// A fixed-size tag of another length.
    #[error("tag {tag:#04x} at byte {at} has {found} bytes, not {expected}")]
    TagSize {
        /// The tag.
        tag: u8,
        /// Its offset from the start of the frame.
        at: usize,
        /// The length it has.
        found: usize,
        /// The length it must have.
        expected: usize,
    },
    /// Stream id 0 on a frame of a stream, or another on a frame of the session.
    #[error("{} with stream id {stream}", kind.name())]
    StreamId {
        /// The frame's kind.
        kind: Kind,
        /// The stream id it has.
        stream: u32,
    },
    /// A header block whose lengths reach past its end.
    #[error("tag headers: {}", FieldsError::Truncated)]
    Fields,
    /// GOAWAY without a code.
    #[error("GOAWAY without tag code")]
    GoAwayCode,
    /// A setting outside its range, or `accepting` neither 0 nor 1.
    #[error("a setting is outside its range")]
    SettingRange,
}
