//! Bodies in any pieces, and what is none.

use super::*;

/// Feeds `text` in pieces of `piece` bytes; gives the body and the trailers.
fn decode(mut decoder: Decoder, text: &[u8], piece: usize) -> Result<(Vec<u8>, Fields), BodyError> {
    let (mut read, mut body) = (BytesMut::new(), Vec::new());
    for piece in text.chunks(piece) {
        read.extend_from_slice(piece);
        loop {
            match decoder.next(&mut read, 3)? {
                Decoded::Data(data) => {
                    assert!((1..=3).contains(&data.len()));
                    body.extend_from_slice(&data);
                }
                Decoded::Trailers(trailers) => return Ok((body, trailers)),
                Decoded::End => return Ok((body, Fields::default())),
                Decoded::More => break,
            }
        }
    }
    match decoder.close() {
        true => Ok((body, Fields::default())),
        false => Err(BodyError::Malformed("ended early")),
    }
}

#[test]
fn bodies_come_whole_in_any_pieces() {
    for piece in 1..20 {
        let (body, _) = decode(Decoder::sized(5), b"hello", piece).unwrap();
        assert_eq!(body, b"hello");
        let (body, _) = decode(Decoder::until_close(), b"hello", piece).unwrap();
        assert_eq!(body, b"hello");
        let text = b"3;ext=\"x\"\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
        let (body, trailers) = decode(Decoder::chunked(), text, piece).unwrap();
        assert_eq!((&body[..], trailers.is_empty()), (&b"hello"[..], true));
        let text = b"5\r\nhello\r\n0\r\nGrpc-Status: 0\r\nContent-Length: 3\r\n\r\n";
        let (body, trailers) = decode(Decoder::chunked(), text, piece).unwrap();
        assert_eq!(body, b"hello");
        let only: Vec<_> = trailers.iter().collect();
        assert_eq!(only, [(&b"grpc-status"[..], &b"0"[..])]);
    }
}

#[test]
fn a_body_with_malformed_trailers_never_ends() {
    let mut read = BytesMut::from("0\r\nx\r\n\r\na: b\r\n\r\n");
    let mut decoder = Decoder::chunked();
    for _ in 0..3 {
        let bad = decoder.next(&mut read, 9);
        assert!(matches!(bad, Err(BodyError::Malformed(_))), "{bad:?}");
        assert!(!decoder.is_done());
    }
}

#[test]
fn the_end_is_seen_without_room_for_data() {
    let mut read = BytesMut::from("1\r\na\r\n0\r\n\r\n");
    let mut decoder = Decoder::chunked();
    assert_eq!(decoder.next(&mut read, 0).unwrap(), Decoded::More);
    assert_eq!(
        decoder.next(&mut read, 9).unwrap(),
        Decoded::Data("a".into())
    );
    assert_eq!(decoder.next(&mut read, 0).unwrap(), Decoded::End);
    assert!(decoder.is_done() && read.is_empty());
}

#[test]
fn early_ends_and_broken_chunks_are_errors() {
    for (decoder, text) in [
        (Decoder::sized(6), &b"hello"[..]),
        (Decoder::chunked(), b""),
        (Decoder::chunked(), b"5\r\nhell"),
        (Decoder::chunked(), b"5\r\nhello\r\n"),
        (Decoder::chunked(), b"5\r\nhello\r\n0\r\n"),
        (Decoder::chunked(), b"4\r\nhello\r\n0\r\n\r\n"),
    ] {
        for piece in 1..=text.len().max(1) {
            assert!(
                decode(decoder.clone(), text, piece).is_err(),
                "{:?}",
                text.escape_ascii().to_string()
            );
        }
    }
}

/// What may stand before a chunk; each leads to a body of one byte.
#[test]
fn size_lines_are_read() {
    for line in [
        "1",
        "01",
        "0000000000000001",
        "1 ",
        "1;a",
        "1 ;a=\"b;c\"",
        "1\t; a",
    ] {
        let text = format!("{line}\r\nx\r\n0\r\n\r\n");
        for piece in 1..=text.len() {
            let (body, _) = decode(Decoder::chunked(), text.as_bytes(), piece).unwrap();
            assert_eq!(body, b"x", "{line:?} in pieces of {piece}");
        }
    }
}

#[test]
fn size_lines_that_two_parsers_may_read_differently_are_errors() {
    for line in [
        "1\n",
        "1;a\n",
        "1 \n",
        "\r\n",
        "\n",
        " 1\r\n",
        "\t1\r\n",
        "0x1\r\n",
        "+1\r\n",
        "-1\r\n",
        "zz\r\n",
        ";a\r\n",
        "1 1\r\n",
        "1 a\r\n",
        "1,\r\n",
        "1\r\r\n",
        "1\rx\r\n",
        "1;a\rb\r\n",
        "1;\0\r\n",
        "00000000000000001\r\n",
    ] {
        let text = format!("{line}x\r\n0\r\n\r\n");
        for piece in 1..=text.len() {
            let error = decode(Decoder::chunked(), text.as_bytes(), piece).unwrap_err();
            assert_eq!(error, BodyError::Malformed("bad chunk size"), "{line:?}");
        }
    }
}

#[test]
fn extensions_are_bounded() {
    let endless = format!("1;{}", "x".repeat(MAX_SIZE_LINE));
    let error = decode(Decoder::chunked(), endless.as_bytes(), 512).unwrap_err();
    assert_eq!(error, BodyError::TooLarge("a chunk extension"));
    let chunk = format!("1;{}\r\nx\r\n", "x".repeat(1023));
    let most = chunk.repeat(16) + "0\r\n\r\n";
    assert!(decode(Decoder::chunked(), most.as_bytes(), 512).is_ok());
    let more = chunk.repeat(17);
    let error = decode(Decoder::chunked(), more.as_bytes(), 512).unwrap_err();
    assert_eq!(error, BodyError::TooLarge("chunk extensions"));
}

#[test]
fn trailer_lines_end_in_crlf_and_are_not_folded() {
    for trailers in [
        "\n",
        "a: b\n\r\n",
        "a: b\r\n\n",
        "a: b\n\n",
        "a: b\r\n c\r\n\r\n",
        " a: b\r\n\r\n",
        "a: b\rc: d\r\n\r\n",
        "a : b\r\n\r\n",
        "bad name: x\r\n\r\n",
        "a\r\n\r\n",
        "a: \0\r\n\r\n",
    ] {
        let text = format!("0\r\n{trailers}");
        for piece in 1..=text.len() {
            let result = decode(Decoder::chunked(), text.as_bytes(), piece);
            assert!(
                matches!(result, Err(BodyError::Malformed(why)) if why.contains("trailer")),
                "{trailers:?}: {result:?}"
            );
        }
    }
}

#[test]
fn trailers_are_bounded() {
    for section in [
        "a: b\r\n".repeat(MAX_TRAILERS + 1) + "\r\n",
        "a".repeat(65 << 10),
    ] {
        let text = format!("0\r\n{section}");
        let error = decode(Decoder::chunked(), text.as_bytes(), 4096).unwrap_err();
        assert_eq!(error, BodyError::TooLarge("trailers"));
    }
}

#[test]
fn what_follows_the_body_stays() {
    let mut read = BytesMut::from("0\r\na: b\r\n\r\nGET");
    let mut decoder = Decoder::chunked();
    assert!(matches!(
        decoder.next(&mut read, 9),
        Ok(Decoded::Trailers(_))
    ));
    assert_eq!(decoder.next(&mut read, 9), Ok(Decoded::End));
    assert_eq!(&read[..], b"GET");
}

#[test]
fn only_a_body_of_known_length_can_be_seen_to_be_at_hand() {
    let mut sized = Decoder::sized(3);
    assert!(!sized.is_held_by(2) && sized.is_held_by(3) && sized.is_held_by(9));
    let mut read = BytesMut::from("ab");
    assert_eq!(sized.next(&mut read, 9), Ok(Decoded::Data("ab".into())));
    assert!(!sized.is_held_by(0) && sized.is_held_by(1));
    for other in [Decoder::chunked(), Decoder::until_close(), Decoder::empty()] {
        assert!(!other.is_held_by(usize::MAX));
    }
}
