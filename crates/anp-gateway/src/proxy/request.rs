//! A caller's request head as the tunnel carries it.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
};

use anp_http1::fields::{Named, lower_case};
use anpx::{FieldName, FieldsError, RequestHead, fields, limits::MAX_TARGET};
use bytes::Bytes;
use uuid::Uuid;

use super::{authority::check_authority, origin::Origin};
use crate::error::ProxyError;

/// What a caller asks for, in the words of the HTTP it speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// A method token.
    pub(crate) method: &'a [u8],
    /// The target as it stands in the request line, or `:path`.
    pub(crate) target: &'a [u8],
    /// `:authority`, which HTTP/1 has not.
    pub(crate) authority: Option<&'a [u8]>,
    /// HTTP/1.0: nothing need say which host is meant.
    pub(crate) may_lack_host: bool,
    /// What the connection shall become.
    pub(crate) protocol: Option<&'a [u8]>,
}

/// The head that goes to the receiver. `fields` are all that came, names in any case.
///
/// # Errors
/// 400, 405, 414, 431 as [`ProxyError`] says.
pub(crate) fn head<'a>(
    origin: &Origin,
    asked: Asked<'a>,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    id: Uuid,
) -> Result<RequestHead, ProxyError> {
    let (authority, path) = asked_for(origin, asked, fields.clone())?;
    let addressed = origin.addressed(authority, fields.clone())?;
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    let id = id.hyphenated().encode_lower(&mut text);
    Ok(RequestHead {
        method: method(asked.method),
        target: match path {
            Cow::Borrowed(path) => Bytes::copy_from_slice(path),
            Cow::Owned(path) => path.into(),
        },
        scheme: Bytes::from_static(addressed.scheme.as_bytes()),
        headers: headers(&addressed.fields, fields, id)?,
        authority: addressed.authority.clone(),
        request_id: Bytes::copy_from_slice(id.as_bytes()),
        client_addr: Some(addressed.client.clone()),
        protocol: asked.protocol.map(Bytes::copy_from_slice),
    })
}

/// The URI that a request is for (RFC 9110 section 7.1): its host and port, and the target there, which
/// is `*` where the whole host is meant.
///
/// # Errors
/// As [`head`].
pub(crate) fn target_uri<'o, 'a: 'o>(
    origin: &'o Origin,
    asked: Asked<'a>,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<(&'o str, Cow<'a, [u8]>), ProxyError> {
    let (authority, path) = asked_for(origin, asked, fields)?;
    Ok((check_authority(authority)?, path))
}

/// What a request names as its host, which may be none, and the target there.
fn asked_for<'o, 'a: 'o>(
    origin: &'o Origin,
    asked: Asked<'a>,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<(&'o [u8], Cow<'a, [u8]>), ProxyError> {
    if asked.method == b"CONNECT" {
        return Err(ProxyError::Connect);
    }
    let target = Target::parse(asked.target, asked.method)?;
    let named = target.authority.or(asked.authority);
    let authority = authority(origin, named, asked.may_lack_host, fields)?;
    if target.path.len() > MAX_TARGET {
        return Err(ProxyError::TargetTooLong);
    }
    Ok((authority, target.path))
}

fn method(method: &[u8]) -> Bytes {
    const USUAL: [&[u8]; 7] = [
        b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"PATCH",
    ];
    match USUAL.iter().find(|u| **u == method) {
        Some(usual) => Bytes::from_static(usual),
        None => Bytes::copy_from_slice(method),
    }
}

/// The one host the request is for (RFC 9112 section 3.2): `Host`, which what the target or
/// `:authority` `named` must not contradict.
fn authority<'o, 'a: 'o>(
    origin: &'o Origin,
    named: Option<&'a [u8]>,
    may_lack_host: bool,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<&'o [u8], ProxyError> {
    let mut hosts = fields
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"host"))
        .map(|(_, host)| host);
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(ProxyError::BadRequest("there is more than one Host header"));
    }
    match (host, named) {
        (Some(host), Some(named)) if !host.eq_ignore_ascii_case(named) => Err(
            ProxyError::BadRequest("the Host header and the request target name different hosts"),
        ),
        (Some(host), _) => Ok(host),
        (None, Some(named)) if may_lack_host => Ok(named),
        (None, None) if may_lack_host => Ok(origin.local.as_bytes()),
        (None, _) => Err(ProxyError::BadRequest("the Host header is missing")),
    }
}

/// Whose request it is. The head was made here: its address is one.
pub(crate) fn client(head: &RequestHead) -> IpAddr {
    let text = head.client_addr.as_deref().unwrap_or_default();
    let address = std::str::from_utf8(text).ok();
    let address = address.and_then(|text| text.parse::<SocketAddr>().ok());
    address.map_or(IpAddr::from([0; 4]), |address| address.ip())
}

/// The path of a request target as it was written, without its query; for what the gateway answers
/// itself.
pub(crate) fn path_of(target: &str) -> &str {
    let path = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let path = rest.get(end..).unwrap_or_default();
            if path.starts_with('/') { path } else { "/" }
        }
        _ => target,
    };
    path.split('?').next().unwrap_or_default()
}

/// A request target (RFC 9112 section 3.2).
struct Target<'a> {
    /// Of an absolute-form.
    authority: Option<&'a [u8]>,
    /// Origin-form or `*`, byte for byte; of an absolute-form all but scheme and authority.
    path: Cow<'a, [u8]>,
}

impl<'a> Target<'a> {
    fn parse(target: &'a [u8], method: &[u8]) -> Result<Self, ProxyError> {
        const NEITHER: ProxyError =
            ProxyError::BadRequest("the request target is neither a path nor a URL");
        if !target.iter().all(|b| (0x21..=0x7e).contains(b)) {
            return Err(ProxyError::BadRequest(
                "the request target holds a byte that must be percent-encoded",
            ));
        }
        if target.contains(&b'#') {
            return Err(ProxyError::BadRequest("the request target has a fragment"));
        }
        let path = |path| Self {
            authority: None,
            path,
        };
        match target {
            [b'/', ..] => return Ok(path(Cow::Borrowed(target))),
            b"*" if method == b"OPTIONS" => return Ok(path(Cow::Borrowed(target))),
            _ => {}
        }
        let at = memchr::memmem::find(target, b"://").ok_or(NEITHER)?;
        let (scheme, rest) = (&target[..at], &target[at + 3..]);
        if !scheme.iter().all(u8::is_ascii_alphanumeric) {
            return Err(NEITHER);
        }
        if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
            return Err(ProxyError::BadRequest(
                "the request target's scheme is not http",
            ));
        }
        let end = rest.iter().position(|b| matches!(b, b'/' | b'?'));
        let (authority, path) = rest.split_at(end.unwrap_or(rest.len()));
        Ok(Self {
            authority: Some(authority),
            path: match path {
                // RFC 9112 section 3.2.4.
                [] if method == b"OPTIONS" => Cow::Borrowed(b"*"),
                [] => Cow::Borrowed(b"/"),
                [b'?', ..] => Cow::Owned([b"/", path].concat()),
                _ => Cow::Borrowed(path),
            },
        })
    }
}

/// The caller's fields without those of its connection and those only we may set, and ours.
fn headers<'a>(
    ours: &anpx::Fields,
    from: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    id: &str,
) -> Result<anpx::Fields, ProxyError> {
    let named = Named::of(from.clone()).map_err(ProxyError::BadRequest)?;
    let mut to = anpx::Fields::builder(512);
    let mut has_length = false;
    for (name, value) in from {
        let mut scratch = [0; 64];
        let name = &*lower_case(name, &mut scratch);
        if fields::is_forbidden(name) || is_ours(name) || named.holds(name) {
            continue;
        }
        // The connection's framing saw to it that repeats are equal.
        if name == b"content-length" && std::mem::replace(&mut has_length, true) {
            continue;
        }
        to.push(name, value)?;
    }
    const ID: FieldName = FieldName::new("x-request-id");
    to.extend(ours)?;
    to.push_named(ID, id.as_bytes())?;
    Ok(to.build())
}

/// The fields of a request's trailer section without those only we may set.
///
/// # Errors
/// They exceed a limit.
pub(crate) fn trailers(from: anpx::Fields) -> Result<anpx::Fields, ProxyError> {
    if !from.iter().any(|(name, _)| is_ours(name)) {
        return Ok(from);
    }
    let mut to = anpx::Fields::builder(128);
    for (name, value) in from.iter().filter(|(name, _)| !is_ours(name)) {
        to.push(name, value)?;
    }
    Ok(to.build())
}

impl From<FieldsError> for ProxyError {
    fn from(error: FieldsError) -> Self {
        match error {
            FieldsError::TooLarge => Self::HeadersTooLarge,
            _ => Self::BadRequest("a header field is not valid"),
        }
    }
}

/// True for names whose value an app believes because only a gateway sets it. Whatever is neither a
/// letter nor a digit counts as a hyphen: CGI and WSGI apps cannot tell an underscore from one, and some
/// servers make the same of the others.
fn is_ours(name: &[u8]) -> bool {
    fn is(name: &[u8], ours: &[u8]) -> bool {
        name.iter()
            .map(|b| if b.is_ascii_alphanumeric() { *b } else { b'-' })
            .eq(ours.iter().copied())
    }
    match name.first() {
        Some(b'x') => {
            let begin = name.get(..12);
            begin.is_some_and(|begin| is(begin, b"x-forwarded-")) || is(name, b"x-request-id")
        }
        Some(b'f') => name == b"forwarded",
        Some(b'a') => is(name, b"anp-caller-did"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Field<'a> = (&'a str, &'a str);

    fn map(
        method: &str,
        target: &str,
        old: bool,
        fields: &[Field<'_>],
    ) -> Result<RequestHead, ProxyError> {
        let origin = Origin::new(
            "192.0.2.1:999".parse().unwrap(),
            "127.0.0.1:8080".parse().unwrap(),
            "http",
        );
        let asked = Asked {
            method: method.as_bytes(),
            target: target.as_bytes(),
            authority: None,
            may_lack_host: old,
            protocol: None,
        };
        let fields = fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
        head(&origin, asked, fields, Uuid::nil())
    }

    fn get(target: &str, more: &[Field<'_>]) -> Result<RequestHead, ProxyError> {
        map(
            "GET",
            target,
            false,
            &[&[("Host", "example.com")], more].concat(),
        )
    }

    fn status(mapped: Result<RequestHead, ProxyError>) -> u16 {
        mapped.unwrap_err().status().as_u16()
    }

    #[test]
    fn the_path_of_a_target_is_as_it_was_written() {
        for (target, path) in [
            ("/a?b=/c", "/a"),
            ("//a", "//a"),
            ("/http://a/b", "/http://a/b"),
            ("http://h/a?b", "/a"),
            ("http://h", "/"),
            ("http://h?/a", "/"),
            ("*", "*"),
        ] {
            assert_eq!(path_of(target), path, "{target}");
        }
    }

    #[test]
    fn the_head_is_what_the_caller_sent_and_one_true_origin() {
        let head = get(
            "/a%2Fb/../c?x=%20&y",
            &[
                ("X-Forwarded-For", "6.6.6.6"),
                ("x_forwarded_host", "evil"),
                ("x.forwarded.prefix", "evil"),
                ("Forwarded", "for=6.6.6.6"),
                ("anp_caller_did", "did:wba:evil"),
                ("ANP-Caller_DID", "did:wba:evil"),
                ("Anp.Caller~Did", "did:wba:evil"),
                ("B", "1"),
                ("Cookie", "a=1"),
                ("Connection", "Keep-Alive, X-Hop"),
                ("X-Hop", "1"),
                ("TE", "trailers"),
                ("b", "2"),
                ("Cookie", "b=2"),
                ("Content-Length", "0"),
                ("Content-Length", "0"),
                ("Expect", "100-continue"),
            ],
        )
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
                ("b", "1"),
                ("cookie", "a=1"),
                ("b", "2"),
                ("cookie", "b=2"),
                ("content-length", "0"),
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
    fn each_request_of_a_connection_is_for_the_host_it_names() {
        let origin = Origin::new(
            "192.0.2.1:999".parse().unwrap(),
            "127.0.0.1:8080".parse().unwrap(),
            "http",
        );
        for host in ["a.example", "b.example", "a.example", "A.example", "c"] {
            let asked = Asked {
                method: b"GET",
                target: b"/",
                authority: None,
                may_lack_host: false,
                protocol: None,
            };
            let fields = [(&b"host"[..], host.as_bytes())];
            let head = head(&origin, asked, fields.into_iter(), Uuid::nil()).unwrap();
            assert_eq!(&head.authority[..], host.as_bytes());
            assert_eq!(head.headers.get("x-forwarded-host"), Some(host.as_bytes()));
            let forwarded = format!("for=192.0.2.1;proto=http;host=\"{host}\"");
            assert_eq!(head.headers.get("forwarded"), Some(forwarded.as_bytes()));
        }
    }

    #[test]
    fn targets() {
        for (target, path) in [
            ("/", "/"),
            ("//x//", "//x//"),
            ("/?", "/?"),
            ("http://example.com", "/"),
            ("http://EXAMPLE.com/x?y", "/x?y"),
            ("HTTP://example.com?y", "/?y"),
        ] {
            let head = get(target, &[]).unwrap();
            assert_eq!(&head.target[..], path.as_bytes(), "{target}");
        }
        let host = [("host", "example.com")];
        for (target, path) in [
            ("*", "*"),
            ("http://example.com", "*"),
            ("http://example.com/", "/"),
        ] {
            let head = map("OPTIONS", target, false, &host).unwrap();
            assert_eq!(&head.target[..], path.as_bytes());
        }
        for target in [
            "example.com:80",
            "ftp://example.com/",
            "http://other/",
            "http://u@example.com/",
            "http://",
            "",
            "*",
            "*x",
            "x",
            "?x",
            "/#x",
            "/x#",
            "/\u{e9}",
            "/ ",
            "/x=http://example.com/y\t",
        ] {
            assert_eq!(status(get(target, &[])), 400, "{target}");
        }
        assert_eq!(
            status(get(&format!("/{}", "x".repeat(MAX_TARGET)), &[])),
            414
        );
        assert_eq!(status(map("CONNECT", "example.com:443", false, &host)), 405);
    }

    #[test]
    fn hosts() {
        for host in ["a.b:80", "[::1]:8080", "[::1]", "a_b", "a.:", "10.0.0.1"] {
            let head = map("GET", "/", false, &[("host", host)]).unwrap();
            assert_eq!(&head.authority[..], host.as_bytes());
        }
        for host in [
            "", "a b", "u@h", "a/b", "a,b", ":80", "a:x", "[::1", "::1", "a\"", "a:123456",
        ] {
            let mapped = map("GET", "/", false, &[("host", host)]);
            assert_eq!(status(mapped), 400, "{host}");
        }
        assert_eq!(status(map("GET", "/", false, &[])), 400);
        assert_eq!(status(map("GET", "http://a/", false, &[])), 400);
        assert_eq!(status(get("/", &[("HOST", "example.com")])), 400);
        let old = map("GET", "/", true, &[]).unwrap();
        assert_eq!(&old.authority[..], b"127.0.0.1:8080");
    }

    #[test]
    fn limits() {
        assert_eq!(status(get("/", &[("x", ""); 257])), 431);
        assert_eq!(status(get("/", &[("x", &"y".repeat(70_000))])), 431);
    }

    #[test]
    fn trailers_keep_what_is_not_ours() {
        let from = [("a", "1"), ("x_request-id", "2"), ("a", "3")];
        let kept = trailers(anpx::Fields::from_pairs(from).unwrap()).unwrap();
        assert_eq!(
            kept,
            anpx::Fields::from_pairs([("a", "1"), ("a", "3")]).unwrap()
        );
    }
}
