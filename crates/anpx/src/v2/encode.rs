//! From what is to be said to a [`Frame`] ready for the write buffer.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Kind, Settings};
use crate::{
    Fields, RequestHead, ResetCode, ResponseHead,
    frame::Frame,
    header::{FLAG_END_STREAM, FLAG_INFORMATIONAL, FLAG_UPGRADE},
    tlv,
};

fn frame(kind: Kind, flags: u8, stream: u32, tlvs: Bytes, body: Bytes) -> Frame {
    Frame {
        version: 2,
        kind: kind as u8,
        flags,
        stream,
        tlvs,
        body,
    }
}

fn end_flag(end: bool) -> u8 {
    if end { FLAG_END_STREAM } else { 0 }
}

/// REQUEST with the first bytes of its body; UPGRADE where the head has a protocol.
pub fn request(stream: u32, head: &RequestHead, body: Bytes, end: bool) -> Frame {
    let optional = |value: &Option<Bytes>| value.as_ref().map_or(0, |v| tlv::HEAD + v.len());
    let len = 6 * tlv::HEAD
        + head.method.len()
        + head.target.len()
        + head.scheme.len()
        + head.authority.len()
        + head.headers.block().len()
        + head.request_id.len()
        + optional(&head.client_addr)
        + optional(&head.protocol);
    let mut tlvs = BytesMut::with_capacity(len);
    tlv::put(&mut tlvs, tlv::REQUEST_ID, &head.request_id);
    tlv::put(&mut tlvs, tlv::METHOD, &head.method);
    tlv::put(&mut tlvs, tlv::TARGET, &head.target);
    tlv::put(&mut tlvs, tlv::SCHEME, &head.scheme);
    tlv::put(&mut tlvs, tlv::AUTHORITY, &head.authority);
    tlv::put(&mut tlvs, tlv::HEADERS, head.headers.block());
    if let Some(addr) = &head.client_addr {
        tlv::put(&mut tlvs, tlv::CLIENT_ADDR, addr);
    }
    let mut flags = end_flag(end);
    if let Some(protocol) = &head.protocol {
        tlv::put(&mut tlvs, tlv::PROTOCOL, protocol);
        flags |= FLAG_UPGRADE;
    }
    frame(Kind::Request, flags, stream, tlvs.freeze(), body)
}

/// RESPONSE with the first bytes of its body; INFORMATIONAL for an informational status.
pub fn response(stream: u32, head: &ResponseHead, body: Bytes, end: bool) -> Frame {
    let mut tlvs = BytesMut::with_capacity(2 * tlv::HEAD + 2 + head.headers.block().len());
    tlv::put(&mut tlvs, tlv::STATUS, &head.status.to_be_bytes());
    tlv::put(&mut tlvs, tlv::HEADERS, head.headers.block());
    let informational = if head.is_informational() {
        FLAG_INFORMATIONAL
    } else {
        0
    };
    frame(
        Kind::Response,
        end_flag(end) | informational,
        stream,
        tlvs.freeze(),
        body,
    )
}

/// DATA.
pub fn data(stream: u32, body: Bytes, end: bool) -> Frame {
    frame(Kind::Data, end_flag(end), stream, Bytes::new(), body)
}

/// TRAILERS.
pub fn trailers(stream: u32, trailers: &Fields) -> Frame {
    let mut tlvs = BytesMut::with_capacity(tlv::HEAD + trailers.block().len());
    tlv::put(&mut tlvs, tlv::HEADERS, trailers.block());
    frame(
        Kind::Trailers,
        FLAG_END_STREAM,
        stream,
        tlvs.freeze(),
        Bytes::new(),
    )
}

/// WINDOW granting `credit` bytes.
pub fn window(stream: u32, credit: u32) -> Frame {
    frame(
        Kind::Window,
        0,
        stream,
        u32_tlv(tlv::CREDIT, credit),
        Bytes::new(),
    )
}

/// RESET.
pub fn reset(stream: u32, code: ResetCode) -> Frame {
    frame(
        Kind::Reset,
        0,
        stream,
        u32_tlv(tlv::CODE, code.0),
        Bytes::new(),
    )
}

/// SETTINGS with the values that are there.
pub fn settings(settings: &Settings) -> Frame {
    let mut tlvs = BytesMut::with_capacity(4 * (tlv::HEAD + 4));
    let values = [
        (tlv::MAX_FRAME_BODY, settings.max_frame_body),
        (tlv::INITIAL_WINDOW, settings.initial_window),
        (tlv::MAX_STREAMS, settings.max_streams),
    ];
    for (tag, value) in values {
        if let Some(value) = value {
            tlv::put(&mut tlvs, tag, &value.to_be_bytes());
        }
    }
    if let Some(accepting) = settings.accepting {
        tlv::put(&mut tlvs, tlv::ACCEPTING, &[u8::from(accepting)]);
    }
    frame(Kind::Settings, 0, 0, tlvs.freeze(), Bytes::new())
}

/// GOAWAY, from a gateway with the highest stream it opened.
pub fn go_away(code: ResetCode, last_stream: Option<u32>) -> Frame {
    let mut tlvs = BytesMut::with_capacity(2 * (tlv::HEAD + 4));
    tlvs.put_slice(&u32_tlv(tlv::CODE, code.0));
    if let Some(last) = last_stream {
        tlvs.put_slice(&u32_tlv(tlv::LAST_STREAM, last));
    }
    frame(Kind::GoAway, 0, 0, tlvs.freeze(), Bytes::new())
}

fn u32_tlv(tag: u8, value: u32) -> Bytes {
    let mut tlvs = BytesMut::with_capacity(tlv::HEAD + 4);
    tlv::put(&mut tlvs, tag, &value.to_be_bytes());
    tlvs.freeze()
}
