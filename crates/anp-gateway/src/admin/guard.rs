//! Who may ask the admin listener.
//!
//! With a token, whoever shows it. Without one the listener is on loopback, where not only this
//! machine's users ask: a web page in a browser here can send requests, and by a name of its own that
//! points to loopback (DNS rebinding) read the answers. So without a token the host must be one that
//! no page has, and with or without, what changes something may come from no page at all.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::{
    Method, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN},
};

use super::reply::Problem;
use crate::{config::Config, settings::Settings};

/// Refuses who may not ask.
///
/// # Errors
/// The answer to give instead.
pub(super) fn check_caller<B>(request: &Request<B>, settings: &Settings) -> Result<(), Problem> {
    match &settings.admin_token {
        Some(token) => match shown(request) {
            Some(shown) if token.is(shown) => Ok(()),
            Some(_) => Err(Problem::unauthorized("this is not the token")),
            None => Err(Problem::unauthorized(
                "show the token of this gateway (gateway.admin_token) as Authorization: Bearer",
            )),
        },
        None => check_host(request, &settings.config),
    }
}

/// The token that is shown.
fn shown<B>(request: &Request<B>) -> Option<&[u8]> {
    let value = request.headers().get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii())
}

fn check_host<B>(request: &Request<B>, config: &Config) -> Result<(), Problem> {
    let authority = request.uri().authority().map(|a| a.as_str());
    let mut hosts = request.headers().get_all(HOST).iter();
    let header = hosts.next().and_then(|value| value.to_str().ok());
    let one = hosts.next().is_none();
    let host = authority.or(header).filter(|_| one).map(without_port);
    match host {
        Some(host) if is_harmless(host, config) => Ok(()),
        Some(host) => Err(Problem::new(
            StatusCode::FORBIDDEN,
            format!(
                "without a token this gateway is called by IP address or as localhost; add {host:?} \
                 to gateway.admin_hosts if that is meant"
            ),
        )),
        None => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "one Host header is needed",
        )),
    }
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// True for a host that no web page has by which it could be read here.
fn is_harmless(host: &str, config: &Config) -> bool {
    let v6 = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    host.parse::<Ipv4Addr>().is_ok()
        || v6.is_some_and(|v6| v6.parse::<Ipv6Addr>().is_ok())
        || host.eq_ignore_ascii_case("localhost")
        || config
            .admin_hosts
            .iter()
            .any(|h| host.eq_ignore_ascii_case(h))
}

/// Refuses changes that a page in a browser can ask for. What is neither GET, HEAD nor POST of a
/// form's types it can send only after a preflight, which nobody here answers; an old browser, or
/// one that was told otherwise, still says where the page is from.
///
/// # Errors
/// The answer to give instead.
pub(super) fn check_change<B>(request: &Request<B>) -> Result<(), Problem> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(());
    }
    let headers = request.headers();
    if headers.contains_key(ORIGIN) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "web pages may change nothing here: the request has an Origin",
        ));
    }
    let content_type = headers.get(CONTENT_TYPE).map(|v| v.as_bytes());
    let essence = content_type.and_then(|v| v.split(|b| *b == b';').next());
    let is_json = essence.is_some_and(|e| e.trim_ascii().eq_ignore_ascii_case(b"application/json"));
    // What is removed has no body; and no page can ask for it without a preflight.
    let bare = *request.method() == Method::DELETE && content_type.is_none();
    match is_json || bare {
        true => Ok(()),
        false => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "what changes something needs Content-Type: application/json",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    const TOKEN: &str = "0123456789abcdef";

    fn settings(token: Option<&str>) -> Settings {
        Settings::new(Config {
            admin_token: token.map(Secret::new),
            admin_hosts: vec!["gate.lan".to_owned()],
            ..Config::default()
        })
        .unwrap()
    }

    fn status(token: Option<&str>, method: Method, uri: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        let checked = check_caller(&request, &settings(token));
        match checked.and_then(|()| check_change(&request)) {
            Ok(()) => 200,
            Err(problem) => problem.into_reply().status().as_u16(),
        }
    }

    #[test]
    fn without_a_token_only_hosts_that_no_page_has() {
        for (host, expected) in [
            ("127.0.0.1:9000", 200),
            ("127.0.0.1", 200),
            ("[::1]:9000", 200),
            ("localhost:9000", 200),
            ("LOCALHOST", 200),
            ("gate.lan:9000", 200),
            ("evil.example:9000", 403),
            ("127.0.0.1.evil.example", 403),
            ("localhost.evil.example", 403),
            ("evil.example:127.0.0.1", 403),
            ("2130706433", 403),
            ("", 403),
        ] {
            assert_eq!(
                status(None, Method::GET, "/stats", &[("host", host)]),
                expected,
                "{host}"
            );
        }
        assert_eq!(status(None, Method::GET, "/stats", &[]), 400);
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(status(None, Method::GET, "/stats", &two), 400);
        // An absolute target is the host that counts.
        let here = [("host", "localhost")];
        assert_eq!(
            status(None, Method::GET, "http://evil.example/stats", &here),
            403
        );
    }

    #[test]
    fn the_token_is_asked_for_whatever_the_host() {
        let ask = |value: &str| {
            let headers = [("host", "any.example"), ("authorization", value)];
            status(Some(TOKEN), Method::GET, "/stats", &headers)
        };
        assert_eq!(ask("Bearer 0123456789abcdef"), 200);
        assert_eq!(ask("bearer  0123456789abcdef"), 200);
        for wrong in [
            "Bearer 0123456789abcdeg",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdef0",
            "Bearer ",
            "Basic 0123456789abcdef",
            "0123456789abcdef",
        ] {
            assert_eq!(ask(wrong), 401, "{wrong}");
        }
        assert_eq!(
            status(Some(TOKEN), Method::GET, "/stats", &[("host", "localhost")]),
            401
        );
    }

    #[test]
    fn pages_change_nothing() {
        let host = ("host", "localhost");
        let json = ("content-type", "application/json");
        let ask = |method: Method, headers: &[(&str, &str)]| {
            status(None, method, "/reload", &[&[host], headers].concat())
        };
        assert_eq!(ask(Method::POST, &[json]), 200);
        assert_eq!(
            ask(
                Method::POST,
                &[("content-type", "Application/JSON; charset=utf-8")]
            ),
            200
        );
        assert_eq!(ask(Method::DELETE, &[]), 200);
        for form in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonp",
            "",
        ] {
            assert_eq!(ask(Method::POST, &[("content-type", form)]), 415, "{form}");
            assert_eq!(
                ask(Method::DELETE, &[("content-type", form)]),
                415,
                "{form}"
            );
        }
        assert_eq!(ask(Method::POST, &[]), 415);
        assert_eq!(ask(Method::PUT, &[]), 415);
        for origin in ["http://evil.example", "null", "http://localhost"] {
            for method in [Method::POST, Method::PUT, Method::DELETE] {
                assert_eq!(ask(method, &[json, ("origin", origin)]), 403, "{origin}");
            }
        }
    }
}
