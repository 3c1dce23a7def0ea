//! What frames are taken apart into.

use anpx::tlv;
use bytes::Bytes;

/// A TLV with the offset of its tag in the frame.
pub(super) struct Field {
    /// Offset of the tag.
    pub(super) at: usize,
    /// The tag.
    pub(super) tag: u8,
    /// The value.
    pub(super) value: Bytes,
}

impl Field {
    /// The tag's name, or its number.
    pub(super) fn name(&self) -> String {
        tlv::name(self.tag).map_or_else(|| format!("tag {:#04x}", self.tag), str::to_owned)
    }
}

/// What later checks need of a header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// Byte 4.
    pub(super) version: u8,
    /// Byte 5.
    pub(super) kind: u8,
    /// Byte 6.
    pub(super) flags: u8,
    /// Bytes 20..24.
    pub(super) stream: u32,
}
