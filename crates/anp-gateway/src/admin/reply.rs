//! What the admin listener answers with: text, JSON, and problems (RFC 9457).

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, LOCATION, WWW_AUTHENTICATE},
};
use http_body_util::Full;
use serde::Serialize;
use serde_json::json;

/// A whole answer.
pub(super) type Reply = Response<Full<Bytes>>;

/// A question that is not answered as asked.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem whose `detail` says what to do.
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            header: None,
        }
    }

    /// A method that a path does not have.
    pub(super) fn method(allowed: &str) -> Self {
        Self {
            header: HeaderValue::try_from(allowed).ok().map(|v| (ALLOW, v)),
            ..Self::new(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("this path takes {allowed}"),
            )
        }
    }

    /// A question without the token.
    pub(super) fn unauthorized(detail: &str) -> Self {
        let bearer = HeaderValue::from_static("Bearer");
        Self {
            header: Some((WWW_AUTHENTICATE, bearer)),
            ..Self::new(StatusCode::UNAUTHORIZED, detail)
        }
    }

    /// The answer.
    pub(super) fn into_reply(self) -> Reply {
        let status = self.status;
        let body = json!({
            "title": status.canonical_reason().unwrap_or("Error"),
            "status": status.as_u16(),
            "detail": self.detail,
        });
        let mut reply = with_type(status, "application/problem+json", format!("{body}\n"));
        if let Some((name, value)) = self.header {
            reply.headers_mut().insert(name, value);
        }
        reply
    }
}

/// A value as JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Reply {
    match serde_json::to_vec_pretty(value) {
        Ok(mut body) => {
            body.push(b'\n');
            with_type(status, "application/json", body)
        }
        Err(error) => {
            let failed = StatusCode::INTERNAL_SERVER_ERROR;
            Problem::new(failed, format!("the answer failed: {error}")).into_reply()
        }
    }
}

/// A line of text.
pub(super) fn text(status: StatusCode, body: &'static str) -> Reply {
    with_type(status, "text/plain; charset=utf-8", body)
}

/// Nothing.
pub(super) fn nothing() -> Reply {
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    reply
}

/// A body of this type.
pub(super) fn with_type(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// Says by what the settings that are shown are known again.
pub(super) fn tagged(mut reply: Reply, tag: &str) -> Reply {
    if let Ok(tag) = HeaderValue::try_from(tag) {
        reply.headers_mut().insert(ETAG, tag);
    }
    reply
}

/// Says where what was made can be found.
pub(super) fn at(mut reply: Reply, location: &str) -> Reply {
    if let Ok(location) = HeaderValue::try_from(location) {
        reply.headers_mut().insert(LOCATION, location);
    }
    reply
}
