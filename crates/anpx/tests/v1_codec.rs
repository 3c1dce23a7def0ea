//! Version-1 frames, chunks and control texts (ANPX 2.1, 2.2).
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use anpx::{
    frame::Frame,
    header::{FLAG_CHUNK, Header, HeaderError},
    tlv,
    v1::{
        chunk::{ChunkError, Order, Splitter},
        codec::{self, DecodeError, Decoded, Kind, Position},
        control::{self, Control},
    },
};
use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};

fn encoded(frame: &Frame) -> Bytes {
    let mut out = Vec::new();
    frame.encode(&mut out);
    assert_eq!(out.len(), frame.encoded_len());
    Bytes::from(out)
}

/// A response frame of these TLVs, with flags.
fn raw(kind: u8, flags: u8, tlvs: &[(u8, &[u8])]) -> Bytes {
    let mut out = Vec::new();
    for (tag, value) in tlvs {
        tlv::put(&mut out, *tag, value);
    }
    encoded(&Frame {
        version: 1,
        kind,
        flags,
        stream: 0,
        tlvs: Bytes::from(out),
        body: Bytes::new(),
    })
}

const ID: (u8, &[u8]) = (tlv::REQUEST_ID, b"id");

#[test]
fn the_order_of_tlvs_is_id_meta_position_body() {
    let position = Position {
        index: 1,
        total: Some(2),
        last: true,
    };
    let body = Bytes::from_static(b"body");
    let frame = codec::frame(Kind::Response, b"id", Some(b"{}"), Some(position), body);
    let message = encoded(&frame);
    let tags: Vec<_> = tlv::Tlvs::new(&message, Header::LEN)
        .map(|t| t.unwrap())
        .collect();
    let expected: [(u8, &[u8]); 6] = [
        (0x01, b"id"),
        (0x04, b"{}"),
        (0x0A, &[0, 0, 0, 1]),
        (0x0B, &[0, 0, 0, 2]),
        (0x0C, &[1]),
        (0x03, b"body"),
    ];
    assert!(tags.iter().map(|(t, v)| (*t, &v[..])).eq(expected));
    assert_eq!(
        (message[4], message[5], message[6], message[7]),
        (1, 2, 1, 0)
    );
    assert_eq!(message[20..24], [0; 4]);
}

#[test]
fn bodies_share_the_memory_of_their_message() {
    let body = Bytes::from(vec![7; 1000]);
    let message = encoded(&codec::frame(Kind::Response, b"id", None, None, body));
    let decoded = Decoded::decode(message.clone()).unwrap();
    assert!(message.as_ptr_range().contains(&decoded.body.as_ptr()));
}

#[test]
fn final_chunk_is_read_in_both_widths() {
    let of = |value: &[u8]| Decoded::decode(raw(2, 1, &[ID, (tlv::FINAL_CHUNK, value)]));
    for (value, expected) in [
        (&[1][..], true),
        (&[0, 0, 0, 1], true),
        (&[0], false),
        (&[0; 4], false),
    ] {
        assert_eq!(of(value).unwrap().final_chunk, expected);
    }
    let at = Header::LEN + tlv::HEAD + 2;
    assert_eq!(of(&[2]), Err(DecodeError::FinalChunk { at, value: 2 }));
    let width = DecodeError::Width {
        tag: tlv::FINAL_CHUNK,
        at,
        len: 2,
    };
    assert_eq!(of(&[0, 1]), Err(width));
    assert_eq!(
        width.to_string(),
        "final_chunk at byte 31 has 2 bytes, expected 1 or 4"
    );
}

#[test]
fn the_first_of_a_repeated_tag_counts_and_unknown_tags_are_skipped() {
    let tlvs: [(u8, &[u8]); 9] = [
        (0xF0, b"user"),
        ID,
        (0x7E, b""),
        (tlv::HTTP_BODY, b"first"),
        (tlv::HTTP_BODY, b"second"),
        (tlv::CHUNK_IDX, &[0, 0, 0, 1]),
        // A repeat is not looked at, whatever its width.
        (tlv::CHUNK_IDX, &[9]),
        (tlv::REQUEST_ID, b"other"),
        (tlv::METHOD, b"GET"),
    ];
    let decoded = Decoded::decode(raw(1, 0, &tlvs)).unwrap();
    assert_eq!(&decoded.request_id.unwrap()[..], b"id");
    assert_eq!(&decoded.body[..], b"first");
    assert_eq!(decoded.chunk_idx, Some(1));
}

#[test]
fn errors_say_what_and_where() {
    let cases = [
        (
            raw(3, 0, &[ID]),
            "byte 5, the type, is 0x03, none of 0x01, 0x02, 0xff",
        ),
        (
            raw(1, 0, &[]),
            "a request or response frame has no request_id",
        ),
        (
            raw(1, 0, &[(1, b"")]),
            "request_id at byte 24 is not 1 to 128 bytes of UTF-8",
        ),
        (
            raw(1, 0, &[(1, b"\xff")]),
            "request_id at byte 24 is not 1 to 128 bytes of UTF-8",
        ),
        (
            raw(1, 0, &[ID, (0x0A, b"\x01")]),
            "chunk_idx at byte 31 has 1 bytes, expected 4",
        ),
    ];
    for (message, text) in cases {
        assert_eq!(Decoded::decode(message).unwrap_err().to_string(), text);
    }
    assert_eq!(Decoded::decode(raw(0xFF, 0, &[])).unwrap().request_id, None);
}

#[test]
fn lengths_that_lie_are_refused() {
    let good = raw(2, 0, &[ID]);
    // A TLV of 2^32 - 1 bytes, in a frame whose checksums hold.
    let frame = Frame {
        version: 1,
        kind: 2,
        flags: 0,
        stream: 0,
        tlvs: Bytes::from_static(&[3, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2]),
        body: Bytes::new(),
    };
    let truncated = tlv::Truncated { at: Header::LEN };
    assert_eq!(Decoded::decode(encoded(&frame)), Err(truncated.into()));
    // Split, joined, and a total of 2^32 - 1.
    let joined = Bytes::from([&good[..], &good[..]].concat());
    for message in [good.slice(..good.len() - 1), joined] {
        let error = Decoded::decode(message).unwrap_err();
        assert!(matches!(
            error,
            DecodeError::Header(HeaderError::Length { .. })
        ));
    }
    let mut lying = good.to_vec();
    lying[8..12].fill(0xFF);
    let crc = crc32fast::hash(&lying[..12]);
    lying[12..16].copy_from_slice(&crc.to_be_bytes());
    let error = Decoded::decode(Bytes::from(lying)).unwrap_err();
    assert!(matches!(
        error,
        DecodeError::Header(HeaderError::Length { .. })
    ));
}

#[test]
fn every_covered_bit_is_caught() {
    let good = raw(
        2,
        FLAG_CHUNK,
        &[ID, (tlv::CHUNK_IDX, &[0; 4]), (tlv::HTTP_BODY, b"body")],
    );
    for bit in 0..good.len() * 8 {
        let mut bad = good.to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        let padding = (20..24).contains(&(bit / 8));
        assert_eq!(
            Decoded::decode(Bytes::from(bad)).is_ok(),
            padding,
            "bit {bit}"
        );
    }
}

#[test]
fn pings_come_back_with_the_number_as_written() {
    for number in [
        "1",
        "1.50",
        "-0.0",
        "1e400",
        "123456789012345678901234567890",
    ] {
        let text = format!(r#" {{ "x": [1], "timestamp" : {number} , "type":"\u0070ing" }}"#);
        let timestamp = Some(number.to_owned());
        assert_eq!(Control::read(&text), Control::Ping { timestamp });
        let pong = format!(r#"{{"type":"pong","timestamp":{number}}}"#);
        assert_eq!(control::pong(Some(number)), pong);
        assert_eq!(Control::read(&pong), Control::Pong);
    }
    for text in [r#"{"type":"ping"}"#, r#"{"type":"ping","timestamp":[1]}"#] {
        assert_eq!(Control::read(text), Control::Ping { timestamp: None });
    }
    let deep = "[".repeat(100_000);
    for text in [
        "",
        "7",
        "{\"type\":\"ping\"",
        "{\"type\":\"heartbeat\"}",
        "[\"ping\",1]",
        &deep,
    ] {
        assert_eq!(Control::read(text), Control::Other);
    }
    assert!(
        matches!(Control::read(&control::ping(7)), Control::Ping { timestamp: Some(t) } if t == "7")
    );
}

/// Every frame of a message handed to a splitter in `parts`.
fn split(kind: Kind, chunk_size: usize, meta: &[u8], parts: &[Vec<u8>]) -> Vec<Frame> {
    let mut splitter = Splitter::new(kind, Bytes::from_static(b"id"), chunk_size);
    let mut frames = Vec::new();
    for (n, part) in parts.iter().enumerate() {
        let mut body = Bytes::from(part.clone());
        let ended = n + 1 == parts.len();
        while ended || !body.is_empty() {
            let (frame, last) = splitter.take(meta, &mut body, ended);
            frames.push(frame);
            if last {
                assert!(ended && body.is_empty());
                break;
            }
        }
    }
    frames
}

proptest! {
    #[test]
    fn any_bytes_decode_to_a_frame_or_an_error(bytes in vec(any::<u8>(), 0..300)) {
        let _ = Decoded::decode(Bytes::from(bytes));
    }

    #[test]
    fn any_tlvs_decode_to_a_frame_or_an_error(
        kind in any::<u8>(), flags in any::<u8>(), tlvs in vec(any::<u8>(), 0..300),
    ) {
        let frame = Frame { version: 1, kind, flags, stream: 0, tlvs: Bytes::from(tlvs), body: Bytes::new() };
        let _ = Decoded::decode(encoded(&frame));
    }

    #[test]
    fn frames_come_back_as_they_were(
        kind in prop_oneof![Just(Kind::Request), Just(Kind::Response), Just(Kind::Error)],
        id in "[0-9a-f-]{1,128}",
        meta in option::of(vec(any::<u8>(), 0..100)),
        chunk in option::of((any::<u32>(), option::of(any::<u32>()), any::<bool>())),
        body in vec(any::<u8>(), 0..2000),
    ) {
        let position = chunk.map(|(index, total, last)| Position { index, total, last });
        let body = Bytes::from(body);
        let frame = codec::frame(kind, id.as_bytes(), meta.as_deref(), position, body.clone());
        let decoded = Decoded::decode(encoded(&frame)).unwrap();
        let of = |wanted: bool| meta.clone().filter(|_| wanted).map(Bytes::from);
        prop_assert_eq!(decoded, Decoded {
            kind,
            chunked: chunk.is_some(),
            request_id: Some(Bytes::from(id)),
            http_meta: of(kind == Kind::Request),
            resp_meta: of(kind != Kind::Request),
            body,
            chunk_idx: chunk.map(|c| c.0),
            chunk_tot: chunk.and_then(|c| c.1),
            final_chunk: chunk.is_some_and(|c| c.2),
        });
    }

    #[test]
    fn split_messages_are_whole_again_and_keep_to_the_chunk_size(
        request in any::<bool>(),
        chunk_size in 1_usize..400,
        meta in vec(any::<u8>(), 1..300),
        parts in vec(vec(any::<u8>(), 0..600), 1..6),
    ) {
        let kind = if request { Kind::Request } else { Kind::Response };
        let frames = split(kind, chunk_size, &meta, &parts);
        let known = parts.iter().rev().skip(1).all(Vec::is_empty);
        let (mut order, mut body) = (Order::default(), Vec::new());
        for (n, frame) in frames.iter().enumerate() {
            let (first, last) = (n == 0, n + 1 == frames.len());
            let decoded = Decoded::decode(encoded(frame)).unwrap();
            let tlvs = frame.encoded_len() - Header::LEN;
            let found = if request { decoded.http_meta.clone() } else { decoded.resp_meta.clone() };
            prop_assert_eq!(found.is_some(), if request { first } else { last });
            prop_assert!(tlvs <= chunk_size || found.is_some() || decoded.body.len() <= 1);
            let total = (known && frames.len() > 1).then_some(frames.len() as u32);
            if decoded.chunked {
                prop_assert_eq!(decoded.chunk_tot.filter(|_| frames.len() > 1), total);
            }
            body.extend_from_slice(&decoded.body);
            prop_assert_eq!(order.accept(&decoded), Ok(last));
        }
        prop_assert_eq!(body, parts.concat());
    }

    #[test]
    fn two_chunks_exchanged_repeated_or_left_out_are_never_a_whole_message(
        parts in vec(vec(any::<u8>(), 1..50), 2..8),
        at in any::<proptest::sample::Index>(),
        fault in 0..3,
    ) {
        let mut frames = split(Kind::Response, 200, b"{}", &parts);
        prop_assume!(frames.len() > 1);
        let n = at.index(frames.len() - 1);
        match fault {
            0 => frames.swap(n, n + 1),
            1 => frames.insert(n, frames[n].clone()),
            _ => drop(frames.remove(n)),
        }
        let mut order = Order::default();
        let outcome = frames.iter().find_map(|frame| {
            match order.accept(&Decoded::decode(encoded(frame)).unwrap()) {
                Ok(false) => None,
                other => Some(other),
            }
        });
        prop_assert!(matches!(outcome, Some(Err(ChunkError::Order { .. }))), "{outcome:?}");
    }
}
