//! The head of a response as it goes to an HTTP/1 caller (RFC 9112 section 4).

use anp_http1::fields::{put, put_all};
use anpx::{Fields, ResponseHead};
use bytes::BytesMut;
use http::StatusCode;

use crate::{conn::date, proxy::response::Follows};

/// How the end of a message is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// By a length, or by there being no body.
    Length,
    /// By a last chunk.
    Chunked,
    /// By the connection's end (HTTP/1.0).
    Close,
}

impl Framing {
    /// The framing of what follows a head.
    pub(crate) fn of(follows: Follows, is_old: bool) -> Self {
        match follows {
            Follows::Nothing | Follows::Sized(_) | Follows::Raw => Self::Length,
            Follows::Streamed if is_old => Self::Close,
            Follows::Streamed => Self::Chunked,
        }
    }
}

/// What a head says of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persistence<'a> {
    /// Another request may follow, as HTTP/1.1 has it.
    Keep,
    /// Another request may follow, which an HTTP/1.0 caller must be told.
    KeepOld,
    /// No other request is read.
    Close,
    /// The connection becomes something else.
    Upgrade(&'a [u8]),
}

/// Appends the head of a final response, or of 101, with the fields of an app.
pub(crate) fn put_head(
    out: &mut BytesMut,
    status: u16,
    fields: &Fields,
    follows: Follows,
    framing: Framing,
    persistence: Persistence<'_>,
) {
    put_status(out, status);
    let seen = Seen {
        length: fields.contains("content-length"),
        date: fields.contains("date"),
    };
    // RFC 9110 section 8.6: a 204 has no length, whatever the app says.
    if seen.length && (status == 204 || follows == Follows::Raw) {
        for (name, value) in fields.iter().filter(|(n, _)| *n != b"content-length") {
            put(out, name, value);
        }
    } else {
        put_all(out, fields);
    }
    put_rest(out, &seen, follows, framing, persistence);
}

/// Appends the head of a response of the gateway's own.
pub(crate) fn put_own_head<'a>(
    out: &mut BytesMut,
    status: u16,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    follows: Follows,
    persistence: Persistence<'_>,
) {
    put_status(out, status);
    let mut seen = Seen::default();
    for (name, value) in fields {
        seen.length |= name == b"content-length";
        seen.date |= name == b"date";
        put(out, name, value);
    }
    put_rest(out, &seen, follows, Framing::Length, persistence);
}

/// What of that which every head needs is there.
#[derive(Default)]
struct Seen {
    length: bool,
    date: bool,
}

fn put_rest(
    out: &mut BytesMut,
    seen: &Seen,
    follows: Follows,
    framing: Framing,
    persistence: Persistence<'_>,
) {
    if !seen.date {
        date::with(|date| put(out, b"date", date.as_bytes()));
    }
    if let Follows::Sized(length) = follows
        && !seen.length
    {
        put(out, b"content-length", length.to_string().as_bytes());
    }
    if framing == Framing::Chunked {
        put(out, b"transfer-encoding", b"chunked");
    }
    match persistence {
        Persistence::Keep => {}
        Persistence::KeepOld => put(out, b"connection", b"keep-alive"),
        Persistence::Close => put(out, b"connection", b"close"),
        Persistence::Upgrade(protocol) => {
            put(out, b"connection", b"Upgrade");
            put(out, b"upgrade", protocol);
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends an informational head (RFC 9110 section 15.2).
pub(crate) fn put_informational(out: &mut BytesMut, head: &ResponseHead) {
    put_status(out, head.status);
    put_all(out, &head.headers);
    out.extend_from_slice(b"\r\n");
}

/// `HTTP/1.1`, the status and its usual reason: nobody should read another into it (RFC 9112
/// section 4), and the tunnel carries none.
fn put_status(out: &mut BytesMut, status: u16) {
    if status == 200 {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    let reason = StatusCode::from_u16(status)
        .ok()
        .and_then(|s| s.canonical_reason());
    let digits = [100, 10, 1].map(|unit| b'0' + u8::try_from(status / unit % 10).unwrap_or(0));
    for part in [
        b"HTTP/1.1 ",
        &digits[..],
        b" ",
        reason.unwrap_or_default().as_bytes(),
        b"\r\n",
    ] {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Field<'a> = (&'a str, &'a str);

    fn head(
        status: u16,
        fields: &[Field<'_>],
        follows: Follows,
        is_old: bool,
        persistence: Persistence<'_>,
    ) -> String {
        let mut out = BytesMut::new();
        let fields = Fields::from_pairs([&[("date", "today")], fields].concat()).unwrap();
        let framing = Framing::of(follows, is_old);
        put_head(&mut out, status, &fields, follows, framing, persistence);
        let text = String::from_utf8(out.to_vec()).unwrap();
        let text = text.strip_prefix("HTTP/1.1 ").unwrap();
        let text = text.strip_suffix("\r\n\r\n").unwrap();
        text.replace("\r\ndate: today", "").replace("\r\n", "|")
    }

    #[test]
    fn heads() {
        use Follows::{Nothing, Raw, Sized, Streamed};
        use Persistence::{Close, Keep, KeepOld, Upgrade};
        let length = [("content-length", "5")];
        for (status, fields, follows, is_old, persistence, text) in [
            (
                200,
                &length[..],
                Sized(5),
                false,
                Keep,
                "200 OK|content-length: 5",
            ),
            (200, &[], Sized(0), false, Keep, "200 OK|content-length: 0"),
            (
                299,
                &[],
                Streamed,
                false,
                Keep,
                "299 |transfer-encoding: chunked",
            ),
            (
                404,
                &[],
                Streamed,
                true,
                Close,
                "404 Not Found|connection: close",
            ),
            (
                200,
                &[],
                Sized(0),
                true,
                KeepOld,
                "200 OK|content-length: 0|connection: keep-alive",
            ),
            (
                304,
                &length,
                Nothing,
                false,
                Keep,
                "304 Not Modified|content-length: 5",
            ),
            (204, &length, Nothing, false, Keep, "204 No Content"),
            (
                101,
                &length,
                Raw,
                false,
                Upgrade(b"echo"),
                "101 Switching Protocols|connection: Upgrade|upgrade: echo",
            ),
        ] {
            assert_eq!(head(status, fields, follows, is_old, persistence), text);
        }
        let cookies = [("set-cookie", "a"), ("x", "y"), ("set-cookie", "b")];
        assert_eq!(
            head(200, &cookies, Streamed, false, Keep),
            "200 OK|set-cookie: a|x: y|set-cookie: b|transfer-encoding: chunked"
        );
    }

    #[test]
    fn a_date_is_added_where_there_is_none() {
        let mut out = BytesMut::new();
        put_head(
            &mut out,
            204,
            &Fields::default(),
            Follows::Nothing,
            Framing::Length,
            Persistence::Keep,
        );
        let text = String::from_utf8(out.to_vec()).unwrap();
        let date = text.split("date: ").nth(1).unwrap();
        assert!(httpdate::parse_http_date(date.trim_end()).is_ok(), "{text}");
    }

    #[test]
    fn informational_heads_have_no_date() {
        let mut out = BytesMut::new();
        let head = ResponseHead {
            status: 103,
            headers: Fields::from_pairs([("link", "</a>")]).unwrap(),
        };
        put_informational(&mut out, &head);
        assert_eq!(&out[..], b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
    }
}
