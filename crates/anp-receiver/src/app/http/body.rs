//! Finds the end of a response body (RFC 9112 sections 6.3 and 7.1).

use anpx::{Fields, limits::MAX_FIELDS_BYTES};
use bytes::{Buf, Bytes, BytesMut};

use super::response::collect_trailers;
use crate::app::AppError;

/// Most bytes of a chunk's size line, extensions included.
const MAX_SIZE_LINE: usize = 4 << 10;
/// Most trailer fields.
const MAX_TRAILERS: usize = 64;

/// Takes a body out of the bytes of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decoder {
    state: State,
}

/// ```text
/// Sized(n) ─────────────────────────────► Done
/// UntilClose ───────────────────────────► Done   at the end of the connection
/// ChunkSize ─► Chunk(n) ─► ChunkEnd ─┐
///     ▲  └────► Trailers ────────────┼──► Done   after a chunk of size 0
///     └──────────────────────────────┘
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Sized(u64),
    UntilClose,
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    Done,
}

/// What the next bytes came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// Body bytes, never empty.
    Data(Bytes),
    /// The body is whole and these trailers follow it.
    Trailers(Fields),
    /// The body is whole.
    End,
    /// Nothing without more bytes (or, at `max` 0, without more room).
    More,
}

impl Decoder {
    /// No body.
    pub(crate) fn empty() -> Self {
        Self { state: State::Done }
    }

    /// A body of `length` bytes.
    pub(crate) fn sized(length: u64) -> Self {
        Self {
            state: match length {
                0 => State::Done,
                _ => State::Sized(length),
            },
        }
    }

    /// A chunked body.
    pub(crate) fn chunked() -> Self {
        Self {
            state: State::ChunkSize,
        }
    }

    /// A body that ends with its connection.
    pub(crate) fn until_close() -> Self {
        Self {
            state: State::UntilClose,
        }
    }

    /// True where the body's end is not the connection's.
    pub(crate) fn is_delimited(&self) -> bool {
        self.state != State::UntilClose
    }

    /// True once the body was taken whole.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes the next part off `read`, at most `max` bytes of body.
    pub(crate) fn next(&mut self, read: &mut BytesMut, max: usize) -> Result<Decoded, AppError> {
        loop {
            match self.state {
                State::Done => return Ok(Decoded::End),
                State::UntilClose => return Ok(take(read, max)),
                State::Sized(left) => {
                    let decoded = take(read, max.min(clamp(left)));
                    if let Decoded::Data(data) = &decoded {
                        let left = left - data.len() as u64;
                        self.state = match left {
                            0 => State::Done,
                            _ => State::Sized(left),
                        };
                    }
                    return Ok(decoded);
                }
                State::Chunk(left) => {
                    let decoded = take(read, max.min(clamp(left)));
                    if let Decoded::Data(data) = &decoded {
                        let left = left - data.len() as u64;
                        self.state = match left {
                            0 => State::ChunkEnd,
                            _ => State::Chunk(left),
                        };
                    }
                    return Ok(decoded);
                }
                State::ChunkEnd => {
                    if read.len() < 2 {
                        return Ok(Decoded::More);
                    }
                    if !read.starts_with(b"\r\n") {
                        return Err(AppError::Malformed("a chunk is longer than its size"));
                    }
                    read.advance(2);
                    self.state = State::ChunkSize;
                }
                State::ChunkSize => match httparse::parse_chunk_size(read) {
                    Ok(httparse::Status::Complete((len, size))) => {
                        read.advance(len);
                        self.state = match size {
                            0 => State::Trailers,
                            _ => State::Chunk(size),
                        };
                    }
                    Ok(httparse::Status::Partial) if read.len() <= MAX_SIZE_LINE => {
                        return Ok(Decoded::More);
                    }
                    Ok(httparse::Status::Partial) | Err(_) => {
                        return Err(AppError::Malformed("bad chunk size"));
                    }
                },
                State::Trailers => {
                    let Some(trailers) = take_trailers(read)? else {
                        return Ok(Decoded::More);
                    };
                    self.state = State::Done;
                    if !trailers.is_empty() {
                        return Ok(Decoded::Trailers(trailers));
                    }
                }
            }
        }
    }

    /// The connection ended: true where that is the body's end too.
    pub(crate) fn close(&mut self) -> bool {
        if self.state == State::UntilClose {
            self.state = State::Done;
        }
        self.is_done()
    }
}

fn clamp(left: u64) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX)
}

fn take(read: &mut BytesMut, max: usize) -> Decoded {
    match read.len().min(max) {
        0 => Decoded::More,
        len => Decoded::Data(read.split_to(len).freeze()),
    }
}

/// Takes the trailer section off `read`; `None` while it is incomplete.
fn take_trailers(read: &mut BytesMut) -> Result<Option<Fields>, AppError> {
    // The usual case, without trailers: an empty line.
    if read.starts_with(b"\r\n") {
        read.advance(2);
        return Ok(Some(Fields::default()));
    }
    let mut fields = [httparse::EMPTY_HEADER; MAX_TRAILERS];
    let (len, trailers) = match httparse::parse_headers(read, &mut fields) {
        Ok(httparse::Status::Complete((len, fields))) => (len, collect_trailers(fields)?),
        Ok(httparse::Status::Partial) if read.len() <= MAX_FIELDS_BYTES => return Ok(None),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Err(AppError::TooLarge("trailers"));
        }
        Err(_) => return Err(AppError::Malformed("bad trailers")),
    };
    read.advance(len);
    Ok(Some(trailers))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `text` in pieces of `piece` bytes; gives the body and the trailers.
    fn decode(
        mut decoder: Decoder,
        text: &[u8],
        piece: usize,
    ) -> Result<(Vec<u8>, Fields), AppError> {
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
            false => Err(AppError::Malformed("ended early")),
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
            (Decoder::chunked(), b"zz\r\n"),
            (Decoder::chunked(), b"-1\r\n"),
            (Decoder::chunked(), b"11111111111111111\r\n"),
            (Decoder::chunked(), b"0\r\nbad name: x\r\n\r\n"),
        ] {
            assert!(
                decode(decoder, text, 4).is_err(),
                "{:?}",
                text.escape_ascii().to_string()
            );
        }
        let long = [b"1;".to_vec(), vec![b'x'; MAX_SIZE_LINE]].concat();
        assert!(decode(Decoder::chunked(), &long, 512).is_err());
    }
}
