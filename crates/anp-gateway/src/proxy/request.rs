//! A caller's request head as the tunnel carries it.

use std::net::SocketAddr;

use anpx::{FieldsError, RequestHead, fields, limits::MAX_TARGET};
use bytes::Bytes;
use http::{
    HeaderMap, Method, Uri, Version,
    header::{CONNECTION, HOST},
    request::Parts,
};
use uuid::Uuid;

use crate::error::ProxyError;

/// Where the requests of one connection come from, in the forms their heads need.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// `ip:port`.
    addr: Bytes,
    /// The address alone.
    ip: String,
    /// The beginning of `Forwarded`, up to the host (RFC 7239).
    forwarded: String,
    /// The host of a caller that names none (HTTP/1.0).
    local: String,
}

impl Origin {
    /// A connection from `peer` to `local`.
    pub(crate) fn new(peer: SocketAddr, local: SocketAddr) -> Self {
        let ip = peer.ip().to_canonical();
        let node = if ip.is_ipv6() {
            format!("\"[{ip}]\"")
        } else {
            ip.to_string()
        };
        Self {
            addr: SocketAddr::new(ip, peer.port()).to_string().into(),
            ip: ip.to_string(),
            forwarded: format!("for={node};proto=http;host=\""),
            local: local.to_string(),
        }
    }
}

/// The head that goes to the receiver.
///
/// # Errors
/// 400, 405, 414, 431 as [`ProxyError`] says.
pub(crate) fn head(origin: &Origin, parts: &Parts, id: Uuid) -> Result<RequestHead, ProxyError> {
    if parts.method == Method::CONNECT {
        return Err(ProxyError::Connect);
    }
    let authority = authority(origin, parts)?;
    let target = target(&parts.uri, &parts.method)?;
    if target.len() > MAX_TARGET {
        return Err(ProxyError::TargetTooLong);
    }
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    let id = id.hyphenated().encode_lower(&mut text);
    Ok(RequestHead {
        method: method(&parts.method),
        target,
        scheme: Bytes::from_static(b"http"),
        headers: headers(origin, &parts.headers, authority, id)?,
        authority: Bytes::copy_from_slice(authority.as_bytes()),
        request_id: Bytes::copy_from_slice(id.as_bytes()),
        client_addr: Some(origin.addr.clone()),
        protocol: None,
    })
}

fn method(method: &Method) -> Bytes {
    match *method {
        Method::GET => Bytes::from_static(b"GET"),
        Method::POST => Bytes::from_static(b"POST"),
        Method::HEAD => Bytes::from_static(b"HEAD"),
        Method::PUT => Bytes::from_static(b"PUT"),
        Method::DELETE => Bytes::from_static(b"DELETE"),
        Method::OPTIONS => Bytes::from_static(b"OPTIONS"),
        Method::PATCH => Bytes::from_static(b"PATCH"),
        _ => Bytes::copy_from_slice(method.as_str().as_bytes()),
    }
}

/// The one host the request is for (RFC 9112 section 3.2): `Host`, which an absolute-form target
/// must not contradict.
fn authority<'a>(origin: &'a Origin, parts: &'a Parts) -> Result<&'a str, ProxyError> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(
            host.to_str()
                .map_err(|_| ProxyError::BadRequest("the Host header is not a host and port"))?,
        ),
        (None, _) => None,
        (Some(_), Some(_)) => {
            return Err(ProxyError::BadRequest("there is more than one Host header"));
        }
    };
    let named = parts.uri.authority().map(http::uri::Authority::as_str);
    let authority = match (host, named) {
        (Some(host), Some(named)) if !host.eq_ignore_ascii_case(named) => {
            return Err(ProxyError::BadRequest(
                "the Host header and the request target name different hosts",
            ));
        }
        (Some(host), _) => host,
        (None, _) if parts.version >= Version::HTTP_11 => {
            return Err(ProxyError::BadRequest("the Host header is missing"));
        }
        (None, Some(named)) => named,
        (None, None) => &origin.local,
    };
    if is_authority(authority) {
        Ok(authority)
    } else {
        Err(ProxyError::BadRequest(
            "the Host header is not a host and port",
        ))
    }
}

/// True for a name or address and an optional port. Narrower than RFC 3986: no user, no escapes, no
/// commas or quotes that another reader might take for a list or an end.
fn is_authority(authority: &str) -> bool {
    let (host, port) = match authority.rfind([':', ']']) {
        Some(at) if authority.as_bytes()[at] == b':' => (&authority[..at], &authority[at + 1..]),
        _ => (authority, ""),
    };
    let port = port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
    let name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'~');
    let host = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => (1..=255).contains(&host.len()) && host.bytes().all(name),
    };
    host && port
}

/// Origin-form or `*`, byte for byte; of an absolute-form all but scheme and authority.
fn target(uri: &Uri, method: &Method) -> Result<Bytes, ProxyError> {
    let absolute = match uri.scheme_str() {
        None if uri.authority().is_some() => {
            return Err(ProxyError::BadRequest(
                "the request target is neither a path nor a URL",
            ));
        }
        None => false,
        Some("http" | "https") => true,
        Some(_) => {
            return Err(ProxyError::BadRequest(
                "the request target's scheme is not http",
            ));
        }
    };
    let target = uri.path_and_query().map_or("/", |p| p.as_str());
    if absolute && method == Method::OPTIONS && matches!(target, "/" | "") {
        // RFC 9112 section 3.2.4. "http://host/" cannot be told from "http://host" here.
        return Ok(Bytes::from_static(b"*"));
    }
    match target.as_bytes().first() {
        Some(b'/') => Ok(Bytes::copy_from_slice(target.as_bytes())),
        Some(b'*') if target.len() == 1 => Ok(Bytes::from_static(b"*")),
        Some(b'?') if absolute => Ok(format!("/{target}").into()),
        _ => Err(ProxyError::BadRequest(
            "the request target is neither a path nor a URL",
        )),
    }
}

/// The caller's fields without those of its connection and those only we may set, and ours.
fn headers(
    origin: &Origin,
    from: &HeaderMap,
    authority: &str,
    id: &str,
) -> Result<anpx::Fields, ProxyError> {
    let named = Named::new(from);
    let mut to = anpx::Fields::builder(512);
    for (name, value) in from {
        let name = name.as_str().as_bytes();
        if fields::is_forbidden(name) || is_ours(name) || named.holds(name) {
            continue;
        }
        to.push(name, value.as_bytes()).map_err(refused)?;
    }
    let mut forwarded = String::with_capacity(origin.forwarded.len() + authority.len() + 1);
    forwarded.push_str(&origin.forwarded);
    forwarded.push_str(authority);
    forwarded.push('"');
    let ours = [
        ("x-forwarded-for", origin.ip.as_str()),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", authority),
        ("forwarded", &forwarded),
        ("x-request-id", id),
    ];
    for (name, value) in ours {
        to.push(name.as_bytes(), value.as_bytes())
            .map_err(refused)?;
    }
    Ok(to.build())
}

/// The fields of a request's trailer section, without those that have no business there.
///
/// # Errors
/// They exceed a limit.
pub(crate) fn trailers(from: &HeaderMap) -> Result<anpx::Fields, ProxyError> {
    let mut to = anpx::Fields::builder(128);
    for (name, value) in from {
        let name = name.as_str().as_bytes();
        if !fields::is_forbidden(name) && !is_ours(name) {
            to.push(name, value.as_bytes()).map_err(refused)?;
        }
    }
    Ok(to.build())
}

fn refused(error: FieldsError) -> ProxyError {
    match error {
        FieldsError::TooLarge => ProxyError::HeadersTooLarge,
        _ => ProxyError::BadRequest("a header field is not valid"),
    }
}

/// True for names whose value an app believes because only a gateway sets it. An underscore counts
/// as a hyphen: CGI and WSGI apps cannot tell them apart.
fn is_ours(name: &[u8]) -> bool {
    let is = |ours: &[u8]| {
        name.iter()
            .map(|b| if *b == b'_' { b'-' } else { *b })
            .eq(ours.iter().copied())
    };
    match name.first() {
        Some(b'x') => {
            name.get(..12).is_some_and(|p| {
                matches!(
                    p,
                    b"x-forwarded-" | b"x_forwarded_" | b"x-forwarded_" | b"x_forwarded-"
                )
            }) || is(b"x-request-id")
        }
        Some(b'f') => name == b"forwarded",
        Some(b'a') => is(b"anp-caller-did"),
        _ => false,
    }
}

/// The names that `Connection` holds (RFC 9110 section 7.6.1).
struct Named<'a>(Vec<&'a [u8]>);

impl<'a> Named<'a> {
    fn new(headers: &'a HeaderMap) -> Self {
        let mut names = Vec::new();
        for value in headers.get_all(CONNECTION) {
            for name in value.as_bytes().split(|b| *b == b',') {
                let name = name.trim_ascii();
                let usual = [&b"keep-alive"[..], b"close", b"upgrade", b""];
                if !usual.iter().any(|u| name.eq_ignore_ascii_case(u)) {
                    names.push(name);
                }
            }
        }
        Self(names)
    }

    fn holds(&self, name: &[u8]) -> bool {
        self.0.iter().any(|n| n.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn map(request: http::request::Builder) -> Result<RequestHead, ProxyError> {
        let origin = Origin::new(
            "192.0.2.1:999".parse().unwrap(),
            "127.0.0.1:8080".parse().unwrap(),
        );
        let (parts, ()) = request.body(()).unwrap().into_parts();
        head(&origin, &parts, Uuid::nil())
    }

    fn get(uri: &str) -> http::request::Builder {
        Request::get(uri).header("host", "example.com")
    }

    fn status(request: http::request::Builder) -> u16 {
        map(request).unwrap_err().status().as_u16()
    }

    #[test]
    fn the_head_is_what_the_caller_sent_and_one_true_origin() {
        let head = map(get("/a%2Fb/../c?x=%20&y")
            .header("x-forwarded-for", "6.6.6.6")
            .header("x_forwarded_host", "evil")
            .header("forwarded", "for=6.6.6.6")
            .header("anp_caller_did", "did:wba:evil")
            .header("cookie", "a=1")
            .header("connection", "Keep-Alive, X-Hop")
            .header("x-hop", "1")
            .header("te", "trailers")
            .header("cookie", "b=2")
            .header("expect", "100-continue"))
        .unwrap();
        assert_eq!(&head.target[..], b"/a%2Fb/../c?x=%20&y");
        assert_eq!(&head.authority[..], b"example.com");
        assert_eq!(head.client_addr.as_deref(), Some(&b"192.0.2.1:999"[..]));
        let fields: Vec<_> = head
            .headers
            .iter()
            .map(|(n, v)| {
                (
                    std::str::from_utf8(n).unwrap(),
                    std::str::from_utf8(v).unwrap(),
                )
            })
            .collect();
        assert_eq!(
            fields,
            [
                ("cookie", "a=1"),
                ("cookie", "b=2"),
                ("expect", "100-continue"),
                ("x-forwarded-for", "192.0.2.1"),
                ("x-forwarded-proto", "http"),
                ("x-forwarded-host", "example.com"),
                ("forwarded", "for=192.0.2.1;proto=http;host=\"example.com\""),
                ("x-request-id", "00000000-0000-0000-0000-000000000000"),
            ]
        );
    }

    #[test]
    fn targets() {
        for (uri, target) in [
            ("/", "/"),
            ("*", "*"),
            ("//x//", "//x//"),
            ("http://example.com", "/"),
            ("http://EXAMPLE.com/x?y", "/x?y"),
            ("http://example.com?y", "/?y"),
        ] {
            let head = map(get(uri)).unwrap();
            assert_eq!(&head.target[..], target.as_bytes(), "{uri}");
        }
        let options = Request::options("http://example.com").header("host", "example.com");
        assert_eq!(&map(options).unwrap().target[..], b"*");
        for uri in ["example.com:80", "ftp://example.com/", "http://other/"] {
            assert_eq!(status(get(uri)), 400, "{uri}");
        }
        assert_eq!(status(get(&format!("/{}", "x".repeat(MAX_TARGET)))), 414);
        assert_eq!(status(Request::connect("example.com:443")), 405);
    }

    #[test]
    fn hosts() {
        for host in ["a.b:80", "[::1]:8080", "[::1]", "a_b", "a.:", "10.0.0.1"] {
            let head = map(Request::get("/").header("host", host)).unwrap();
            assert_eq!(&head.authority[..], host.as_bytes());
        }
        for host in [
            "", "a b", "u@h", "a/b", "a,b", ":80", "a:x", "[::1", "::1", "a\"", "a:123456",
        ] {
            assert_eq!(
                status(Request::get("/").header("host", host)),
                400,
                "{host}"
            );
        }
        assert_eq!(status(Request::get("/")), 400);
        assert_eq!(status(get("/").header("host", "example.com")), 400);
        let old = map(Request::get("/").version(Version::HTTP_10)).unwrap();
        assert_eq!(&old.authority[..], b"127.0.0.1:8080");
    }

    #[test]
    fn limits() {
        let many = (0..257).fold(get("/"), |r, i| r.header(format!("x-{i}"), ""));
        assert_eq!(status(many), 431);
        assert_eq!(status(get("/").header("x", "y".repeat(70_000))), 431);
    }
}
