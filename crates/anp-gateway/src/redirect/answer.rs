//! Where a request is sent on to.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::LOCATION};

use super::HTTPS;
use crate::{
    config::Config,
    conn::http1::Head,
    error::ProxyError,
    proxy::request::{self, Asked},
    route::path::host_of,
    worker::Caller,
};

/// The answer to a request: the same place with https.
///
/// # Errors
/// As on the public listener; and 400 for what has no URL, which is `OPTIONS *` and what names no host.
pub(crate) fn answer(
    caller: &Caller,
    config: &Config,
    head: &Head<'_>,
) -> Result<Response<Bytes>, ProxyError> {
    let asked = Asked {
        method: head.method.as_bytes(),
        target: head.target.as_bytes(),
        authority: None,
        // Our address would stand for it, which strangers need not know.
        may_lack_host: false,
        protocol: None,
    };
    let fields = head.fields.iter().map(|f| (f.name.as_bytes(), f.value));
    let (authority, target) = request::target_uri(&caller.origin, asked, fields)?;
    let redirects = &caller.worker.shared.redirects;
    let mut response = Response::new(Bytes::new());
    // 308 keeps the method and the body: of a POST that is answered with 301 clients make a GET
    // (RFC 9110 section 15.4).
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    let location = location(authority, redirects.port(config), &target)?;
    response.headers_mut().insert(LOCATION, location);
    redirects.sent_on.fetch_add(1, Relaxed);
    Ok(response)
}

/// `target` with https at the host of `authority`.
fn location(authority: &str, port: u16, target: &[u8]) -> Result<HeaderValue, ProxyError> {
    let host = host_of(authority);
    if host.is_empty() {
        // It was a dot. A browser would take the first segment of the path for the host.
        return Err(ProxyError::BadRequest("the Host header names no host"));
    }
    if target == b"*" {
        return Err(ProxyError::BadRequest("the request target is no path"));
    }
    let mut url = format!("https://{host}");
    if port != HTTPS {
        url.push_str(&format!(":{port}"));
    }
    let url = [url.as_bytes(), target].concat();
    // Both hold visible ASCII alone.
    HeaderValue::from_maybe_shared(Bytes::from(url))
        .map_err(|_| ProxyError::BadRequest("the request target is not valid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_the_same_place_with_https() {
        for (authority, port, target, expected) in [
            ("gate.example", 443, "/", "https://gate.example/"),
            (
                "gate.example:80",
                443,
                "/a?b=c",
                "https://gate.example/a?b=c",
            ),
            ("gate.example:8080", 8443, "/", "https://gate.example:8443/"),
            ("Gate.Example.", 443, "/A%2f", "https://gate.example/A%2f"),
            ("gate.example:", 443, "/", "https://gate.example/"),
            ("192.0.2.1:80", 443, "/", "https://192.0.2.1/"),
            ("[2001:db8::1]:80", 443, "/", "https://[2001:db8::1]/"),
            ("[::1]", 8443, "/", "https://[::1]:8443/"),
            ("a", 443, "//b.example/", "https://a//b.example/"),
        ] {
            let location = location(authority, port, target.as_bytes()).unwrap();
            assert_eq!(location, expected);
        }
    }

    #[test]
    fn what_has_no_url_has_no_location() {
        for (authority, target) in [(".", "/b.example/"), (".:80", "/"), ("a", "*")] {
            let error = location(authority, HTTPS, target.as_bytes()).unwrap_err();
            assert_eq!(error.status(), StatusCode::BAD_REQUEST);
        }
    }
}
