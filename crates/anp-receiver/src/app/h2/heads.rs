//! What heads become between ANPX and HTTP/2 (RFC 9113 section 8, RFC 8441).

use anp_http1::fields::parse_length;
use anp_tunnel::handshake::accept_key;
use anpx::{Fields, RequestHead, ResponseHead, fields::is_forbidden, limits::MAX_FIELDS_BYTES};
use bytes::BytesMut;
use h2::ext::Protocol;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri,
    uri::{Authority, PathAndQuery, Scheme},
};

use crate::app::error::AppError;

/// Most bytes of a head or of trailers as the app sends them, with the 32 that HTTP/2 counts for
/// each field (RFC 9113 section 6.5.2).
pub(super) const MAX_HEAD_LIST: u32 = MAX_FIELDS_BYTES as u32 + (16 << 10);

/// The request as HTTP/2 has it. `prefix` goes before the target.
///
/// # Errors
/// [`AppError::BadRequest`].
pub(super) fn request(head: &RequestHead, prefix: &[u8]) -> Result<Request<()>, AppError> {
    let mut request = Request::new(());
    *request.method_mut() = match head.protocol {
        Some(_) => Method::CONNECT,
        None => Method::from_bytes(&head.method)
            .ok()
            .filter(|method| method != Method::CONNECT)
            .ok_or(AppError::BadRequest("bad method"))?,
    };
    *request.uri_mut() = uri(head, prefix)?;
    let mut fields = header_map(&head.headers)?;
    if head.protocol.is_some() {
        fields.remove("sec-websocket-key");
        request
            .extensions_mut()
            .insert(Protocol::from_static("websocket"));
    } else {
        // gRPC asks for it, and it names nothing that this side could not pass on.
        fields.insert("te", HeaderValue::from_static("trailers"));
    }
    *request.headers_mut() = fields;
    Ok(request)
}

fn uri(head: &RequestHead, prefix: &[u8]) -> Result<Uri, AppError> {
    let mut target = BytesMut::with_capacity(prefix.len() + head.target.len());
    if head.target.starts_with(b"/") {
        target.extend_from_slice(prefix);
    }
    target.extend_from_slice(&head.target);
    let target = target.freeze();
    let path = PathAndQuery::from_maybe_shared(target.clone()).ok();
    // The parser cuts what it takes for a fragment.
    let path = path.filter(|path| path.as_str().as_bytes() == target);
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = Some(path.ok_or(AppError::BadRequest("bad target"))?);
    // Without an authority there is no place for a scheme either, and h2 writes `http`.
    if !head.authority.is_empty() {
        let authority = Authority::from_maybe_shared(head.authority.clone());
        parts.authority = Some(authority.map_err(|_| AppError::BadRequest("bad authority"))?);
        parts.scheme = Some(match &head.scheme[..] {
            b"https" => Scheme::HTTPS,
            _ => Scheme::HTTP,
        });
    }
    Uri::from_parts(parts).map_err(|_| AppError::BadRequest("bad target"))
}

/// Fields toward the app. Those of one name come to stand together.
pub(crate) fn header_map(fields: &Fields) -> Result<HeaderMap, AppError> {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name);
        let name = name.map_err(|_| AppError::BadRequest("bad field name"))?;
        let value = HeaderValue::from_bytes(value);
        let value = value.map_err(|_| AppError::BadRequest("bad field value"))?;
        if name == "content-length" {
            match (map.get(&name), parse_length(value.as_bytes())) {
                (_, None) => return Err(AppError::BadRequest("bad content-length")),
                (None, Some(_)) => {}
                (Some(first), _) if first == value => continue,
                (Some(_), _) => return Err(AppError::BadRequest("two content-lengths")),
            }
        }
        map.append(name, value);
    }
    Ok(map)
}

/// Fields from the app, without those that never cross a tunnel.
pub(super) fn fields(map: &HeaderMap, keep_length: bool) -> Result<Fields, AppError> {
    let mut builder = Fields::builder(256);
    for (name, value) in map {
        let name = name.as_str().as_bytes();
        if is_forbidden(name) || (name == b"content-length" && !keep_length) {
            continue;
        }
        builder
            .push(name, value.as_bytes().trim_ascii())
            .map_err(AppError::from_field)?;
    }
    Ok(builder.build())
}

/// The response head as the wire has it.
///
/// # Errors
/// [`AppError::Malformed`], [`AppError::TooLarge`].
pub(super) fn response(status: StatusCode, map: &HeaderMap) -> Result<ResponseHead, AppError> {
    let status = status.as_u16();
    if !(100..=599).contains(&status) || status == 101 {
        return Err(AppError::Malformed("a status that HTTP/2 does not have"));
    }
    let keep_length = status >= 200 && status != 204;
    let headers = fields(map, keep_length)?;
    Ok(ResponseHead { status, headers })
}

/// The 101 that stands for an app's 200 to the WebSocket handshake of `request` (ANPX 3.7).
///
/// # Errors
/// As [`response`].
pub(super) fn switching(request: &RequestHead, map: &HeaderMap) -> Result<ResponseHead, AppError> {
    let key = request.headers.get("sec-websocket-key");
    let key = key.ok_or(AppError::BadRequest("a WebSocket handshake without a key"))?;
    let mut builder = Fields::builder(256);
    let accept = accept_key(key);
    builder
        .push(b"sec-websocket-accept", accept.as_bytes())
        .map_err(AppError::from_field)?;
    for (name, value) in &fields(map, false)? {
        if name != b"sec-websocket-accept" {
            builder.push(name, value).map_err(AppError::from_field)?;
        }
    }
    Ok(ResponseHead {
        status: 101,
        headers: builder.build(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn head(method: &'static str, target: &'static str, fields: &[(&str, &str)]) -> RequestHead {
        RequestHead {
            method: Bytes::from_static(method.as_bytes()),
            target: Bytes::from_static(target.as_bytes()),
            scheme: Bytes::from_static(b"https"),
            authority: Bytes::from_static(b"app.example:81"),
            headers: Fields::from_pairs(fields.iter().copied()).unwrap(),
            request_id: Bytes::from_static(b"id"),
            client_addr: None,
            protocol: None,
        }
    }

    #[test]
    fn a_request_keeps_its_target_and_asks_for_trailers() {
        let fields = [("x-b", "1"), ("x-a", "2"), ("x-b", "3")];
        let request = request(&head("POST", "/a%2Fb?x=%zz&[", &fields), b"/v1").unwrap();
        let uri = request.uri();
        assert_eq!(uri.scheme_str(), Some("https"));
        assert_eq!(uri.authority().unwrap().as_str(), "app.example:81");
        assert_eq!(uri.path_and_query().unwrap(), "/v1/a%2Fb?x=%zz&[");
        let both: Vec<_> = request.headers().get_all("x-b").iter().collect();
        assert_eq!(both, ["1", "3"]);
        assert_eq!(request.headers()["te"], "trailers");
    }

    #[test]
    fn the_asterisk_and_a_missing_host_have_a_form() {
        let asterisk = request(&head("OPTIONS", "*", &[]), b"/v1").unwrap();
        assert_eq!(asterisk.uri().path_and_query().unwrap(), "*");
        let old = RequestHead {
            authority: Bytes::new(),
            ..head("GET", "/a", &[])
        };
        assert_eq!(request(&old, b"").unwrap().uri(), "/a");
    }

    #[test]
    fn what_would_change_the_message_is_refused() {
        for head in [
            head("GE T", "/", &[]),
            head("CONNECT", "/", &[]),
            head("GET", "/a#b", &[]),
            head("GET", "/a b", &[]),
            head("POST", "/", &[("content-length", "+1")]),
            head(
                "POST",
                "/",
                &[("content-length", "1"), ("content-length", "2")],
            ),
        ] {
            let result = request(&head, b"");
            assert!(matches!(result, Err(AppError::BadRequest(_))), "{result:?}");
        }
        let twice = [("content-length", "1"), ("content-length", "1")];
        let request = request(&head("POST", "/", &twice), b"").unwrap();
        assert_eq!(
            request.headers().get_all("content-length").iter().count(),
            1
        );
    }

    #[test]
    fn a_websocket_handshake_is_a_connect_without_its_key() {
        // The pair of RFC 6455 section 1.3.
        let fields = [("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")];
        let head = RequestHead {
            protocol: Some(Bytes::from_static(b"websocket")),
            ..head("GET", "/chat", &fields)
        };
        let request = request(&head, b"").unwrap();
        assert_eq!(request.method(), Method::CONNECT);
        assert!(request.headers().is_empty());
        assert!(request.extensions().get::<Protocol>().is_some());
        let mut map = HeaderMap::new();
        map.append("sec-websocket-protocol", HeaderValue::from_static("chat"));
        map.append("sec-websocket-accept", HeaderValue::from_static("made up"));
        let head = switching(&head, &map).unwrap();
        let fields: Vec<_> = head.headers.iter().collect();
        assert_eq!(head.status, 101);
        assert_eq!(
            fields,
            [
                (
                    &b"sec-websocket-accept"[..],
                    &b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="[..]
                ),
                (b"sec-websocket-protocol", b"chat"),
            ]
        );
    }

    #[test]
    fn responses_lose_what_never_crosses_a_tunnel() {
        let mut map = HeaderMap::new();
        map.append("set-cookie", HeaderValue::from_static("a=1"));
        map.append("trailer", HeaderValue::from_static("grpc-status"));
        map.append("set-cookie", HeaderValue::from_static("b=2"));
        map.append("content-length", HeaderValue::from_static("3"));
        let names = |status| {
            let head = response(StatusCode::from_u16(status).unwrap(), &map).unwrap();
            let names = head.headers.iter();
            names.map(|(n, _)| n.to_vec()).collect::<Vec<_>>()
        };
        let cookies: [&[u8]; 2] = [b"set-cookie", b"set-cookie"];
        assert_eq!(names(200), [cookies[0], cookies[1], b"content-length"]);
        assert_eq!(names(204), cookies);
        for status in [101, 600] {
            assert!(response(StatusCode::from_u16(status).unwrap(), &map).is_err());
        }
    }
}
