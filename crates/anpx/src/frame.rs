//! One outgoing frame of either version.

use bytes::{BufMut, Bytes};

use crate::{header::Header, tlv};

/// A frame ready to be encoded: its TLVs without the body, already in wire form, and the body beside them.
///
/// The body stays apart so that its bytes are copied once at most, into the write buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// 1 or 2.
    pub version: u8,
    /// Frame type (ANPX 2.1, 3.2).
    pub kind: u8,
    /// Header flags.
    pub flags: u8,
    /// Version 2: the stream, 0 for the session. Version 1: 0.
    pub stream: u32,
    /// Every TLV but the body, encoded.
    pub tlvs: Bytes,
    /// The value of `http_body`; written last, left out when empty.
    pub body: Bytes,
}

impl Frame {
    /// The length of the encoded frame in bytes.
    pub fn encoded_len(&self) -> usize {
        let body = if self.body.is_empty() {
            0
        } else {
            tlv::HEAD + self.body.len()
        };
        Header::LEN + self.tlvs.len() + body
    }

    /// Appends the encoded frame.
    pub fn encode(&self, out: &mut impl BufMut) {
        self.encode_head(out);
        out.put_slice(&self.body);
    }

    /// Appends the encoded frame but the bytes of its body, which have to follow.
    pub fn encode_head(&self, out: &mut impl BufMut) {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&self.tlvs);
        let body_head = tlv::head(tlv::HTTP_BODY, self.body.len());
        if !self.body.is_empty() {
            crc.update(&body_head);
            crc.update(&self.body);
        }
        let header = Header {
            version: self.version,
            kind: self.kind,
            flags: self.flags,
            // Every sender bounds what goes into a frame far below 4 GiB.
            total: u32::try_from(self.encoded_len()).unwrap_or(u32::MAX),
            body_crc: crc.finalize(),
            stream: self.stream,
        };
        out.put_slice(&header.encode());
        out.put_slice(&self.tlvs);
        if !self.body.is_empty() {
            out.put_slice(&body_head);
        }
    }
}
