//! Golden reports.

use anpx::{
    Fields,
    frame::Frame,
    header::{FLAG_CHUNK, FLAG_END_STREAM},
    tlv,
};
use bytes::{Bytes, BytesMut};

use super::inspect;

fn encode(version: u8, kind: u8, flags: u8, stream: u32, tlvs: &[(u8, &[u8])]) -> Vec<u8> {
    let mut block = BytesMut::new();
    for (tag, value) in tlvs {
        tlv::put(&mut block, *tag, value);
    }
    let mut out = Vec::new();
    let frame = Frame {
        version,
        kind,
        flags,
        stream,
        tlvs: block.freeze(),
        body: Bytes::new(),
    };
    frame.encode(&mut out);
    out
}

fn request() -> Vec<u8> {
    let headers = Fields::from_pairs([("accept", "*/*"), ("cookie", "a=1")]).unwrap();
    encode(
        2,
        1,
        FLAG_END_STREAM,
        1,
        &[
            (tlv::METHOD, b"GET"),
            (tlv::TARGET, b"/a?b"),
            (tlv::SCHEME, b"http"),
            (tlv::AUTHORITY, b"example.org"),
            (tlv::HEADERS, headers.block()),
            (tlv::REQUEST_ID, b"r1"),
        ],
    )
}

fn report(input: Vec<u8>) -> (String, bool) {
    let mut out = Vec::new();
    let good = inspect(&Bytes::from(input), &mut out).unwrap();
    (String::from_utf8(out).unwrap(), good)
}

fn problems(input: Vec<u8>) -> Vec<String> {
    let (text, good) = report(input);
    let wrong: Vec<String> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("WRONG  ").map(str::to_owned))
        .collect();
    assert_eq!(good, wrong.is_empty(), "{text}");
    wrong
}

#[test]
fn a_request_of_version_2() {
    let (text, good) = report(request());
    assert_eq!(text, include_str!("golden/request_v2.txt"));
    assert!(good);
}

#[test]
fn a_chunked_response_of_version_1() {
    let (text, good) = report(encode(
        1,
        2,
        FLAG_CHUNK,
        0,
        &[
            (tlv::REQUEST_ID, b"2b0b5a6e-0000-4000-8000-000000000000"),
            (
                tlv::RESP_META,
                br#"{"status":200,"headers":{"Content-Type":"text/plain"}}"#,
            ),
            (tlv::HTTP_BODY, b"hello\n"),
            (tlv::CHUNK_IDX, &[0, 0, 0, 0]),
            (tlv::FINAL_CHUNK, &[0, 0, 0, 1]),
            (0xf0, b"\x00\x01"),
            (0x7f, b""),
        ],
    ));
    assert_eq!(text, include_str!("golden/response_v1.txt"));
    assert!(good);
}

#[test]
fn a_flipped_bit_shows_in_the_checksum_and_the_rest_is_read_on() {
    let mut input = request();
    let last = input.len() - 1;
    input[last] ^= 1;
    input.extend(encode(
        2,
        3,
        FLAG_END_STREAM,
        1,
        &[(tlv::HTTP_BODY, b"abc")],
    ));
    let (text, good) = report(input);
    assert_eq!(text, include_str!("golden/flipped_v2.txt"));
    assert!(!good);
}

#[test]
fn what_a_frame_holds_tells_a_terminal_nothing() {
    let text = "a\u{9b}31m\u{7f}\u{202e}b\u{2028}\u{200f}\u{61c}\u{2066}c";
    let json = format!("{{\"status\": 200, \"x{text}\": \"{text}\"}}");
    let headers = Fields::from_pairs([("x", "a\u{202e}b")]).unwrap();
    for input in [
        encode(
            1,
            2,
            0,
            0,
            &[
                (tlv::REQUEST_ID, text.as_bytes()),
                (tlv::RESP_META, json.as_bytes()),
            ],
        ),
        encode(2, 4, FLAG_END_STREAM, 1, &[(tlv::HEADERS, headers.block())]),
        encode(1, 2, 0, 0, &[(tlv::RESP_META, text.as_bytes())]),
        encode(2, 3, 0, 1, &[(tlv::HTTP_BODY, text.as_bytes())]),
    ] {
        let (shown, _) = report(input);
        let mut lines = shown.lines().flat_map(str::chars);
        assert!(lines.all(anp_receiver::is_plain), "{shown:?}");
        assert!(
            shown.contains("202e}") || shown.contains("e2 80 ae"),
            "{shown:?}"
        );
    }
}

#[test]
fn what_is_wrong_names_the_byte() {
    let data = |tlvs: &[(u8, &[u8])]| encode(2, 3, 0, 1, tlvs);
    for (input, expected) in [
        (
            b"GET ".to_vec(),
            vec!["byte 0: found 47 45 54 20, expected the magic \"ANPX\" (41 4e 50 58)"],
        ),
        (
            b"ANPX\x02".to_vec(),
            vec!["byte 5: the input ends inside the header: found 5 bytes, expected 24"],
        ),
        (
            data(&[(tlv::HTTP_BODY, b"a"), (tlv::HTTP_BODY, b"b")]),
            vec!["byte 30: http_body stands here a second time"],
        ),
        (
            encode(2, 5, 0, 1, &[(tlv::CREDIT, &[0; 4])]),
            vec!["byte 29: credit is 0, expected 1 to 2147483647"],
        ),
        (
            encode(2, 5, 0, 1, &[(tlv::CREDIT, &[1; 2])]),
            vec!["byte 25: credit has 2 bytes, expected 4"],
        ),
        (
            encode(2, 5, 0, 1, &[]),
            vec!["byte 24: credit (tag 0x20) is missing"],
        ),
        (
            encode(2, 3, 0, 0, &[]),
            vec!["byte 20: stream id is 0, expected that of a stream"],
        ),
        (
            encode(2, 7, 0, 3, &[]),
            vec!["byte 20: stream id is 3, expected 0: the frame is of the session"],
        ),
        (
            encode(2, 4, 0, 1, &[(tlv::HEADERS, b"")]),
            vec!["byte 6: TRAILERS without END_STREAM"],
        ),
        (
            encode(2, 2, 0, 1, &[(tlv::STATUS, &[0, 99])]),
            vec!["byte 29: status is 99, expected 200 to 599, or 101 on an upgrade"],
        ),
        (
            encode(
                2,
                4,
                FLAG_END_STREAM,
                1,
                &[(tlv::HEADERS, b"\x00\x01A\x00\x00")],
            ),
            vec!["byte 29: header name is not a lower-case token"],
        ),
        (
            encode(
                2,
                4,
                FLAG_END_STREAM,
                1,
                &[(tlv::HEADERS, b"\x00\x01a\x00\x00\x00\x09b")],
            ),
            vec!["byte 34: the header that begins here reaches past the end of its block"],
        ),
        (
            encode(
                1,
                1,
                0,
                0,
                &[(tlv::REQUEST_ID, b"a"), (tlv::HTTP_META, b"[]")],
            ),
            vec!["byte 35: http_meta is no JSON object"],
        ),
        (
            encode(
                1,
                1,
                0,
                0,
                &[(tlv::REQUEST_ID, b"a"), (tlv::HTTP_META, b"{")],
            ),
            vec!["byte 35: http_meta is not JSON: EOF while parsing an object at line 1 column 1"],
        ),
        (
            encode(
                1,
                1,
                FLAG_CHUNK,
                0,
                &[
                    (tlv::REQUEST_ID, b"a"),
                    (tlv::CHUNK_IDX, &[0, 0, 0, 2]),
                    (tlv::CHUNK_TOT, &[0, 0, 0, 2]),
                ],
            ),
            vec!["byte 39: chunk_tot is 2, but this is chunk 2 counted from 0"],
        ),
    ] {
        assert_eq!(problems(input), expected);
    }
}

#[test]
fn a_tlv_past_the_end_and_a_length_that_lies() {
    let mut input = encode(2, 3, 0, 1, &[(tlv::HTTP_BODY, b"abc")]);
    input[28] = 9;
    let wrong = problems(input);
    assert_eq!(
        wrong[1],
        "byte 24: tag 0x03 says its value has 9 bytes, but the frame has only 3 left"
    );
    let mut input = encode(2, 3, 0, 1, &[]);
    input[8..12].copy_from_slice(&[0xff; 4]);
    let wrong = problems(input);
    assert_eq!(
        wrong[0],
        "byte 8: total length is 4294967295, but 24 bytes are there"
    );
}

#[test]
fn no_input_breaks_the_inspector() {
    let good = request();
    for cut in 0..good.len() {
        report(good[..cut].to_vec());
    }
    for bit in 0..good.len() * 8 {
        let mut input = good.clone();
        input[bit / 8] ^= 1 << (bit % 8);
        let (text, ok) = report(input);
        // Byte 7 is covered by the header's checksum like all others.
        assert!(!ok, "bit {bit} went unnoticed: {text}");
    }
    assert_eq!(report(Vec::new()).0, "no frames: the input is empty\n");
}

/// Every block of hex in a file of `vectors/`, with the name of its case and the kind of error
/// that is expected.
fn vectors(file: &str) -> Vec<(String, Option<String>, String)> {
    let path = format!("{}/../../vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let document: toml_edit::DocumentMut = text.parse().unwrap();
    let cases = document["case"].as_array_of_tables().unwrap();
    cases
        .iter()
        .map(|case| {
            let text = |key: &str| case[key].as_str().unwrap().to_owned();
            let error = case["expect"].get("error");
            let kind = error.map(|error| error["kind"].as_str().unwrap().to_owned());
            (text("name"), kind, text("hex"))
        })
        .collect()
}

#[test]
fn golden_vectors_are_good() {
    for file in ["v1-golden.toml", "v1-quirks.toml", "v2-golden.toml"] {
        for (name, _, hex) in vectors(file) {
            let bytes = super::hex::bytes(hex.into_bytes()).unwrap();
            let (text, good) = report(bytes);
            assert!(good, "{file} {name}: {text}");
        }
    }
}

#[test]
fn hostile_vectors_are_bad() {
    for file in ["v1-hostile.toml", "v2-hostile.toml"] {
        for (name, kind, hex) in vectors(file) {
            let bytes = super::hex::bytes(hex.into_bytes()).unwrap();
            let (text, good) = report(bytes);
            // Joined frames are told apart here; other kinds of error need a session to show.
            let visible = kind.as_deref() == Some("frame") && name != "two-frames";
            assert!(!(visible && good), "{file} {name}: {text}");
        }
    }
}
