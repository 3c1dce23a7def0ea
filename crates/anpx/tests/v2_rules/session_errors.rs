//! What ends a session: close 4000 with a short reason (ANPX 3.6).

use anpx::{
    CloseCode, ResetCode,
    header::{FLAG_END_STREAM, Header},
    session::{End, Role, config::V2Config},
    tlv,
    v2::{Kind, Settings, encode},
};
use bytes::Bytes;

use super::dialogue::{Dialogue, ONE, bytes, data, head, ok, raw, response};

fn refused(dialogue: &mut Dialogue, message: Bytes, what: &str) {
    let Err(error) = dialogue.session.handle_binary(dialogue.now, message) else {
        panic!("accepted: {what}");
    };
    assert_eq!(error.code, CloseCode::PROTOCOL, "{what}: {error}");
    assert!(error.reason.len() <= 123, "{what}: a reason too long");
}

#[test]
fn a_gateway_ends_the_session_for_frames_out_of_their_place() {
    let get = || encode::request(3, &head("GET"), Bytes::new(), true);
    let credit = |value: u32| encode::window(1, value);
    let settings = encode::settings(&Settings::default());
    let cases = [
        ("RESPONSE on an idle stream", ok(2)),
        ("DATA on an idle stream", data(2, 1, false)),
        (
            "TRAILERS on an idle stream",
            encode::trailers(2, &<_>::default()),
        ),
        ("WINDOW on an idle stream", encode::window(2, 1)),
        (
            "RESET on an idle stream",
            encode::reset(2, ResetCode::CANCELLED),
        ),
        ("a faulty RESPONSE on an idle stream", raw(2, 0, 2, &[])),
        ("REQUEST from a receiver", get()),
        ("a faulty REQUEST from a receiver", raw(1, 0, 3, &[])),
        ("DATA on stream 0", data(0, 1, false)),
        ("WINDOW on stream 0", encode::window(0, 1)),
        ("RESET on stream 0", encode::reset(0, ResetCode::CANCELLED)),
        (
            "SETTINGS on a stream",
            anpx::frame::Frame {
                stream: 1,
                ..settings
            },
        ),
        ("GOAWAY on a stream", raw(8, 0, 1, &[(tlv::CODE, &[0; 4])])),
        ("GOAWAY without a code", raw(8, 0, 0, &[])),
        ("a credit of 0", credit(0)),
        ("a window above 2^31-1", credit(i32::MAX as u32)),
        (
            "a body above max_frame_body",
            data(1, (64 << 10) + 1, false),
        ),
    ];
    for (what, frame) in cases {
        refused(&mut Dialogue::gateway_after_post(), bytes(&frame), what);
    }
}

#[test]
fn a_receiver_ends_the_session_for_frames_out_of_their_place() {
    let request = |id| encode::request(id, &head("GET"), Bytes::new(), true);
    let cases = [
        ("a REQUEST on a known stream", request(1)),
        ("a REQUEST on stream 0", request(0)),
        ("a faulty REQUEST on a known stream", raw(1, 0, 1, &[])),
        ("RESPONSE from a gateway", ok(1)),
        ("a faulty RESPONSE from a gateway", raw(2, 0, 1, &[])),
        ("DATA on an idle stream", data(2, 1, true)),
        (
            "max_streams from a gateway",
            raw(7, 0, 0, &[(tlv::MAX_STREAMS, &[0, 0, 0, 9])]),
        ),
        (
            "accepting from a gateway",
            raw(7, 0, 0, &[(tlv::ACCEPTING, &[1])]),
        ),
    ];
    for (what, frame) in cases {
        refused(&mut Dialogue::receiver_after_post(), bytes(&frame), what);
    }
}

#[test]
fn ids_only_rise() {
    let mut receiver = Dialogue::receiver();
    receiver.hears(encode::request(7, &head("GET"), Bytes::new(), true));
    receiver.hears(encode::request(9, &head("GET"), Bytes::new(), true));
    let late = encode::request(8, &head("GET"), Bytes::new(), true);
    receiver.ends_at(late, CloseCode::PROTOCOL);
}

#[test]
fn malformed_frames_end_the_session() {
    let whole = bytes(&data(1, 10, false));
    let with = |at: usize, byte: u8| {
        let mut frame = whole.to_vec();
        frame[at] = byte;
        Bytes::from(frame)
    };
    let lying = |total: u32| {
        let header = Header {
            total,
            ..Header::decode(&whole).unwrap()
        };
        Bytes::from([&header.encode()[..], &whole[Header::LEN..]].concat())
    };
    let twice = raw(
        5,
        0,
        1,
        &[(tlv::CREDIT, &[0, 0, 0, 1]), (tlv::CREDIT, &[0, 0, 0, 1])],
    );
    let unknown_twice = raw(3, 0, 1, &[(0x7f, b""), (0x7f, b"")]);
    let mut truncated = raw(3, 0, 1, &[(tlv::HTTP_BODY, b"abc")]);
    truncated.tlvs = truncated.tlvs.slice(..truncated.tlvs.len() - 1);
    let mut stump = truncated.clone();
    stump.tlvs = stump.tlvs.slice(..4);
    let mut endless = truncated.clone();
    endless.tlvs = Bytes::from_static(&[tlv::HTTP_BODY, 0xff, 0xff, 0xff, 0xff, 0]);
    let version_1 = anpx::frame::Frame {
        version: 1,
        kind: 1,
        ..data(0, 10, false)
    };
    let cases = [
        ("nothing", Bytes::new()),
        ("half a header", whole.slice(..12)),
        ("a bad magic", with(0, b'B')),
        ("version 3", with(4, 3)),
        ("version 1", bytes(&version_1)),
        ("a header CRC", with(12, whole[12] ^ 1)),
        ("a body CRC", with(whole.len() - 1, 1)),
        ("a total above the length", lying(u32::MAX)),
        ("a total below the length", lying(24)),
        ("less than its total", whole.slice(..whole.len() - 1)),
        (
            "two frames in a message",
            Bytes::from([&whole[..], &whole[..]].concat()),
        ),
        ("a tag twice", bytes(&twice)),
        ("an unknown tag twice", bytes(&unknown_twice)),
        ("a TLV past the end", bytes(&truncated)),
        ("a TLV head past the end", bytes(&stump)),
        ("a TLV of 2^32-1 bytes", bytes(&endless)),
        (
            "a credit of 3 bytes",
            bytes(&raw(5, 0, 1, &[(tlv::CREDIT, &[0, 0, 1])])),
        ),
        (
            "a code of 5 bytes",
            bytes(&raw(6, 0, 1, &[(tlv::CODE, &[0; 5])])),
        ),
        (
            "a status of 4 bytes",
            bytes(&raw(2, 0, 1, &[(tlv::STATUS, &[0, 0, 0, 200])])),
        ),
        (
            "a truncated header block",
            bytes(&raw(
                2,
                0,
                1,
                &[(tlv::STATUS, &[0, 200]), (tlv::HEADERS, b"\0\x05ab")],
            )),
        ),
        (
            "an empty setting",
            bytes(&raw(7, 0, 0, &[(tlv::ACCEPTING, &[])])),
        ),
    ];
    for (what, message) in cases {
        refused(&mut Dialogue::gateway_after_post(), message, what);
    }
}

#[test]
fn an_overrun_ends_the_session_wherever_the_bytes_are() {
    let config = V2Config {
        initial_window: 16 << 10,
        ..V2Config::new(Role::Gateway)
    };
    let over = (16 << 10) + 1;
    let big = |end| encode::response(1, &response(200), Bytes::from(vec![0; over]), end);
    let scripts = [
        vec![big(true)],
        vec![big(false)],
        vec![ok(1), data(1, over, true)],
        vec![ok(1), data(1, over - 1, false), data(1, 1, true)],
    ];
    for mut script in scripts {
        let mut gateway = Dialogue::with(config.clone(), &Settings::default());
        gateway.opens(&head("GET"), b"", End::Yes);
        gateway.says();
        let last = script.pop().unwrap();
        script.into_iter().for_each(|frame| gateway.hears(frame));
        gateway.ends_at(last, CloseCode::PROTOCOL);
    }
    let mut receiver = Dialogue::with(
        V2Config {
            initial_window: 16 << 10,
            ..V2Config::new(Role::Receiver)
        },
        &Settings::default(),
    );
    let request = encode::request(1, &head("POST"), Bytes::from(vec![0; over]), true);
    receiver.ends_at(request, CloseCode::PROTOCOL);
}

#[test]
fn unknown_types_and_tags_are_skipped() {
    let mut gateway = Dialogue::gateway_after_post();
    gateway.hears(raw(0x60, 0xff, 77, &[(0x7f, b"?")]));
    let tlvs: [(u8, &[u8]); 2] = [(tlv::HTTP_BODY, b"x"), (0xfe, b"unknown")];
    gateway.hears(ok(1));
    gateway.hears(raw(Kind::Data as u8, FLAG_END_STREAM | 0x80, 1, &tlvs));
    assert!(gateway.session.stream_error(ONE).is_none());
}

#[test]
fn nothing_is_heard_after_the_end() {
    let mut gateway = Dialogue::gateway_after_post();
    gateway.session.end();
    gateway.hears(ok(2));
    gateway.session.handle_text(gateway.now, "?").unwrap();
    assert_eq!(gateway.says(), []);
}
