//! From bytes to a [`Frame`]. Total: any byte string gives a frame or a typed error.

use bytes::Bytes;

use super::{
    frame::{Frame, Kind, Payload, Settings, StreamFault},
    malformed::MalformedFrame,
    tags::Tags,
};
use crate::{
    Fields, FieldsError, RequestHead, ResetCode, ResponseHead, classes,
    header::{FLAG_END_STREAM, FLAG_INFORMATIONAL, FLAG_UPGRADE, Header},
    limits::{MAX_HEAD_REST, MAX_INFORMATIONAL_HEAD, MAX_TARGET},
    tlv,
};

/// Most bytes of a frame with an informational head: the head, and 1 KiB for all besides.
const MAX_INFORMATIONAL_FRAME: usize = MAX_INFORMATIONAL_HEAD + (1 << 10);

impl Frame {
    /// Decodes one message, which must be exactly one frame. Bodies and fields share its memory.
    ///
    /// # Errors
    /// [`MalformedFrame`] for what ends the session. What ends a stream only is [`Payload::Faulty`].
    pub fn decode(message: &Bytes) -> Result<Self, MalformedFrame> {
        let header = Header::decode(message)?;
        if header.version != 2 {
            return Err(MalformedFrame::Version(header.version));
        }
        let tags = Tags::read(message)?;
        let stream = header.stream;
        let end = header.has(FLAG_END_STREAM);
        let Some(kind) = Kind::from_byte(header.kind) else {
            return Ok(Self {
                stream,
                end,
                payload: Payload::Unknown(header.kind),
            });
        };
        if matches!(kind, Kind::Settings | Kind::GoAway) != (stream == 0) {
            return Err(MalformedFrame::StreamId { kind, stream });
        }
        let payload = match kind {
            Kind::Request => request(message, &header, &tags),
            Kind::Response => response(message, &header, &tags),
            Kind::Data => Ok(Payload::Data(body(message, &tags))),
            Kind::Trailers => trailers(message, end, &tags),
            Kind::Window => tags
                .credit
                .map(Payload::Window)
                .ok_or(StreamFault::Missing(tlv::CREDIT)),
            Kind::Reset => tags
                .code
                .map(|code| Payload::Reset(ResetCode(code)))
                .ok_or(StreamFault::Missing(tlv::CODE)),
            Kind::Settings => Ok(settings(&tags)?),
            Kind::GoAway => {
                let code = ResetCode(tags.code.ok_or(MalformedFrame::GoAwayCode)?);
                Ok(Payload::GoAway {
                    code,
                    last_stream: tags.last_stream,
                })
            }
        };
        if let Err(StreamFault::Fields(FieldsError::Truncated)) = payload {
            return Err(MalformedFrame::Fields);
        }
        let payload = payload.unwrap_or_else(|fault| Payload::Faulty(kind, fault));
        Ok(Self {
            stream,
            end,
            payload,
        })
    }
}

fn settings(tags: &Tags<'_>) -> Result<Payload, MalformedFrame> {
    let accepting = match tags.accepting {
        None => None,
        Some(value @ (0 | 1)) => Some(value == 1),
        Some(_) => return Err(MalformedFrame::SettingRange),
    };
    let settings = Settings {
        max_frame_body: tags.max_frame_body,
        initial_window: tags.initial_window,
        max_streams: tags.max_streams,
        accepting,
    };
    settings
        .in_range()
        .then_some(Payload::Settings(settings))
        .ok_or(MalformedFrame::SettingRange)
}

/// The body bytes in a frame.
fn body(message: &Bytes, tags: &Tags<'_>) -> Bytes {
    tags.body
        .map_or_else(Bytes::new, |body| message.slice_ref(body))
}

fn trailers(message: &Bytes, end: bool, tags: &Tags<'_>) -> Result<Payload, StreamFault> {
    let headers = tags.headers.ok_or(StreamFault::Missing(tlv::HEADERS))?;
    if !end {
        return Err(StreamFault::TrailersEnd);
    }
    let headers = message.slice_ref(headers);
    Ok(Payload::Trailers(Fields::from_block(headers)?))
}

fn response(message: &Bytes, header: &Header, tags: &Tags<'_>) -> Result<Payload, StreamFault> {
    let status = tags.status.ok_or(StreamFault::Missing(tlv::STATUS))?;
    let headers = tags.headers.ok_or(StreamFault::Missing(tlv::HEADERS))?;
    let body = body(message, tags);
    if header.has(FLAG_INFORMATIONAL) {
        if !matches!(status, 100 | 102..=199) {
            return Err(StreamFault::Status);
        }
        let end = header.has(FLAG_END_STREAM);
        // Tags to be skipped have no place in a head of bounded size beyond a small one.
        let padded = usize::try_from(header.total).unwrap_or(usize::MAX) > MAX_INFORMATIONAL_FRAME;
        if end || !body.is_empty() || padded || headers.len() > MAX_INFORMATIONAL_HEAD {
            return Err(StreamFault::Informational);
        }
    } else if !matches!(status, 101 | 200..=599) {
        return Err(StreamFault::Status);
    }
    let head = ResponseHead {
        status,
        headers: Fields::from_block(message.slice_ref(headers))?,
    };
    Ok(Payload::Response { head, body })
}

fn request(message: &Bytes, header: &Header, tags: &Tags<'_>) -> Result<Payload, StreamFault> {
    let required = |tag, value: Option<_>| value.ok_or(StreamFault::Missing(tag));
    let share = |value| message.slice_ref(value);
    let method = required(tlv::METHOD, tags.method)?;
    let target = required(tlv::TARGET, tags.target)?;
    let scheme = required(tlv::SCHEME, tags.scheme)?;
    let authority = required(tlv::AUTHORITY, tags.authority)?;
    let headers = required(tlv::HEADERS, tags.headers)?;
    let headers = Fields::from_block(share(headers))?;
    let request_id = required(tlv::REQUEST_ID, tags.request_id)?;
    // Boxed: it goes from hand to hand up to the app, and each would move all of it.
    let head = Box::new(RequestHead {
        method: usual(method).unwrap_or_else(|| share(method)),
        target: share(target),
        scheme: usual(scheme).unwrap_or_else(|| share(scheme)),
        authority: share(authority),
        headers,
        request_id: share(request_id),
        client_addr: tags.client_addr.map(share),
        protocol: tags.protocol.map(share),
    });
    let body = body(message, tags);
    check_request(&head)?;
    let upgrade = header.has(FLAG_UPGRADE);
    let bare = body.is_empty() && !header.has(FLAG_END_STREAM);
    if upgrade != head.protocol.is_some() || upgrade && !bare {
        return Err(StreamFault::Upgrade);
    }
    Ok(Payload::Request { head, body })
}

/// True for an address and port, IPv6 in brackets.
fn is_socket_addr(addr: &[u8]) -> bool {
    let parses = |addr: &str| addr.parse::<std::net::SocketAddr>().is_ok();
    is_usual_v4(addr) || std::str::from_utf8(addr).is_ok_and(parses)
}

/// True for an IPv4 address and port without needless zeros, which most requests come from. Takes
/// three fifths of the instructions of the standard parser, and every head pays them at both ends.
fn is_usual_v4(addr: &[u8]) -> bool {
    let part = |text| number(text, 255);
    let parts = || {
        let rest = part(addr)?.strip_prefix(b".")?;
        let rest = part(rest)?.strip_prefix(b".")?;
        let rest = part(rest)?.strip_prefix(b".")?;
        number(part(rest)?.strip_prefix(b":")?, 65535)
    };
    parts() == Some(b"")
}

/// What follows the number, at most `max`, that `text` begins with.
fn number(text: &[u8], max: u32) -> Option<&[u8]> {
    let mut rest = text;
    let mut number = 0;
    while let [digit @ b'0'..=b'9', after @ ..] = rest
        && number <= max
    {
        number = number * 10 + u32::from(digit - b'0');
        rest = after;
    }
    let digits = text.len() - rest.len();
    let plain = digits == 1 || digits > 1 && text.first() != Some(&b'0');
    (plain && number <= max).then_some(rest)
}

/// Words that most requests have, which need no share of the frame.
fn usual(word: &[u8]) -> Option<Bytes> {
    let word: &'static [u8] = match word {
        b"GET" => b"GET",
        b"POST" => b"POST",
        b"http" => b"http",
        b"https" => b"https",
        _ => return None,
    };
    Some(Bytes::from_static(word))
}

/// The rules of a request head (ANPX 3.3, section 4), for readers and writers alike.
pub(crate) fn check_request(head: &RequestHead) -> Result<(), StreamFault> {
    if !classes::is_token(&head.method) {
        return Err(StreamFault::Method);
    }
    if head.target.len() > MAX_TARGET {
        return Err(StreamFault::TooLarge);
    }
    let origin_form = head.target.starts_with(b"/") && classes::all(&head.target, classes::VISIBLE);
    if !origin_form && head.target != b"*"[..] {
        return Err(StreamFault::Target);
    }
    if !matches!(&head.scheme[..], b"http" | b"https") {
        return Err(StreamFault::Scheme);
    }
    if !classes::all(&head.authority, classes::HOST) {
        return Err(StreamFault::Authority);
    }
    let id = &head.request_id;
    if !(1..=64).contains(&id.len()) || !classes::all(id, classes::ID) {
        return Err(StreamFault::RequestId);
    }
    if !head.client_addr.as_deref().is_none_or(is_socket_addr) {
        return Err(StreamFault::ClientAddr);
    }
    // A WebSocket handshake is a GET (RFC 6455 section 4.1).
    let upgrades = |protocol: &Bytes| {
        classes::is_token(protocol)
            && (head.method == b"GET"[..] || !protocol.eq_ignore_ascii_case(b"websocket"))
    };
    if !head.protocol.as_ref().is_none_or(upgrades) {
        return Err(StreamFault::Upgrade);
    }
    let optional = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
    let rest = head.method.len() + head.authority.len() + optional(&head.protocol);
    if rest > MAX_HEAD_REST {
        return Err(StreamFault::TooLarge);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_found_out_quickly_is_one() {
        for good in ["1.2.3.4:5", "255.255.255.255:65535", "0.0.0.0:0"] {
            assert!(is_usual_v4(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "1.2.3.4",
            "1.2.3.4:",
            "1.2.3:4",
            "1.2.3.4.5:6",
            "1.2.3.256:1",
            "1.2.3.4:65536",
            "01.2.3.4:5",
            "1..3.4:5",
            "1.2.3.4:5:6",
            "1.2.3.4:5.6",
            "a.2.3.4:5",
            "1:2.3.4:5",
            ":",
            "1.2.3.4:5 ",
            "4294967297.2.3.4:5",
        ] {
            assert!(!is_usual_v4(bad.as_bytes()), "{bad}");
            assert!(bad.parse::<std::net::SocketAddr>().is_err(), "{bad}");
        }
        for other in ["1.2.3.4:05", "[::1]:80"] {
            assert!(!is_usual_v4(other.as_bytes()) && is_socket_addr(other.as_bytes()));
        }
    }
}
