//! Finds the end of a body (RFC 9112 sections 6.3 and 7.1).

use anpx::{Fields, FieldsError, fields::is_forbidden, limits::MAX_FIELDS_BYTES};
use bytes::{Buf, Bytes, BytesMut};

use crate::fields::{lines_end_in_crlf, lower_case};

/// Most bytes of a chunk's size line, extensions included.
const MAX_SIZE_LINE: usize = 4 << 10;
/// Most bytes of chunk extensions in one body. They say nothing to anyone, and may otherwise
/// outweigh the body a thousandfold.
const MAX_EXTENSIONS: usize = 16 << 10;
/// Most trailer fields.
const MAX_TRAILERS: usize = 64;

/// Why the bytes are no body. The connection cannot be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The framing breaks RFC 9112 section 7.1, or a trailer RFC 9110 section 5.
    #[error("{0}")]
    Malformed(&'static str),
    /// More than 64 trailers or 64 KiB of them, or 16 KiB of chunk extensions.
    #[error("{0} beyond the limit")]
    TooLarge(&'static str),
}

/// Takes a body out of the bytes of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoder {
    state: State,
    /// Bytes of chunk extensions so far.
    extensions: usize,
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
    /// This many bytes of the section have been looked at, and hold no end of it.
    Trailers(usize),
    Done,
}

/// What the next bytes came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
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
    const fn new(state: State) -> Self {
        Self {
            state,
            extensions: 0,
        }
    }

    /// No body.
    pub const fn empty() -> Self {
        Self::new(State::Done)
    }

    /// A body of `length` bytes.
    pub const fn sized(length: u64) -> Self {
        Self::new(match length {
            0 => State::Done,
            _ => State::Sized(length),
        })
    }

    /// A chunked body.
    pub const fn chunked() -> Self {
        Self::new(State::ChunkSize)
    }

    /// A body that ends with its connection.
    pub const fn until_close() -> Self {
        Self::new(State::UntilClose)
    }

    /// True where the body's end is not the connection's.
    pub fn is_delimited(&self) -> bool {
        self.state != State::UntilClose
    }

    /// True once the body was taken whole.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// True where the next `held` bytes hold all that is left of the body, as far as its head tells.
    pub fn is_held_by(&self, held: usize) -> bool {
        matches!(self.state, State::Sized(left) if left <= held as u64)
    }

    /// Takes the next part off `read`, at most `max` bytes of body. Bytes behind the body stay.
    ///
    /// # Errors
    /// The bytes are no body of this framing, or exceed a limit.
    pub fn next(&mut self, read: &mut BytesMut, max: usize) -> Result<Decoded, BodyError> {
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
                        return Err(BodyError::Malformed("a chunk is longer than its size"));
                    }
                    read.advance(2);
                    self.state = State::ChunkSize;
                }
                State::ChunkSize => {
                    let Some(line) = parse_size_line(read)? else {
                        return Ok(Decoded::More);
                    };
                    self.extensions = self.extensions.saturating_add(line.extension);
                    if self.extensions > MAX_EXTENSIONS {
                        return Err(BodyError::TooLarge("chunk extensions"));
                    }
                    read.advance(line.len);
                    self.state = match line.size {
                        0 => State::Trailers(0),
                        _ => State::Chunk(line.size),
                    };
                }
                State::Trailers(looked_at) => {
                    let Some(len) = section_len(read, looked_at)? else {
                        self.state = State::Trailers(read.len());
                        return Ok(Decoded::More);
                    };
                    // What is malformed stays, so that nobody takes the body for whole.
                    let trailers = parse_trailers(read.get(..len).unwrap_or_default())?;
                    read.advance(len);
                    self.state = State::Done;
                    if !trailers.is_empty() {
                        return Ok(Decoded::Trailers(trailers));
                    }
                }
            }
        }
    }

    /// The connection ended: true where that is the body's end too.
    pub fn close(&mut self) -> bool {
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

/// The line before a chunk.
struct SizeLine {
    size: u64,
    /// The whole line with its end.
    len: usize,
    /// Bytes between the size and the end.
    extension: usize,
}

/// Reads `1*16HEXDIG [BWS] [";" extension] CRLF` at the front of `read`; `None` while it is
/// incomplete. Everything else is refused, since what one parser takes for the end of this line
/// and another does not decides where the next message starts (RFC 9112 section 7.1.1).
fn parse_size_line(read: &[u8]) -> Result<Option<SizeLine>, BodyError> {
    let bad = BodyError::Malformed("bad chunk size");
    let digits = read.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    if digits > 16 {
        return Err(bad);
    }
    let (size, rest) = read.split_at(digits);
    let Some(next) = rest.first() else {
        return Ok(None);
    };
    if digits == 0 || !b" \t;\r".contains(next) {
        return Err(bad);
    }
    let blank = rest.iter().take_while(|b| b" \t".contains(b)).count();
    let extended = match rest.get(blank) {
        None | Some(b'\r') => false,
        Some(b';') => true,
        Some(_) => return Err(bad),
    };
    let extension = rest
        .iter()
        .take_while(|b| **b >= b' ' && **b != 0x7f || **b == b'\t')
        .count();
    if extension > MAX_SIZE_LINE {
        return Err(BodyError::TooLarge("a chunk extension"));
    }
    match rest.get(extension..extension + 2) {
        Some(b"\r\n") => {}
        Some(_) => return Err(bad),
        None if rest.get(extension).is_some_and(|b| *b != b'\r') => return Err(bad),
        None => return Ok(None),
    }
    // Digits and nothing else, of which 16 fit.
    let size = std::str::from_utf8(size).ok();
    let size = size.and_then(|size| u64::from_str_radix(size, 16).ok());
    Ok(Some(SizeLine {
        size: size.ok_or(bad)?,
        len: digits + extension + 2,
        extension: if extended { extension } else { 0 },
    }))
}

/// How many bytes of `read` the trailer section takes, its empty line included; `None` while that
/// has not come. The first `looked_at` bytes were looked at before, so that a section that comes
/// byte by byte costs no more than another.
fn section_len(read: &[u8], looked_at: usize) -> Result<Option<usize>, BodyError> {
    let news = read.iter().enumerate().skip(looked_at);
    for (at, _) in news.filter(|(_, b)| **b == b'\n') {
        let line = read.get(..at).unwrap_or_default();
        let Some(line) = line.strip_suffix(b"\r") else {
            return Err(BodyError::Malformed(
                "a trailer line that ends in a bare LF",
            ));
        };
        if line.is_empty() || line.ends_with(b"\n") {
            return Ok(Some(at + 1));
        }
    }
    match read.len() <= MAX_FIELDS_BYTES {
        true => Ok(None),
        false => Err(BodyError::TooLarge("trailers")),
    }
}

/// The fields of a whole trailer section, without those that a trailer cannot change.
fn parse_trailers(section: &[u8]) -> Result<Fields, BodyError> {
    // The usual case, without trailers: an empty line.
    if section == b"\r\n" {
        return Ok(Fields::default());
    }
    if !lines_end_in_crlf(section) {
        return Err(BodyError::Malformed("a trailer line with a bare CR"));
    }
    let mut fields = [httparse::EMPTY_HEADER; MAX_TRAILERS];
    let fields = match httparse::parse_headers(section, &mut fields) {
        Ok(httparse::Status::Complete((len, fields))) if len == section.len() => fields,
        Err(httparse::Error::TooManyHeaders) => return Err(BodyError::TooLarge("trailers")),
        Ok(_) | Err(_) => return Err(BodyError::Malformed("bad trailers")),
    };
    let mut builder = Fields::builder(section.len());
    for field in fields {
        let mut lower = [0; 64];
        let name = lower_case(field.name.as_bytes(), &mut lower);
        let name = name.as_ref();
        if is_forbidden(name) || name == b"content-length" {
            continue;
        }
        builder
            .push(name, field.value.trim_ascii())
            .map_err(|error| match error {
                FieldsError::TooLarge => BodyError::TooLarge("trailers"),
                _ => BodyError::Malformed("bad trailers"),
            })?;
    }
    Ok(builder.build())
}

#[cfg(test)]
mod tests;
