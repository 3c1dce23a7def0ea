//! The gateway's own health on the public listener, for what leads callers here.

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE},
};

use crate::{
    config::Config, listener::Listener, proxy::request::path_of, stop::Step, worker::Caller,
};

/// The answer to a request for the health path, on whatever host; `None` for any other. It says
/// what `/readyz` of the admin listener says.
pub(crate) fn answer(
    caller: &Caller,
    config: &Config,
    method: &[u8],
    target: &str,
) -> Option<Response<Bytes>> {
    let path = config.health_path.as_deref()?;
    if caller.listener != Listener::Public || path_of(target) != path {
        return None;
    }
    let stopping = caller.worker.shared.stop.is(Step::Leaving);
    let (status, text) = match method {
        b"GET" | b"HEAD" if stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        b"GET" | b"HEAD" => (StatusCode::OK, "ready\n"),
        _ => (
            StatusCode::METHOD_NOT_ALLOWED,
            "this path takes GET and HEAD\n",
        ),
    };
    let mut response = Response::new(Bytes::from_static(text.as_bytes()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(CONTENT_TYPE, plain);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    Some(response)
}
