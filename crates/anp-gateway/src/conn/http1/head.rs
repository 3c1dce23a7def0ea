//! The head of a request (RFC 9112 sections 2 to 6): where it ends, and what it says of what follows.

use std::mem::MaybeUninit;

use anp_http1::{
    Decoder,
    fields::{parse_length, tokens},
};
use anpx::{is_100_continue, limits::MAX_FIELDS};
use bytes::{Buf, BytesMut};
use httparse::{Error, Header, Request};

use crate::error::ProxyError;

/// Empty lines before a request that are let pass (RFC 9112 section 2.2).
const EMPTY_LINES: usize = 2;

/// Looks for the end of a head, each byte once however it comes.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Where the line begins that is not complete.
    line: usize,
    /// How far was looked.
    at: usize,
    empty_lines: usize,
}

impl Scan {
    /// The length of the head at the front of `read`, at most `max` bytes; `None` while it is
    /// incomplete.
    ///
    /// # Errors
    /// 400 where a line ends in anything but CRLF or the first byte begins no request; 414 and 431
    /// where the head is too long.
    pub(crate) fn find(
        &mut self,
        read: &mut BytesMut,
        max: usize,
    ) -> Result<Option<usize>, ProxyError> {
        while let Some(lf) = memchr::memchr(b'\n', read.get(self.at..).unwrap_or_default()) {
            let lf = self.at + lf;
            let line = read.get(self.line..lf).unwrap_or_default();
            if line.last() != Some(&b'\r') {
                return Err(ProxyError::BadRequest("a line does not end in CR LF"));
            }
            (self.line, self.at) = (lf + 1, lf + 1);
            if line.len() > 1 {
                continue;
            }
            if lf > 1 {
                *self = Self::default();
                return if lf < max {
                    Ok(Some(lf + 1))
                } else {
                    Err(too_large(read, max))
                };
            }
            self.empty_lines += 1;
            if self.empty_lines > EMPTY_LINES {
                return Err(NOT_HTTP);
            }
            read.advance(2);
            (self.line, self.at) = (0, 0);
        }
        self.at = read.len();
        match read.first() {
            Some(b) if !b.is_ascii_graphic() && *b != b'\r' => Err(NOT_HTTP),
            _ if read.len() < max => Ok(None),
            _ => Err(too_large(read, max)),
        }
    }
}

/// Which part of a head that exceeds `max` bytes does.
fn too_large(head: &[u8], max: usize) -> ProxyError {
    match memchr::memchr(b'\n', head) {
        Some(end) if end < max => ProxyError::HeadersTooLarge,
        _ => ProxyError::TargetTooLong,
    }
}

const NOT_HTTP: ProxyError = ProxyError::BadRequest("this is not an HTTP request");

/// A head, and what it says of its connection and its body.
#[derive(Debug)]
pub(crate) struct Head<'a> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) fields: &'a [Header<'a>],
    /// HTTP/1.0.
    pub(crate) is_old: bool,
    /// The caller may send another request on the connection.
    pub(crate) keep_alive: bool,
    /// The caller waits for 100 (Continue).
    pub(crate) expects: bool,
    /// Of what `Upgrade` offers, the first that is allowed.
    pub(crate) upgrade: Option<&'a str>,
    /// The body's framing.
    pub(crate) body: Decoder,
}

impl Head<'_> {
    /// The values of the fields of this name, in order.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.fields
            .iter()
            .filter(move |f| f.name.eq_ignore_ascii_case(name))
            .map(|f| f.value)
    }

    /// True where a list field holds `token`, in any case.
    pub(crate) fn has_token(&self, name: &str, token: &str) -> bool {
        self.values(name)
            .flat_map(tokens)
            .any(|t| t.eq_ignore_ascii_case(token.as_bytes()))
    }
}

/// Reads the head that is all of `bytes` and hands it to `take`. `upgrades` are the tokens that
/// connections may be upgraded to.
///
/// # Errors
/// 400, 431 and 505 as [`ProxyError`] says.
pub(crate) fn parse<T>(
    bytes: &[u8],
    upgrades: &[String],
    take: impl FnOnce(&Head<'_>) -> T,
) -> Result<T, ProxyError> {
    let mut fields = [MaybeUninit::uninit(); MAX_FIELDS];
    let mut request = Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut fields) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(NOT_HTTP),
        Err(error) => return Err(refused(error, bytes)),
    }
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
    else {
        return Err(NOT_HTTP);
    };
    let means = Means::of(request.headers, minor == 0)?;
    let keep_alive = match minor {
        0 => means.keep_alive && !means.close,
        _ => !means.close,
    };
    let upgrade = means.upgrade(method, request.headers, upgrades);
    Ok(take(&Head {
        method,
        target,
        fields: request.headers,
        is_old: minor == 0,
        keep_alive,
        expects: means.expects && minor > 0,
        upgrade: upgrade.filter(|_| minor > 0),
        body: match (means.chunked, means.length) {
            (true, _) => Decoder::chunked(),
            (false, Some(length)) => Decoder::sized(length),
            (false, None) => Decoder::empty(),
        },
    }))
}

fn refused(error: Error, bytes: &[u8]) -> ProxyError {
    match error {
        Error::TooManyHeaders => ProxyError::HeadersTooLarge,
        Error::HeaderName => ProxyError::BadRequest(
            "a header line has no valid name and colon, or continues the line before",
        ),
        Error::HeaderValue => {
            ProxyError::BadRequest("a header value holds a byte that none may hold")
        }
        Error::Token => ProxyError::BadRequest("the request line is not valid"),
        Error::Version => {
            let line = bytes.split(|b| *b == b'\r').next().unwrap_or_default();
            let mut words = line.split(|b| *b == b' ').skip(2);
            match (words.next(), words.next()) {
                (Some([b'H', b'T', b'T', b'P', b'/', b'1'..=b'9', b'.', minor]), None)
                    if minor.is_ascii_digit() =>
                {
                    ProxyError::HttpVersion
                }
                _ => ProxyError::BadRequest("the request line is not valid"),
            }
        }
        Error::NewLine | Error::Status => NOT_HTTP,
    }
}

/// What the fields say that are for this connection.
#[derive(Debug, Default)]
struct Means {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    upgrade: bool,
    expects: bool,
}

impl Means {
    fn of(fields: &[Header<'_>], is_old: bool) -> Result<Self, ProxyError> {
        let mut means = Self::default();
        for Header { name, value } in fields {
            // Most names end here without a comparison.
            match name.len() {
                6 if name.eq_ignore_ascii_case("expect") => {
                    means.expects |= is_100_continue(value);
                }
                10 if name.eq_ignore_ascii_case("connection") => {
                    for token in tokens(value) {
                        means.close |= token.eq_ignore_ascii_case(b"close");
                        means.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                        means.upgrade |= token.eq_ignore_ascii_case(b"upgrade");
                    }
                }
                14 if name.eq_ignore_ascii_case("content-length") => {
                    let length = parse_length(value).ok_or(ProxyError::BadRequest(
                        "Content-Length is not a number of bytes",
                    ))?;
                    if means.length.replace(length).is_some_and(|l| l != length) {
                        return Err(ProxyError::BadRequest(
                            "there are several Content-Length headers that differ",
                        ));
                    }
                }
                17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                    if means.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                        return Err(ProxyError::BadRequest(
                            "Transfer-Encoding is not chunked and nothing else",
                        ));
                    }
                    means.chunked = true;
                }
                _ => {}
            }
        }
        if means.chunked && is_old {
            return Err(ProxyError::BadRequest("HTTP/1.0 has no Transfer-Encoding"));
        }
        if means.chunked && means.length.is_some() {
            return Err(ProxyError::BadRequest(
                "there are both Content-Length and Transfer-Encoding",
            ));
        }
        Ok(means)
    }

    /// The first of the protocols offered that is allowed. A request with a body is no upgrade: its
    /// body and what follows could not be told apart by everyone.
    fn upgrade<'a>(
        &self,
        method: &str,
        fields: &[Header<'a>],
        allowed: &'a [String],
    ) -> Option<&'a str> {
        if !self.upgrade || self.chunked || self.length.is_some_and(|l| l > 0) {
            return None;
        }
        fields
            .iter()
            .filter(|f| f.name.eq_ignore_ascii_case("upgrade"))
            .flat_map(|f| tokens(f.value))
            .find_map(|offered| {
                allowed
                    .iter()
                    .find(|a| a.as_bytes().eq_ignore_ascii_case(offered))
            })
            .map(String::as_str)
            .filter(|protocol| *protocol != "websocket" || method == "GET")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &[u8], piece: usize, max: usize) -> Result<Option<usize>, ProxyError> {
        let (mut scan, mut read) = (Scan::default(), BytesMut::new());
        for piece in text.chunks(piece) {
            read.extend_from_slice(piece);
            if let Some(len) = scan.find(&mut read, max)? {
                return Ok(Some(len));
            }
        }
        Ok(None)
    }

    #[test]
    fn the_end_of_a_head_is_found_in_any_pieces() {
        for piece in 1..30 {
            for before in ["", "\r\n", "\r\n\r\n"] {
                let text = format!("{before}GET / HTTP/1.1\r\na: b\r\n\r\nbody\n");
                assert_eq!(find(text.as_bytes(), piece, 99), Ok(Some(24)));
            }
            assert_eq!(find(b"GET / HTTP/1.1\r\na: b\r\n\r", piece, 99), Ok(None));
        }
    }

    #[test]
    fn what_cannot_become_a_head_is_refused_early() {
        for bad in [
            &b"GET / HTTP/1.1\n"[..],
            b"GET / HTTP/1.1\r\na: b\n",
            b"\n",
            b"\r\n\r\n\r\n",
            b"\x16\x03\x01",
            b" GET",
        ] {
            for piece in 1..9 {
                let found = find(bad, piece, 99);
                assert!(matches!(found, Err(ProxyError::BadRequest(_))), "{bad:?}");
            }
        }
        let line = [b'x'; 99];
        assert_eq!(find(&line, 10, 99), Err(ProxyError::TargetTooLong));
        let fields = [b"GET / HTTP/1.1\r\n", &line[..]].concat();
        assert_eq!(find(&fields, 10, 99), Err(ProxyError::HeadersTooLarge));
        let whole = [&fields[..], b"\r\n\r\n"].concat();
        assert_eq!(find(&whole, 200, 99), Err(ProxyError::HeadersTooLarge));
        let long = [b"GET /", &line[..], b" HTTP/1.1\r\na: b\r\n"].concat();
        let whole_long = [&long[..], b"\r\n"].concat();
        for piece in [10, 115, 200] {
            for head in [&long, &whole_long] {
                assert_eq!(find(head, piece, 99), Err(ProxyError::TargetTooLong));
            }
        }
    }

    /// Framing, keep-alive, expects and upgrade of a request with these header lines.
    fn means(line: &str, fields: &str) -> Result<(String, bool, bool, Option<String>), ProxyError> {
        let upgrades = ["websocket".to_owned(), "echo".to_owned()];
        let text = format!("{line}\r\nhost: h\r\n{fields}\r\n");
        parse(text.as_bytes(), &upgrades, |head| {
            (
                format!("{:?}", head.body),
                head.keep_alive,
                head.expects,
                head.upgrade.map(str::to_owned),
            )
        })
    }

    #[test]
    fn framing() {
        const GET: &str = "GET / HTTP/1.1";
        let framed = |fields| means(GET, fields).map(|m| m.0);
        let is = |decoder: Decoder| Ok(format!("{decoder:?}"));
        assert_eq!(framed(""), is(Decoder::empty()));
        assert_eq!(framed("content-length: 0\r\n"), is(Decoder::sized(0)));
        assert_eq!(framed("Content-Length: 07 \r\n"), is(Decoder::sized(7)));
        let twice = "content-length: 7\r\nx: y\r\ncontent-length: 7\r\n";
        assert_eq!(framed(twice), is(Decoder::sized(7)));
        let chunked = "Transfer-Encoding: Chunked\r\n";
        assert_eq!(framed(chunked), is(Decoder::chunked()));
        for bad in [
            "content-length: +7\r\n",
            "content-length: \r\n",
            "content-length: 7, 7\r\n",
            "content-length: 7\r\ncontent-length: 8\r\n",
            "content-length: 99999999999999999999\r\n",
            "content-length: 7\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: chunked\r\ncontent-length: 7\r\n",
            "transfer-encoding: gzip\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: chunked, chunked\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: identity\r\n",
            "transfer-encoding:\r\n",
            "transfer-encoding: \x0bchunked\r\n",
            "transfer-encoding : chunked\r\n",
            "a: b\r\n c\r\n",
            " a: b\r\n",
            ": b\r\n",
            "a b\r\n",
            "a: b\rc\r\n",
            "a: b\0\r\n",
        ] {
            let framed = framed(bad);
            assert!(matches!(framed, Err(ProxyError::BadRequest(_))), "{bad:?}");
        }
        let old = means("GET / HTTP/1.0", chunked);
        assert!(matches!(old, Err(ProxyError::BadRequest(_))));
        let many = "a: b\r\n".repeat(256);
        assert_eq!(framed(&many), Err(ProxyError::HeadersTooLarge));
    }

    #[test]
    fn request_lines() {
        for (line, status) in [
            ("GET / HTTP/1.2", 505),
            ("GET / HTTP/2.0", 505),
            ("GET / HTTP/0.9", 400),
            ("GET / http/1.1", 400),
            ("GET / HTTP/1.10", 400),
            ("GET /", 400),
            ("GET", 400),
            ("GET  / HTTP/1.1", 400),
            ("GET /\t HTTP/1.1", 400),
            ("GET / a HTTP/1.1", 400),
            ("GET / HTTP/1.1 ", 400),
            ("G\u{1}T / HTTP/1.1", 400),
        ] {
            let error = means(line, "").unwrap_err();
            assert_eq!(error.status().as_u16(), status, "{line:?}");
        }
    }

    #[test]
    fn connections() {
        for (line, fields, keep_alive) in [
            ("GET / HTTP/1.1", "", true),
            ("GET / HTTP/1.1", "connection: a,Close\r\n", false),
            ("GET / HTTP/1.0", "", false),
            ("GET / HTTP/1.0", "Connection: Keep-Alive\r\n", true),
            ("GET / HTTP/1.0", "connection: keep-alive, close\r\n", false),
        ] {
            assert_eq!(
                means(line, fields).unwrap().1,
                keep_alive,
                "{line} {fields}"
            );
        }
        let expect = "Expect: 100-Continue\r\n";
        assert!(means("PUT / HTTP/1.1", expect).unwrap().2);
        assert!(!means("PUT / HTTP/1.0", expect).unwrap().2);
    }

    #[test]
    fn upgrades() {
        let upgrade = |line, fields| means(line, fields).unwrap().3;
        let asks = "Connection: keep-alive, Upgrade\r\nUpgrade: h2c, Echo, WebSocket\r\n";
        assert_eq!(upgrade("POST / HTTP/1.1", asks).as_deref(), Some("echo"));
        let websocket = "connection: upgrade\r\nupgrade: WebSocket\r\n";
        let get = upgrade("GET / HTTP/1.1", websocket);
        assert_eq!(get.as_deref(), Some("websocket"));
        let body = format!("{asks}content-length: 1\r\n");
        for (line, fields) in [
            ("POST / HTTP/1.1", websocket),
            ("GET / HTTP/1.0", asks),
            ("GET / HTTP/1.1", "upgrade: echo\r\n"),
            ("GET / HTTP/1.1", "connection: upgrade\r\nupgrade: h2c\r\n"),
            ("GET / HTTP/1.1", &body),
        ] {
            assert_eq!(upgrade(line, fields), None);
        }
    }
}
