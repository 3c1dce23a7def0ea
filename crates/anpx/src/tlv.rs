//! Tag, length, value: what follows the header of every frame (ANPX 2.1).

use bytes::BufMut;

/// Bytes of a tag and its length.
pub const HEAD: usize = 5;

/// `request_id`.
pub const REQUEST_ID: u8 = 0x01;
/// Version 1: JSON request meta.
pub const HTTP_META: u8 = 0x02;
/// Body bytes.
pub const HTTP_BODY: u8 = 0x03;
/// Version 1: JSON response meta.
pub const RESP_META: u8 = 0x04;
/// Version 1: chunk index, u32.
pub const CHUNK_IDX: u8 = 0x0A;
/// Version 1: number of chunks, u32.
pub const CHUNK_TOT: u8 = 0x0B;
/// Version 1: 1 on the last chunk.
pub const FINAL_CHUNK: u8 = 0x0C;
/// Version 2: method token.
pub const METHOD: u8 = 0x10;
/// Version 2: request target.
pub const TARGET: u8 = 0x11;
/// Version 2: authority.
pub const AUTHORITY: u8 = 0x12;
/// Version 2: scheme.
pub const SCHEME: u8 = 0x13;
/// Version 2: header block.
pub const HEADERS: u8 = 0x14;
/// Version 2: status, u16.
pub const STATUS: u8 = 0x15;
/// Version 2: upgrade token.
pub const PROTOCOL: u8 = 0x16;
/// Version 2: the caller's address.
pub const CLIENT_ADDR: u8 = 0x17;
/// Version 2: window credit, u32.
pub const CREDIT: u8 = 0x20;
/// Version 2: reset or goaway code, u32.
pub const CODE: u8 = 0x21;
/// Version 2: text for logs.
pub const MESSAGE: u8 = 0x22;
/// Version 2: highest stream opened, u32.
pub const LAST_STREAM: u8 = 0x23;
/// Version 2 setting, u32.
pub const MAX_FRAME_BODY: u8 = 0x30;
/// Version 2 setting, u32.
pub const INITIAL_WINDOW: u8 = 0x31;
/// Version 2 setting, u32.
pub const MAX_STREAMS: u8 = 0x32;
/// Version 2 setting, u8.
pub const ACCEPTING: u8 = 0x33;

/// The name of a tag as ANPX writes it, or `None` for a tag it does not define.
pub fn name(tag: u8) -> Option<&'static str> {
    Some(match tag {
        REQUEST_ID => "request_id",
        HTTP_META => "http_meta",
        HTTP_BODY => "http_body",
        RESP_META => "resp_meta",
        CHUNK_IDX => "chunk_idx",
        CHUNK_TOT => "chunk_tot",
        FINAL_CHUNK => "final_chunk",
        METHOD => "method",
        TARGET => "target",
        AUTHORITY => "authority",
        SCHEME => "scheme",
        HEADERS => "headers",
        STATUS => "status",
        PROTOCOL => "protocol",
        CLIENT_ADDR => "client_addr",
        CREDIT => "credit",
        CODE => "code",
        MESSAGE => "message",
        LAST_STREAM => "last_stream",
        MAX_FRAME_BODY => "max_frame_body",
        INITIAL_WINDOW => "initial_window",
        MAX_STREAMS => "max_streams",
        ACCEPTING => "accepting",
        _ => return None,
    })
}

/// The tag and length that precede a value of `len` bytes.
pub fn head(tag: u8, len: usize) -> [u8; HEAD] {
    let [a, b, c, d] = u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
    [tag, a, b, c, d]
}

/// Appends one TLV.
pub fn put(out: &mut impl BufMut, tag: u8, value: &[u8]) {
    out.put_slice(&head(tag, value.len()));
    out.put_slice(value);
}

/// A TLV reaches past the end of its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("TLV at byte {at} of the frame reaches past its end")]
pub struct Truncated {
    /// Offset of the TLV's tag from the start of the frame.
    pub at: usize,
}

/// Iterates over the TLVs of a frame.
#[derive(Clone, Debug)]
pub struct Tlvs<'a> {
    frame: &'a [u8],
    at: usize,
}

impl<'a> Tlvs<'a> {
    /// The TLVs of `frame` from offset `at`, which is the header's length.
    pub fn new(frame: &'a [u8], at: usize) -> Self {
        Self { frame, at }
    }

    /// Offset of the next TLV from the start of the frame.
    pub fn offset(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = Result<(u8, &'a [u8]), Truncated>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.frame.get(self.at..)?;
        if rest.is_empty() {
            return None;
        }
        let truncated = Truncated { at: self.at };
        let Some((&[tag, a, b, c, d], rest)) = rest.split_first_chunk::<HEAD>() else {
            self.at = self.frame.len();
            return Some(Err(truncated));
        };
        let len = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let Some(value) = rest.get(..len) else {
            self.at = self.frame.len();
            return Some(Err(truncated));
        };
        self.at += HEAD + len;
        Some(Ok((tag, value)))
    }
}
