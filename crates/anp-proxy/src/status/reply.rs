//! What the status listener answers with.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};

/// A whole answer.
pub(super) type Reply = Response<Full<Bytes>>;

/// Lines of text.
pub(super) fn text(status: StatusCode, body: String) -> Reply {
    with_type(status, "text/plain; charset=utf-8", body)
}

/// To a method that changes something.
pub(super) fn not_allowed() -> Reply {
    let text = "this path takes GET and HEAD\n".to_owned();
    let mut reply = self::text(StatusCode::METHOD_NOT_ALLOWED, text);
    let methods = HeaderValue::from_static("GET, HEAD");
    reply.headers_mut().insert(ALLOW, methods);
    reply
}

/// A body of this type.
pub(super) fn with_type(status: StatusCode, content_type: &'static str, body: String) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}
