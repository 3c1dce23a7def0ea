//! Reads a response's head (RFC 9112 section 4) into the form the wire carries.

use std::mem::MaybeUninit;

use anp_http1::{
    Decoder,
    fields::{Named, lower_case, parse_length, tokens},
};
use anpx::{
    Fields, ResponseHead,
    fields::{FieldsBuilder, is_forbidden},
    limits::{MAX_FIELDS, MAX_FIELDS_BYTES},
};
use bytes::{Buf, Bytes, BytesMut};

use crate::app::error::AppError;

/// Most bytes of a head as the app writes it: its fields and a little for the line above them.
const MAX_HEAD: usize = MAX_FIELDS_BYTES + (8 << 10);

/// A response head and what follows it.
#[derive(Debug)]
pub(crate) struct Response {
    /// Status and end-to-end fields.
    pub(crate) head: ResponseHead,
    /// Finds the end of the body.
    pub(crate) body: Decoder,
    /// The app will take another request on the connection.
    pub(crate) keep_alive: bool,
    /// What a 101 switches to: its `Upgrade`, where it has one.
    pub(crate) protocol: Option<Bytes>,
}

/// Takes a head off the front of `read`; `None` while it is incomplete. `to_head` says that the
/// request's method was HEAD.
pub(crate) fn parse(read: &mut BytesMut, to_head: bool) -> Result<Option<Response>, AppError> {
    if read.is_empty() {
        return Ok(None);
    }
    let mut fields = [MaybeUninit::<httparse::Header<'_>>::uninit(); MAX_FIELDS];
    let mut head = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut head,
        read,
        &mut fields,
    );
    let len = match parsed {
        Ok(httparse::Status::Complete(len)) if len <= MAX_HEAD => len,
        Ok(httparse::Status::Partial) if read.len() <= MAX_HEAD => return Ok(None),
        Ok(_) => return Err(AppError::TooLarge("response head")),
        Err(httparse::Error::TooManyHeaders) => return Err(AppError::TooLarge("number of fields")),
        Err(httparse::Error::HeaderName) => return Err(AppError::Malformed("bad field name")),
        Err(httparse::Error::HeaderValue) => return Err(AppError::Malformed("bad field value")),
        Err(_) => return Err(AppError::Malformed("bad status line")),
    };
    let response = interpret(&head, len, to_head)?;
    read.advance(len);
    Ok(Some(response))
}

/// What the fields say about the message, beside what they say to the caller.
#[derive(Default)]
struct Framing {
    length: Option<u64>,
    /// A Transfer-Encoding was there.
    coded: bool,
    /// It was `chunked` and nothing else.
    chunked: bool,
    close: bool,
    keep_alive: bool,
}

fn interpret(
    head: &httparse::Response<'_, '_>,
    len: usize,
    to_head: bool,
) -> Result<Response, AppError> {
    let status = head.code.unwrap_or_default();
    if !(100..=599).contains(&status) {
        return Err(AppError::Malformed("status outside 100 to 599"));
    }
    let mut framing = Framing::default();
    for field in head.headers.iter() {
        framing.note(field)?;
    }
    if framing.coded && !framing.chunked {
        return Err(AppError::Malformed("a transfer coding other than chunked"));
    }
    let old = head.version == Some(0);
    if framing.coded && old {
        return Err(AppError::Malformed("a transfer coding on HTTP/1.0"));
    }
    let never_a_body = status < 200 || status == 204;
    // Both lengths at once may be an attempt to smuggle: chunked counts, the connection is not
    // used again, and the length goes no further (RFC 9112 section 6.3).
    let ambiguous = framing.coded && framing.length.is_some();
    let body = if never_a_body || status == 304 || to_head {
        Decoder::empty()
    } else if framing.chunked {
        Decoder::chunked()
    } else if let Some(length) = framing.length {
        Decoder::sized(length)
    } else {
        Decoder::until_close()
    };
    let keep_alive =
        body.is_delimited() && !framing.close && !ambiguous && (!old || framing.keep_alive);
    let keep_length = !never_a_body && !framing.coded;
    let upgrade = |f: &&httparse::Header<'_>| f.name.eq_ignore_ascii_case("upgrade");
    let protocol = match status {
        101 => head.headers.iter().find(upgrade),
        _ => None,
    };
    Ok(Response {
        head: ResponseHead {
            status,
            headers: collect(head.headers, len, keep_length)?,
        },
        body,
        keep_alive,
        protocol: protocol.map(|f| Bytes::copy_from_slice(f.value.trim_ascii())),
    })
}

impl Framing {
    fn note(&mut self, field: &httparse::Header<'_>) -> Result<(), AppError> {
        if field.name.eq_ignore_ascii_case("content-length") {
            let length =
                parse_length(field.value).ok_or(AppError::Malformed("bad content-length"))?;
            if self.length.is_some_and(|other| other != length) {
                return Err(AppError::Malformed("two content-lengths"));
            }
            self.length = Some(length);
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            self.chunked = !self.coded && field.value.eq_ignore_ascii_case(b"chunked");
            self.coded = true;
        } else if field.name.eq_ignore_ascii_case("connection") {
            // As nearly all say it.
            if field.value == b"keep-alive" {
                self.keep_alive = true;
                return Ok(());
            }
            for token in tokens(field.value) {
                self.close |= token.eq_ignore_ascii_case(b"close");
                self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
            }
        }
        Ok(())
    }
}

/// The end-to-end fields: without hop-by-hop ones and those that `Connection` names.
fn collect(
    fields: &[httparse::Header<'_>],
    len: usize,
    keep_length: bool,
) -> Result<Fields, AppError> {
    let named = Named::of(fields.iter().map(|f| (f.name.as_bytes(), f.value)))
        .map_err(AppError::Malformed)?;
    let mut builder = Fields::builder(len);
    let mut length_seen = false;
    for field in fields {
        let mut lower = [0; 64];
        let name = lower_case(field.name.as_bytes(), &mut lower);
        let name = name.as_ref();
        if is_forbidden(name) || (name != b"content-length" && named.holds(name)) {
            continue;
        }
        if name == b"content-length" && (!keep_length || std::mem::replace(&mut length_seen, true))
        {
            continue;
        }
        push(&mut builder, name, field.value)?;
    }
    Ok(builder.build())
}

fn push(builder: &mut FieldsBuilder, name: &[u8], value: &[u8]) -> Result<(), AppError> {
    builder
        .push(name, value.trim_ascii())
        .map_err(AppError::from_field)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Response>, AppError> {
        parse(&mut BytesMut::from(text), false)
    }

    fn fields(response: &Response) -> Vec<(&str, &str)> {
        let text = |b| std::str::from_utf8(b).unwrap();
        response
            .head
            .headers
            .iter()
            .map(|(n, v)| (text(n), text(v)))
            .collect()
    }

    #[test]
    fn fields_keep_order_and_repeats_and_lose_the_connections_own() {
        let mut buf = BytesMut::from(
            "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nX-B:  2 \r\nConnection: X-Hop, keep-alive\r\n\
             x-hop: 3\r\nKeep-Alive: timeout=5\r\nset-cookie: b=2\r\nContent-Length: 5\r\n\
             Content-Length: 5\r\nTrailer: t\r\n\r\nhello",
        );
        let response = parse(&mut buf, false).unwrap().unwrap();
        assert_eq!(&buf[..], b"hello");
        assert_eq!(
            fields(&response),
            [
                ("set-cookie", "a=1"),
                ("x-b", "2"),
                ("set-cookie", "b=2"),
                ("content-length", "5")
            ]
        );
        assert!(response.keep_alive);
        assert_eq!(response.body, Decoder::sized(5));
    }

    #[test]
    fn a_head_may_come_in_any_pieces() {
        let text = "HTTP/1.1 204 No Content\r\na: b\r\n\r\n";
        for end in 0..text.len() {
            assert!(read(&text[..end]).unwrap().is_none(), "{end}");
        }
        assert_eq!(read(text).unwrap().unwrap().body, Decoder::empty());
    }

    #[test]
    fn the_end_of_the_body_is_found_by_the_rules() {
        for (head, body, keep_alive) in [
            ("HTTP/1.1 200 OK\r\n\r\n", Decoder::until_close(), false),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
                Decoder::sized(0),
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n",
                Decoder::chunked(),
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\n",
                Decoder::sized(1),
                false,
            ),
            (
                "HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n",
                Decoder::sized(1),
                false,
            ),
            (
                "HTTP/1.0 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive\r\n\r\n",
                Decoder::sized(1),
                true,
            ),
            (
                "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
                Decoder::empty(),
                true,
            ),
            ("HTTP/1.1 100 Continue\r\n\r\n", Decoder::empty(), true),
        ] {
            let response = read(head).unwrap().unwrap();
            assert_eq!(
                (response.body, response.keep_alive),
                (body, keep_alive),
                "{head}"
            );
        }
        let both = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n";
        let response = read(both).unwrap().unwrap();
        assert_eq!(
            (response.body.clone(), response.keep_alive),
            (Decoder::chunked(), false)
        );
        assert_eq!(fields(&response), []);
        let to_head = parse(
            &mut BytesMut::from("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"),
            true,
        );
        let response = to_head.unwrap().unwrap();
        assert_eq!(response.body, Decoder::empty());
        assert_eq!(fields(&response), [("content-length", "9")]);
    }

    #[test]
    fn malformed_heads_say_what_is_wrong() {
        for (head, reason) in [
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
                "two content-lengths",
            ),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
                "bad content-length",
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
                "transfer coding",
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
                "transfer coding",
            ),
            (
                "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                "HTTP/1.0",
            ),
            ("HTTP/1.1 999 Odd\r\n\r\n", "status outside"),
            ("SSH-2.0-OpenSSH\r\n\r\n", "bad status line"),
            ("HTTP/1.1 200 OK\r\na b: c\r\n\r\n", "bad field name"),
        ] {
            let error = read(head).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        let endless = format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(MAX_HEAD));
        assert!(matches!(read(&endless), Err(AppError::TooLarge(_))));
        let many = format!(
            "HTTP/1.1 200 OK\r\n{}\r\n",
            "a: b\r\n".repeat(MAX_FIELDS + 1)
        );
        assert!(matches!(read(&many), Err(AppError::TooLarge(_))));
    }
}
