//! Frames of version 1 (ANPX 2.1): from bytes to a typed frame and back.

use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::{
    frame::Frame,
    header::{FLAG_CHUNK, Header, HeaderError},
    tlv::{self, Tlvs},
};

/// Most bytes of a request id. The field has 36 (a UUID); more than this is refused so that ids
/// remembered stay small.
pub const MAX_REQUEST_ID: usize = 128;

/// What a version-1 frame is (ANPX 2.1, byte 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request or one chunk of it; from the gateway.
    Request,
    /// A response or one chunk of it; from the receiver.
    Response,
    /// From the receiver: the request failed. From the gateway: cancel this request.
    Error,
}

impl Kind {
    /// The byte on the wire.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Request => 0x01,
            Self::Response => 0x02,
            Self::Error => 0xFF,
        }
    }
}

/// A decoded frame. Its values share the memory of the message they came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The frame's type.
    pub kind: Kind,
    /// Flag bit 0: this frame is one chunk of several.
    pub chunked: bool,
    /// 1 to [`MAX_REQUEST_ID`] bytes of UTF-8; absent on some error frames only.
    pub request_id: Option<Bytes>,
    /// JSON request meta, not parsed.
    pub http_meta: Option<Bytes>,
    /// JSON response meta, not parsed.
    pub resp_meta: Option<Bytes>,
    /// Body bytes; empty where the tag is absent.
    pub body: Bytes,
    /// Index of this chunk.
    pub chunk_idx: Option<u32>,
    /// Number of chunks of the message.
    pub chunk_tot: Option<u32>,
    /// True on the last chunk.
    pub final_chunk: bool,
}

/// Why bytes are not a version-1 frame. `Display` says what and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The header.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A valid header of another version.
    #[error("byte 4, the version, is {0}, expected 1")]
    Version(u8),
    /// A type ANPX 2.1 does not define.
    #[error("byte 5, the type, is {0:#04x}, none of 0x01, 0x02, 0xff")]
    Kind(u8),
    /// A length reaches past the end.
    #[error(transparent)]
    Truncated(#[from] tlv::Truncated),
    /// A value of fixed size with another length.
    #[error("{} at byte {at} has {len} bytes, expected {}", Tag(*.tag), Widths(*.tag))]
    Width {
        /// The tag.
        tag: u8,
        /// Offset of the TLV from the start of the frame.
        at: usize,
        /// The value's length in bytes.
        len: usize,
    },
    /// final_chunk is neither 0 nor 1.
    #[error("final_chunk at byte {at} is {value}, expected 1")]
    FinalChunk {
        /// Offset of the TLV from the start of the frame.
        at: usize,
        /// The value read.
        value: u32,
    },
    /// request_id is empty, too long or not UTF-8.
    #[error("request_id at byte {at} is not 1 to {MAX_REQUEST_ID} bytes of UTF-8")]
    RequestId {
        /// Offset of the TLV from the start of the frame.
        at: usize,
    },
    /// A request or response without request_id.
    #[error("a request or response frame has no request_id")]
    NoRequestId,
}

struct Tag(u8);

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(tlv::name(self.0).unwrap_or("TLV"))
    }
}

struct Widths(u8);

impl fmt::Display for Widths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 == tlv::FINAL_CHUNK {
            "1 or 4"
        } else {
            "4"
        })
    }
}

impl Decoded {
    /// Decodes one whole frame. Unknown tags are skipped; the first of a repeated tag counts
    /// (ANPX 2.1, 2.2).
    ///
    /// # Errors
    /// The first rule that does not hold. Never panics, whatever the bytes.
    pub fn decode(message: Bytes) -> Result<Self, DecodeError> {
        let header = Header::decode(&message)?;
        if header.version != 1 {
            return Err(DecodeError::Version(header.version));
        }
        let kind = match header.kind {
            0x01 => Kind::Request,
            0x02 => Kind::Response,
            0xFF => Kind::Error,
            other => return Err(DecodeError::Kind(other)),
        };
        let mut frame = Self {
            kind,
            chunked: header.has(FLAG_CHUNK),
            request_id: None,
            http_meta: None,
            resp_meta: None,
            body: Bytes::new(),
            chunk_idx: None,
            chunk_tot: None,
            final_chunk: false,
        };
        frame.read_tlvs(&message)?;
        if frame.request_id.is_none() && kind != Kind::Error {
            return Err(DecodeError::NoRequestId);
        }
        Ok(frame)
    }

    fn read_tlvs(&mut self, message: &Bytes) -> Result<(), DecodeError> {
        let mut tlvs = Tlvs::new(message, Header::LEN);
        let share = |value| Some(message.slice_ref(value));
        let (mut body, mut last) = (None, None);
        loop {
            let at = tlvs.offset();
            let Some(tlv) = tlvs.next() else { break };
            let (tag, value) = tlv?;
            match tag {
                tlv::REQUEST_ID if self.request_id.is_none() => {
                    let fits = (1..=MAX_REQUEST_ID).contains(&value.len());
                    if !fits || std::str::from_utf8(value).is_err() {
                        return Err(DecodeError::RequestId { at });
                    }
                    self.request_id = share(value);
                }
                tlv::HTTP_META if self.http_meta.is_none() => self.http_meta = share(value),
                tlv::RESP_META if self.resp_meta.is_none() => self.resp_meta = share(value),
                tlv::HTTP_BODY if body.is_none() => body = share(value),
                tlv::CHUNK_IDX if self.chunk_idx.is_none() => {
                    self.chunk_idx = Some(be32(tag, at, value)?);
                }
                tlv::CHUNK_TOT if self.chunk_tot.is_none() => {
                    self.chunk_tot = Some(be32(tag, at, value)?);
                }
                tlv::FINAL_CHUNK if last.is_none() => {
                    // One byte by the specification, four from one encoder in the field (ANPX 2.2, 1).
                    let value = match *value {
                        [byte] => u32::from(byte),
                        _ => be32(tag, at, value)?,
                    };
                    if value > 1 {
                        return Err(DecodeError::FinalChunk { at, value });
                    }
                    last = Some(value == 1);
                }
                _ => {}
            }
        }
        self.body = body.unwrap_or_default();
        self.final_chunk = last.unwrap_or(false);
        Ok(())
    }
}

fn be32(tag: u8, at: usize, value: &[u8]) -> Result<u32, DecodeError> {
    match *value {
        [a, b, c, d] => Ok(u32::from_be_bytes([a, b, c, d])),
        _ => Err(DecodeError::Width {
            tag,
            at,
            len: value.len(),
        }),
    }
}

/// Where a frame stands in a chunked message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Index of the chunk, from 0.
    pub index: u32,
    /// Number of chunks, where known.
    pub total: Option<u32>,
    /// True on the last chunk.
    pub last: bool,
}

/// Bytes that the TLVs of a frame take besides its meta and the bytes of its body, at most.
pub fn overhead(id: &[u8], chunk: bool) -> usize {
    let chunk = if chunk { 3 * tlv::HEAD + 4 + 4 + 1 } else { 0 };
    2 * tlv::HEAD + id.len() + chunk
}

/// A frame to be sent: request_id first, then the meta (http_meta or resp_meta by `kind`), the
/// chunk's position, and the body last. final_chunk is one byte; no tag outside ANPX 2.1 is written.
pub fn frame(
    kind: Kind,
    id: &[u8],
    meta: Option<&[u8]>,
    chunk: Option<Position>,
    body: Bytes,
) -> Frame {
    let meta_len = meta.map_or(0, |m| tlv::HEAD + m.len());
    let mut tlvs = BytesMut::with_capacity(overhead(id, chunk.is_some()) + meta_len);
    if !id.is_empty() {
        tlv::put(&mut tlvs, tlv::REQUEST_ID, id);
    }
    if let Some(meta) = meta {
        let tag = match kind {
            Kind::Request => tlv::HTTP_META,
            Kind::Response | Kind::Error => tlv::RESP_META,
        };
        tlv::put(&mut tlvs, tag, meta);
    }
    if let Some(chunk) = chunk {
        tlv::put(&mut tlvs, tlv::CHUNK_IDX, &chunk.index.to_be_bytes());
        if let Some(total) = chunk.total {
            tlv::put(&mut tlvs, tlv::CHUNK_TOT, &total.to_be_bytes());
        }
        if chunk.last {
            tlv::put(&mut tlvs, tlv::FINAL_CHUNK, &[1]);
        }
    }
    Frame {
        version: 1,
        kind: kind.byte(),
        flags: if chunk.is_some() { FLAG_CHUNK } else { 0 },
        stream: 0,
        tlvs: tlvs.freeze(),
        body,
    }
}
