//! What heads become between ANPX and the types of the `http` crate.

use anpx::{Fields, RequestHead, ResponseHead, fields::is_forbidden};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header, response::Parts};

use super::{body::Body, caller::Caller};
use crate::app::{error::AppError, h2::header_map};

/// The request as a service of an HTTP/1.1 server would see it: origin-form or `*` as its URI, and
/// `Host`.
///
/// # Errors
/// [`AppError::BadRequest`]: the `http` crate cannot express it.
pub(super) fn request(head: &RequestHead, body: Body) -> Result<Request<Body>, AppError> {
    let mut request = Request::new(body);
    *request.method_mut() =
        Method::from_bytes(&head.method).map_err(|_| AppError::BadRequest("bad method"))?;
    let uri = Uri::from_maybe_shared(head.target.clone()).ok();
    // The parser cuts what it takes for a fragment.
    let whole = |uri: &Uri| {
        uri.authority().is_none()
            && uri
                .path_and_query()
                .is_some_and(|path| path.as_str().as_bytes() == head.target)
    };
    *request.uri_mut() = uri
        .filter(whole)
        .ok_or(AppError::BadRequest("bad target"))?;
    let mut fields = header_map(&head.headers)?;
    if !head.authority.is_empty() {
        let host = HeaderValue::from_maybe_shared(head.authority.clone());
        let host = host.map_err(|_| AppError::BadRequest("bad authority"))?;
        fields.insert(header::HOST, host);
    }
    *request.headers_mut() = fields;
    request.extensions_mut().insert(Caller::of(head));
    Ok(request)
}

/// What the response's head says of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carries {
    /// There is none, whatever the service made.
    Nothing,
    /// The service's.
    Body,
}

/// The response's head as the wire has it. `exact` is the length of the body, where that is known;
/// it is told unless the service did.
///
/// # Errors
/// [`AppError::Malformed`], [`AppError::TooLarge`].
pub(super) fn response(
    parts: &Parts,
    is_head: bool,
    exact: Option<u64>,
) -> Result<(ResponseHead, Carries), AppError> {
    let status = parts.status.as_u16();
    if !(200..=599).contains(&status) {
        return Err(AppError::Malformed("a status that is not final"));
    }
    let bodyless = matches!(status, 204 | 304);
    let length = match exact {
        // Of a response without its body, 0 may only mean that nobody made one.
        Some(0) if is_head => None,
        length if !bodyless => length,
        _ => None,
    };
    let headers = fields(&parts.headers, status != 204, length)?;
    let carries = match is_head || bodyless {
        true => Carries::Nothing,
        false => Carries::Body,
    };
    Ok((ResponseHead { status, headers }, carries))
}

/// Trailers as the wire has them.
///
/// # Errors
/// As [`response`].
pub(super) fn trailers(map: &HeaderMap) -> Result<Fields, AppError> {
    fields(map, false, None)
}

/// Fields from the service, without those that never cross a tunnel (RFC 9110 section 7.6.1).
fn fields(map: &HeaderMap, keep_length: bool, length: Option<u64>) -> Result<Fields, AppError> {
    let mut builder = Fields::builder(256);
    for (name, value) in map {
        let dropped = is_forbidden(name.as_str().as_bytes())
            || name == header::CONTENT_LENGTH && !keep_length
            || is_named_by_connection(map, name.as_str());
        if !dropped {
            builder
                .push(name.as_str().as_bytes(), value.as_bytes().trim_ascii())
                .map_err(AppError::from_field)?;
        }
    }
    if let Some(length) = length
        && !map.contains_key(header::CONTENT_LENGTH)
    {
        builder
            .push(b"content-length", length.to_string().as_bytes())
            .map_err(AppError::from_field)?;
    }
    Ok(builder.build())
}

fn is_named_by_connection(map: &HeaderMap, name: &str) -> bool {
    map.get_all(header::CONNECTION).iter().any(|value| {
        let mut names = value.as_bytes().split(|b| *b == b',');
        names.any(|named| named.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::Response;

    fn head(method: &'static str, target: &'static str) -> RequestHead {
        RequestHead {
            method: Bytes::from_static(method.as_bytes()),
            target: Bytes::from_static(target.as_bytes()),
            scheme: Bytes::from_static(b"https"),
            authority: Bytes::from_static(b"app.example:81"),
            headers: Fields::from_pairs([("x-b", "1"), ("x-a", "2"), ("x-b", "3")]).unwrap(),
            request_id: Bytes::from_static(b"id"),
            client_addr: Some(Bytes::from_static(b"[2001:db8::1]:5000")),
            protocol: None,
        }
    }

    #[test]
    fn a_request_keeps_its_target_and_says_who_sent_it() {
        for target in ["/a%2Fb?x=%zz&y", "/", "//two?", "*"] {
            let request = request(&head("PROPFIND", target), Body::empty()).unwrap();
            assert_eq!(request.uri(), target);
            assert_eq!(request.method(), "PROPFIND");
            assert_eq!(request.headers()["host"], "app.example:81");
            let both: Vec<_> = request.headers().get_all("x-b").iter().collect();
            assert_eq!(both, ["1", "3"]);
            let caller: &Caller = request.extensions().get().unwrap();
            assert_eq!((caller.scheme(), caller.request_id()), ("https", "id"));
            let address = caller.address().unwrap().to_string();
            assert_eq!(address, "[2001:db8::1]:5000");
        }
    }

    #[test]
    fn what_the_types_cannot_hold_is_a_bad_request() {
        for target in ["/a#b", "/a b", "http://elsewhere.example/"] {
            let result = request(&head("GET", target), Body::empty());
            assert!(
                matches!(result, Err(AppError::BadRequest("bad target"))),
                "{target}"
            );
        }
    }

    fn told(status: u16, fields: &[(&str, &str)], is_head: bool, exact: Option<u64>) -> String {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        let (parts, ()) = response.body(()).unwrap().into_parts();
        let (head, carries) = super::response(&parts, is_head, exact).unwrap();
        let fields: Vec<String> = head
            .headers
            .iter()
            .map(|(n, v)| format!("{}: {}", n.escape_ascii(), v.escape_ascii()))
            .collect();
        format!("{} {carries:?} [{}]", head.status, fields.join(", "))
    }

    #[test]
    fn a_response_tells_its_length_and_nothing_of_the_hop() {
        for (told, expected) in [
            (
                told(200, &[], false, Some(5)),
                "200 Body [content-length: 5]",
            ),
            (
                told(200, &[], false, Some(0)),
                "200 Body [content-length: 0]",
            ),
            (told(200, &[], false, None), "200 Body []"),
            (
                told(200, &[], true, Some(5)),
                "200 Nothing [content-length: 5]",
            ),
            (told(200, &[], true, Some(0)), "200 Nothing []"),
            (
                told(200, &[("content-length", "9")], true, Some(0)),
                "200 Nothing [content-length: 9]",
            ),
            (
                told(204, &[("content-length", "0")], false, Some(0)),
                "204 Nothing []",
            ),
            (
                told(304, &[("content-length", "9")], false, Some(0)),
                "304 Nothing [content-length: 9]",
            ),
            (
                told(
                    200,
                    &[
                        ("connection", "close, X-Hop"),
                        ("x-hop", "1"),
                        ("transfer-encoding", "chunked"),
                        ("x-end", "2"),
                    ],
                    false,
                    None,
                ),
                "200 Body [x-end: 2]",
            ),
        ] {
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn a_status_that_is_not_final_is_no_response() {
        for status in [100, 101, 199, 600, 999] {
            let (parts, ()) = Response::builder()
                .status(status)
                .body(())
                .unwrap()
                .into_parts();
            assert!(matches!(
                super::response(&parts, false, None),
                Err(AppError::Malformed(_))
            ));
        }
    }
}
