//! What breaks one stream: RESET PROTOCOL, and the session goes on (ANPX 3.6).

use anpx::{
    ResetCode, StreamError,
    frame::Frame,
    header::{FLAG_END_STREAM, FLAG_INFORMATIONAL, FLAG_UPGRADE},
    session::{End, Read},
    tlv,
    v2::encode,
};
use bytes::Bytes;

use super::dialogue::{
    Dialogue, ONE, block, data, head, ok, raw, reset, response, response_with, with_headers,
};

const PROTOCOL: StreamError = StreamError::Reset(ResetCode::PROTOCOL);

/// A gateway hears `script`, whose last frame breaks stream 1.
fn breaks(method: &'static str, what: &str, script: Vec<Frame>) {
    let mut gateway = Dialogue::gateway();
    gateway.opens(&head(method), b"", End::No);
    gateway.says();
    let last = script.len() - 1;
    for (i, frame) in script.into_iter().enumerate() {
        assert_eq!(
            gateway.session.stream_error(ONE),
            None,
            "{what}: too early, at {i}"
        );
        gateway
            .try_hears(frame)
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        if i == last {
            assert_eq!(gateway.session.stream_error(ONE), Some(PROTOCOL), "{what}");
        }
    }
    assert_eq!(gateway.says(), [reset(1, ResetCode::PROTOCOL)], "{what}");
    assert_eq!(gateway.session.send_capacity(ONE), Err(PROTOCOL), "{what}");
    gateway.session.release(ONE);
    assert_eq!(gateway.session.open_streams(), 0, "{what}");
    let next = gateway.opens(&head("GET"), b"", End::Yes);
    gateway.says();
    gateway.hears(encode::response(next.0, &response(204), Bytes::new(), true));
    assert_eq!(
        gateway.reads(next),
        Ok(Read::Head(response(204), End::Yes)),
        "{what}"
    );
}

fn raw_response(flags: u8, status: u16, pairs: &[(&[u8], &[u8])], body: &[u8]) -> Frame {
    let block = block(pairs);
    let status = status.to_be_bytes();
    let tlvs: [(u8, &[u8]); 3] = [
        (tlv::STATUS, &status),
        (tlv::HEADERS, &block),
        (tlv::HTTP_BODY, body),
    ];
    raw(2, flags, 1, &tlvs)
}

#[test]
fn bad_response_heads() {
    let no_pairs: &[(&[u8], &[u8])] = &[];
    let informational = FLAG_INFORMATIONAL;
    let long = vec![b'x'; 8 << 10];
    let many = [(&b"a"[..], &b"b"[..]); 257];
    let large = [(&b"a"[..], &long[..]); 9];
    let cases = [
        ("no status", raw(2, 0, 1, &[(tlv::HEADERS, b"")])),
        ("no headers", raw(2, 0, 1, &[(tlv::STATUS, &[0, 200])])),
        ("status 0", raw_response(0, 0, no_pairs, b"")),
        ("status 99", raw_response(informational, 99, no_pairs, b"")),
        ("status 103 as final", raw_response(0, 103, no_pairs, b"")),
        (
            "status 101 on no upgrade",
            raw_response(0, 101, no_pairs, b""),
        ),
        (
            "status 101 as informational",
            raw_response(informational, 101, no_pairs, b""),
        ),
        (
            "status 200 as informational",
            raw_response(informational, 200, no_pairs, b""),
        ),
        ("status 600", raw_response(0, 600, no_pairs, b"")),
        ("status 65535", raw_response(0, 65535, no_pairs, b"")),
        (
            "an informational body",
            raw_response(informational, 103, no_pairs, b"x"),
        ),
        (
            "an informational end",
            raw_response(informational | FLAG_END_STREAM, 103, no_pairs, b""),
        ),
        (
            "an informational head above 8 KiB",
            raw_response(informational, 103, &[(b"a", &long)], b""),
        ),
        (
            "a name in upper case",
            raw_response(0, 200, &[(b"Name", b"x")], b""),
        ),
        ("an empty name", raw_response(0, 200, &[(b"", b"x")], b"")),
        (
            "a name with a space",
            raw_response(0, 200, &[(b"a b", b"x")], b""),
        ),
        (
            "a pseudo-header",
            raw_response(0, 200, &[(b":status", b"200")], b""),
        ),
        ("host", raw_response(0, 200, &[(b"host", b"x")], b"")),
        (
            "connection",
            raw_response(0, 200, &[(b"connection", b"close")], b""),
        ),
        (
            "transfer-encoding",
            raw_response(0, 200, &[(b"transfer-encoding", b"chunked")], b""),
        ),
        (
            "a value with CR LF",
            raw_response(0, 200, &[(b"a", b"x\r\ny: z")], b""),
        ),
        (
            "a value with NUL",
            raw_response(0, 200, &[(b"a", b"\0")], b""),
        ),
        ("257 fields", raw_response(0, 200, &many, b"")),
        ("a block above 64 KiB", raw_response(0, 200, &large, b"")),
        (
            "a length with a sign",
            raw_response(0, 200, &[(b"content-length", b"+1")], b""),
        ),
        (
            "two lengths",
            raw_response(
                0,
                200,
                &[(b"content-length", b"1"), (b"content-length", b"2")],
                b"",
            ),
        ),
    ];
    for (what, frame) in cases {
        breaks("GET", what, vec![frame]);
    }
    let padding = vec![0; 16 << 10];
    let padded: [(u8, &[u8]); 3] = [
        (tlv::STATUS, &[0, 103]),
        (tlv::HEADERS, b""),
        (0x7f, &padding),
    ];
    breaks(
        "GET",
        "a padded informational head",
        vec![raw(2, informational, 1, &padded)],
    );
}

#[test]
fn frames_out_of_order() {
    let trailers = || encode::trailers(1, &<_>::default());
    let end = || encode::response(1, &response(200), Bytes::new(), true);
    let hint = || encode::response(1, &response(103), Bytes::new(), false);
    let cases = [
        ("DATA before the head", vec![hint(), data(1, 1, false)]),
        ("TRAILERS before the head", vec![trailers()]),
        ("a second head", vec![ok(1), ok(1)]),
        (
            "an informational head after the final one",
            vec![ok(1), hint()],
        ),
        ("DATA after the end", vec![end(), data(1, 1, false)]),
        ("a head after the end", vec![end(), ok(1)]),
        ("TRAILERS after the end", vec![end(), trailers()]),
        (
            "TRAILERS after TRAILERS",
            vec![ok(1), trailers(), trailers()],
        ),
        (
            "TRAILERS without an end",
            vec![ok(1), raw(4, 0, 1, &[(tlv::HEADERS, b"")])],
        ),
        (
            "TRAILERS without fields",
            vec![ok(1), raw(4, FLAG_END_STREAM, 1, &[])],
        ),
        ("a WINDOW without a credit", vec![raw(5, 0, 1, &[])]),
        ("17 informational heads", vec![hint(); 17]),
    ];
    for (what, script) in cases {
        breaks("POST", what, script);
    }
}

#[test]
fn bodies_unlike_their_length() {
    let announced = |n: &str, len, end| {
        let head = response_with(200, &[("content-length", n)]);
        encode::response(1, &head, Bytes::from(vec![0; len]), end)
    };
    let trailers = encode::trailers(1, &<_>::default());
    let no_content = encode::response(1, &response(204), Bytes::new(), false);
    let not_modified = encode::response(1, &response(304), Bytes::from_static(b"x"), true);
    let cases = [
        ("GET", "no body", vec![announced("5", 0, true)]),
        (
            "GET",
            "a short body in the head",
            vec![announced("5", 4, true)],
        ),
        (
            "GET",
            "a long body in the head",
            vec![announced("5", 6, false)],
        ),
        (
            "GET",
            "a short body",
            vec![announced("5", 2, false), data(1, 2, true)],
        ),
        (
            "GET",
            "an end too early",
            vec![announced("5", 2, false), data(1, 0, true)],
        ),
        (
            "GET",
            "a byte too many",
            vec![announced("5", 2, false), data(1, 4, false)],
        ),
        (
            "GET",
            "trailers too early",
            vec![announced("5", 2, false), trailers],
        ),
        ("GET", "a body with 204", vec![no_content, data(1, 1, true)]),
        ("GET", "a body with 304", vec![not_modified]),
        ("HEAD", "a body for HEAD", vec![announced("5", 5, true)]),
    ];
    for (method, what, script) in cases {
        breaks(method, what, script);
    }
}

/// A receiver hears a bad REQUEST, answers with RESET PROTOCOL, and its app never sees it.
fn is_refused(what: &str, frame: Frame) {
    let mut receiver = Dialogue::receiver();
    receiver
        .try_hears(frame)
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(receiver.session.accept(), None, "{what}");
    assert_eq!(receiver.says(), [reset(1, ResetCode::PROTOCOL)], "{what}");
    assert_eq!(receiver.session.open_streams(), 0, "{what}");
    receiver.hears(encode::request(2, &head("GET"), Bytes::new(), true));
    assert_eq!(receiver.accepts().0, 2, "{what}");
}

/// A REQUEST with one value changed, or absent.
fn request(flags: u8, tag: u8, value: Option<&[u8]>) -> Frame {
    let mut tlvs: Vec<(u8, &[u8])> = vec![
        (tlv::REQUEST_ID, b"r"),
        (tlv::METHOD, b"POST"),
        (tlv::TARGET, b"/"),
        (tlv::SCHEME, b"http"),
        (tlv::AUTHORITY, b"app.test"),
        (tlv::HEADERS, b""),
    ];
    tlvs.retain(|(t, _)| *t != tag);
    tlvs.extend(value.map(|value| (tag, value)));
    raw(1, flags, 1, &tlvs)
}

#[test]
fn bad_requests() {
    for tag in [
        tlv::REQUEST_ID,
        tlv::METHOD,
        tlv::TARGET,
        tlv::SCHEME,
        tlv::AUTHORITY,
        tlv::HEADERS,
    ] {
        is_refused(tlv::name(tag).unwrap(), request(0, tag, None));
    }
    let long_target = [&b"/"[..], &[b'x'; 16 << 10]].concat();
    let long_authority = vec![b'x'; 17 << 10];
    let field = block(&[(b"te", b"trailers")]);
    let values: [(u8, &[u8]); 27] = [
        (tlv::METHOD, b""),
        (tlv::METHOD, b"G T"),
        (tlv::METHOD, b"GET\r\n"),
        (tlv::TARGET, b""),
        (tlv::TARGET, b"x"),
        (tlv::TARGET, b"**"),
        (tlv::TARGET, b"http://app.test/"),
        (tlv::TARGET, b"/a b"),
        (tlv::TARGET, b"/a\nb"),
        (tlv::TARGET, b"/a\x7f"),
        (tlv::TARGET, &long_target),
        (tlv::SCHEME, b"ftp"),
        (tlv::SCHEME, b""),
        (tlv::AUTHORITY, b"a/b"),
        (tlv::AUTHORITY, b"user@app.test"),
        (tlv::AUTHORITY, b"app.test\r\n"),
        (tlv::AUTHORITY, &long_authority),
        (tlv::REQUEST_ID, b""),
        (tlv::REQUEST_ID, b"a b"),
        (tlv::REQUEST_ID, &[b'x'; 65]),
        (tlv::CLIENT_ADDR, b""),
        (tlv::CLIENT_ADDR, b"127.0.0.1"),
        (tlv::CLIENT_ADDR, b"::1:80"),
        (tlv::CLIENT_ADDR, b"127.0.0.1:80\r\n"),
        (tlv::PROTOCOL, b"websocket"),
        (tlv::HEADERS, &field),
        (tlv::HEADERS, b"\0\x0econtent-length\0\x02\xb2\xb3"),
    ];
    for (tag, value) in values {
        let shown: String = value.escape_ascii().take(40).map(char::from).collect();
        let what = format!("{} {shown}", tlv::name(tag).unwrap());
        is_refused(&what, request(0, tag, Some(value)));
    }
    let upgrade = FLAG_UPGRADE | FLAG_END_STREAM;
    is_refused(
        "UPGRADE without a protocol",
        request(FLAG_UPGRADE, 0x7f, None),
    );
    is_refused(
        "UPGRADE with an end",
        request(upgrade, tlv::PROTOCOL, Some(b"websocket")),
    );
    let mut with_body = request(FLAG_UPGRADE, tlv::PROTOCOL, Some(b"websocket"));
    with_body.body = Bytes::from_static(b"x");
    is_refused("UPGRADE with a body", with_body);
    let announced = with_headers(head("POST"), &[("content-length", "5")]);
    is_refused(
        "a short request",
        encode::request(1, &announced, Bytes::from_static(b"x"), true),
    );
}

#[test]
fn a_request_body_unlike_its_length_breaks_the_stream() {
    let mut receiver = Dialogue::receiver();
    let announced = with_headers(head("POST"), &[("content-length", "5")]);
    receiver.hears(encode::request(
        1,
        &announced,
        Bytes::from_static(b"ab"),
        false,
    ));
    assert_eq!(receiver.accepts(), ONE);
    receiver.hears(data(1, 4, false));
    assert_eq!(receiver.reads(ONE), Err(PROTOCOL));
    assert_eq!(receiver.says(), [reset(1, ResetCode::PROTOCOL)]);
}
