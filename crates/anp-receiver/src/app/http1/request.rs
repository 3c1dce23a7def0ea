//! Writes a request's head (RFC 9112 section 3).

use anp_http1::fields;
use anpx::{Fields, RequestHead};
use bytes::{BufMut, BytesMut};

use crate::app::error::AppError;

/// How the request's body is delimited (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// No body, or nothing left of it.
    Empty,
    /// This many bytes are left.
    Sized(u64),
    /// Chunks until a zero one.
    Chunked,
}

/// Appends the head to `out`. `prefix` goes before the target; `whole` says that no body follows.
pub(crate) fn encode_head(
    out: &mut BytesMut,
    head: &RequestHead,
    prefix: &[u8],
    whole: bool,
) -> Result<Framing, AppError> {
    let visible = |text: &[u8]| text.iter().all(|b| *b > b' ' && *b != 0x7f);
    if head.method.is_empty() || !head.method.iter().all(|b| is_token_byte(*b)) {
        return Err(AppError::BadRequest("bad method"));
    }
    if head.target.is_empty() || !visible(&head.target) {
        return Err(AppError::BadRequest("bad target"));
    }
    if !visible(&head.authority) {
        return Err(AppError::BadRequest("bad authority"));
    }
    out.reserve(head.target.len() + head.authority.len() + head.headers.block().len() + 256);
    out.put_slice(&head.method);
    out.put_u8(b' ');
    if head.target.starts_with(b"/") {
        out.put_slice(prefix);
    }
    out.put_slice(&head.target);
    out.put_slice(b" HTTP/1.1\r\nHost: ");
    out.put_slice(&head.authority);
    out.put_slice(b"\r\n");
    let length = put_fields(out, &head.headers)?;
    if let Some(protocol) = &head.protocol {
        put_upgrade(out, protocol)?;
        if length.is_some_and(|length| length > 0) {
            return Err(AppError::BadRequest("an upgrade with a body"));
        }
        out.put_slice(b"\r\n");
        return Ok(Framing::Empty);
    }
    let framing = match (length, whole) {
        (Some(0), _) | (None, true) => Framing::Empty,
        (Some(_), true) => return Err(AppError::BadRequest("content-length without a body")),
        (Some(length), false) => Framing::Sized(length),
        (None, false) => {
            out.put_slice(b"transfer-encoding: chunked\r\n");
            Framing::Chunked
        }
    };
    out.put_slice(b"\r\n");
    Ok(framing)
}

/// Appends the fields. Gives the length of the body, where they name one.
fn put_fields(out: &mut BytesMut, headers: &Fields) -> Result<Option<u64>, AppError> {
    let mut lengths = headers.get_all("content-length");
    let Some(value) = lengths.next() else {
        fields::put_all(out, headers);
        return Ok(None);
    };
    let parse =
        |value| fields::parse_length(value).ok_or(AppError::BadRequest("bad content-length"));
    let length = parse(value)?;
    let mut once = true;
    for other in lengths {
        once = false;
        if parse(other)? != length {
            return Err(AppError::BadRequest("two content-lengths"));
        }
    }
    if once {
        fields::put_all(out, headers);
        return Ok(Some(length));
    }
    // The same length twice says nothing new (RFC 9110 section 8.6).
    let mut seen = false;
    for (name, value) in headers {
        if name != b"content-length" || !std::mem::replace(&mut seen, true) {
            fields::put(out, name, value);
        }
    }
    Ok(Some(length))
}

/// Asks for `protocol` (RFC 9110 section 7.8). HTTP/2 is no upgrade that a tunnel carries: its
/// streams would pass by every rule for requests (ANPX 3.7).
fn put_upgrade(out: &mut BytesMut, protocol: &[u8]) -> Result<(), AppError> {
    let named = |b: u8| is_token_byte(b) || b == b'/';
    if protocol.is_empty() || !protocol.iter().all(|b| named(*b)) {
        return Err(AppError::BadRequest("bad upgrade protocol"));
    }
    if protocol.eq_ignore_ascii_case(b"h2c") {
        return Err(AppError::BadRequest("an upgrade to h2c"));
    }
    fields::put(out, b"connection", b"upgrade");
    fields::put(out, b"upgrade", protocol);
    Ok(())
}

/// RFC 9110 section 5.6.2.
fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn head(method: &'static str, target: &'static str, fields: &[(&str, &str)]) -> RequestHead {
        RequestHead {
            method: Bytes::from_static(method.as_bytes()),
            target: Bytes::from_static(target.as_bytes()),
            scheme: Bytes::from_static(b"http"),
            authority: Bytes::from_static(b"app.example"),
            headers: Fields::from_pairs(fields.iter().copied()).unwrap(),
            request_id: Bytes::from_static(b"id"),
            client_addr: None,
            protocol: None,
        }
    }

    fn encode(
        head: &RequestHead,
        prefix: &str,
        whole: bool,
    ) -> Result<(String, Framing), AppError> {
        let mut out = BytesMut::new();
        let framing = encode_head(&mut out, head, prefix.as_bytes(), whole)?;
        Ok((String::from_utf8(out.to_vec()).unwrap(), framing))
    }

    #[test]
    fn a_head_keeps_target_order_and_repeats() {
        let head = head(
            "GET",
            "/a%2Fb?x=%zz&[",
            &[("b", "1"), ("a", "2"), ("b", "3")],
        );
        let (text, framing) = encode(&head, "/v1", true).unwrap();
        assert_eq!(
            text,
            "GET /v1/a%2Fb?x=%zz&[ HTTP/1.1\r\nHost: app.example\r\nb: 1\r\na: 2\r\nb: 3\r\n\r\n"
        );
        assert_eq!(framing, Framing::Empty);
    }

    #[test]
    fn the_asterisk_takes_no_prefix() {
        let (text, _) = encode(&head("OPTIONS", "*", &[]), "/v1", true).unwrap();
        assert!(text.starts_with("OPTIONS * HTTP/1.1\r\n"));
    }

    #[test]
    fn a_body_is_sized_or_chunked() {
        let sized = head(
            "POST",
            "/",
            &[("content-length", "12"), ("content-length", "12")],
        );
        let (text, framing) = encode(&sized, "", false).unwrap();
        assert!(text.ends_with("\r\ncontent-length: 12\r\n\r\n"));
        assert_eq!(text.matches("content-length").count(), 1);
        assert_eq!(framing, Framing::Sized(12));
        let (text, framing) = encode(&head("POST", "/", &[]), "", false).unwrap();
        assert!(text.ends_with("\r\ntransfer-encoding: chunked\r\n\r\n"));
        assert_eq!(framing, Framing::Chunked);
        let empty = head("POST", "/", &[("content-length", "0")]);
        assert_eq!(encode(&empty, "", false).unwrap().1, Framing::Empty);
    }

    fn upgrade(protocol: &'static str, fields: &[(&str, &str)]) -> RequestHead {
        RequestHead {
            protocol: Some(Bytes::from_static(protocol.as_bytes())),
            ..head("GET", "/", fields)
        }
    }

    #[test]
    fn an_upgrade_asks_for_its_protocol_and_has_no_body() {
        let (text, framing) = encode(&upgrade("websocket", &[("a", "b")]), "", false).unwrap();
        assert!(
            text.ends_with("\r\na: b\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"),
            "{text}"
        );
        assert_eq!(framing, Framing::Empty);
        assert!(encode(&upgrade("irc/6.9", &[]), "", false).is_ok());
        for head in [
            upgrade("", &[]),
            upgrade("h2c", &[]),
            upgrade("H2C", &[]),
            upgrade("a, h2c", &[]),
            upgrade("a\r\nx: y", &[]),
            upgrade("websocket", &[("content-length", "1")]),
        ] {
            let result = encode(&head, "", false);
            assert!(matches!(result, Err(AppError::BadRequest(_))), "{result:?}");
        }
    }

    #[test]
    fn what_would_change_the_message_is_refused() {
        for (head, whole) in [
            (head("GE T", "/", &[]), true),
            (head("GET", "/ HTTP/1.1\r\nx: y", &[]), true),
            (head("POST", "/", &[("content-length", "+1")]), false),
            (head("POST", "/", &[("content-length", "1, 1")]), false),
            (
                head(
                    "POST",
                    "/",
                    &[("content-length", "1"), ("content-length", "2")],
                ),
                false,
            ),
            (head("POST", "/", &[("content-length", "5")]), true),
        ] {
            assert!(matches!(
                encode(&head, "", whole),
                Err(AppError::BadRequest(_))
            ));
        }
    }
}
