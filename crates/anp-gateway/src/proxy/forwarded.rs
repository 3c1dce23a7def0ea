//! What trusted proxies say of a request they pass on: `X-Forwarded-*` and `Forwarded` (RFC 7239).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::authority::is_authority;

/// The schemes a caller can have used.
const SCHEMES: [&str; 2] = ["http", "https"];

/// The members of `X-Forwarded-For`, the nearest hop first: an address, or `None` for anything else.
/// An address without a port has port 0.
pub(super) fn addresses<'a>(
    values: &'a [&'a [u8]],
) -> impl Iterator<Item = Option<SocketAddr>> + 'a {
    let members = values.iter().rev().flat_map(|v| v.rsplit(|b| *b == b','));
    members.map(|member| {
        let ip = str(member.trim_ascii())?.parse::<IpAddr>().ok()?;
        Some(SocketAddr::new(ip.to_canonical(), 0))
    })
}

/// The last member of `X-Forwarded-Proto`, if it is one a caller can have used.
pub(super) fn scheme(values: &[&[u8]]) -> Option<&'static str> {
    known_scheme(last(values)?)
}

/// The last member of `X-Forwarded-Host`, if it is a host and port.
pub(super) fn host<'a>(values: &[&'a [u8]]) -> Option<&'a str> {
    str(last(values)?).filter(|host| is_authority(host))
}

/// The nearest proxy writes the last.
fn last<'a>(values: &[&'a [u8]]) -> Option<&'a [u8]> {
    let member = values.last()?.rsplit(|b| *b == b',').next()?;
    Some(member.trim_ascii())
}

fn known_scheme(scheme: &[u8]) -> Option<&'static str> {
    let known = |k: &&&str| k.as_bytes().eq_ignore_ascii_case(scheme);
    SCHEMES.iter().find(known).copied()
}

fn str(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// What one proxy says in `Forwarded` of the request it took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Element {
    /// From whom; `None` where it does not say or hides it (RFC 7239 section 6). A port that is not
    /// said or hidden is 0.
    pub(super) node: Option<SocketAddr>,
    /// Over what, if it is one a caller can have used.
    pub(super) scheme: Option<&'static str>,
    /// For which host, if it is a host and port.
    pub(super) host: Option<String>,
}

/// The elements of all `Forwarded` fields, in order; `None` where any breaks the grammar (RFC 7239
/// section 4).
pub(super) fn elements(values: &[&[u8]]) -> Option<Vec<Element>> {
    let mut elements = Vec::new();
    for value in values {
        let mut rest = *value;
        loop {
            rest = rest.trim_ascii_start();
            let (element, after) = element(rest)?;
            elements.push(element);
            match after.trim_ascii_start() {
                [] => break,
                [b',', after @ ..] => rest = after,
                _ => return None,
            }
        }
    }
    Some(elements)
}

/// The element at the front of `rest`, and what follows it.
fn element(mut rest: &[u8]) -> Option<(Element, &[u8])> {
    let mut element = Element::default();
    let mut seen: Vec<&[u8]> = Vec::new();
    loop {
        let (name, after) = token(rest);
        if !name.is_empty() {
            let (value, after) = value(after.strip_prefix(b"=")?)?;
            if seen.iter().any(|s| s.eq_ignore_ascii_case(name)) {
                return None;
            }
            seen.push(name);
            if name.eq_ignore_ascii_case(b"for") {
                element.node = node(&value)?;
            } else if name.eq_ignore_ascii_case(b"proto") {
                element.scheme = known_scheme(&value);
            } else if name.eq_ignore_ascii_case(b"host") {
                let host = str(&value).filter(|host| is_authority(host));
                element.host = host.map(str::to_owned);
            }
            rest = after;
        }
        match rest.strip_prefix(b";") {
            Some(after) => rest = after,
            None => return Some((element, rest)),
        }
    }
}

/// The token at the front of `rest` (RFC 9110 section 5.6.2), which may be empty, and what follows.
fn token(rest: &[u8]) -> (&[u8], &[u8]) {
    let is_token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    let end = rest.iter().position(|b| !is_token(b));
    rest.split_at(end.unwrap_or(rest.len()))
}

/// The token or quoted string (RFC 9110 section 5.6.4) at the front of `rest`, and what follows.
fn value(rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let Some(mut rest) = rest.strip_prefix(b"\"") else {
        let (token, after) = token(rest);
        return (!token.is_empty()).then(|| (token.to_vec(), after));
    };
    let mut value = Vec::new();
    loop {
        match rest {
            [b'"', after @ ..] => return Some((value, after)),
            [b'\\', b, after @ ..] | [b, after @ ..] if *b == b'\t' || *b >= b' ' && *b != 0x7f => {
                value.push(*b);
                rest = after;
            }
            _ => return None,
        }
    }
}

/// A node (RFC 7239 section 6): `Some(None)` where it is hidden, `None` where it is none.
fn node(node: &[u8]) -> Option<Option<SocketAddr>> {
    let node = str(node)?;
    let (name, port) = match node.rfind([':', ']']) {
        Some(at) if node[at..].starts_with(':') => (&node[..at], Some(&node[at + 1..])),
        _ => (node, None),
    };
    let port = match port {
        None => 0,
        Some(hidden) if is_obfuscated(hidden) => 0,
        Some(digits) if digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().ok()?
        }
        Some(_) => return None,
    };
    if name.eq_ignore_ascii_case("unknown") || is_obfuscated(name) {
        return Some(None);
    }
    let ip = match name.strip_prefix('[') {
        Some(name) => IpAddr::V6(name.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?),
        None => IpAddr::V4(name.parse::<Ipv4Addr>().ok()?),
    };
    Some(Some(SocketAddr::new(ip.to_canonical(), port)))
}

fn is_obfuscated(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    text.strip_prefix('_')
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_nearest_first_and_nothing_else_is_one() {
        let values = [
            &b"203.0.113.9, 192.0.2.1"[..],
            b"::ffff:10.0.0.1 ,2001:db8::1",
        ];
        let read: Vec<_> = addresses(&values)
            .map(|a| a.unwrap().ip().to_string())
            .collect();
        assert_eq!(
            read,
            ["2001:db8::1", "10.0.0.1", "192.0.2.1", "203.0.113.9"]
        );
        for value in [
            "",
            "unknown",
            "_x",
            "10.0.0.1:80",
            "[::1]",
            "[::1]:80",
            "010.0.0.1",
            "10.0.0",
            "a b",
            "\"10.0.0.1\"",
            "fe80::1%eth0",
            "\u{e9}",
        ] {
            assert_eq!(addresses(&[value.as_bytes()]).next(), Some(None), "{value}");
        }
    }

    #[test]
    fn the_nearest_scheme_and_host_count_if_they_can_be() {
        assert_eq!(scheme(&[b"http", b"ftp, HTTPS"]), Some("https"));
        assert_eq!(scheme(&[b"https", b"http,"]), None);
        assert_eq!(scheme(&[b"wss"]), None);
        assert_eq!(scheme(&[]), None);
        assert_eq!(host(&[b"evil, example.com:8443"]), Some("example.com:8443"));
        for bad in ["a b", "a/b", "u@a", "\"a\"", "", "\u{e9}"] {
            assert_eq!(host(&[bad.as_bytes()]), None, "{bad}");
        }
    }

    #[test]
    fn forwarded_elements() {
        let element = |node: Option<&str>, scheme, host: Option<&str>| Element {
            node: node.map(|n| n.parse().unwrap()),
            scheme,
            host: host.map(str::to_owned),
        };
        for (value, expected) in [
            (
                "for=192.0.2.60;proto=http;by=203.0.113.43",
                vec![element(Some("192.0.2.60:0"), Some("http"), None)],
            ),
            (
                "For=\"[2001:db8:cafe::17]:4711\"",
                vec![element(Some("[2001:db8:cafe::17]:4711"), None, None)],
            ),
            (
                "for=\"192.0.2.1:80\"",
                vec![element(Some("192.0.2.1:80"), None, None)],
            ),
            (
                "for=\"192.0.2.1:_p\"",
                vec![element(Some("192.0.2.1:0"), None, None)],
            ),
            (
                "for=\"[::ffff:192.0.2.1]\"",
                vec![element(Some("192.0.2.1:0"), None, None)],
            ),
            (
                "for=192.0.2.43, for=unknown,for=_hidden",
                vec![
                    element(Some("192.0.2.43:0"), None, None),
                    Element::default(),
                    Element::default(),
                ],
            ),
            (
                "proto=HTTPS;host=\"a.example:8443\";x=\"\\\"\\,;\"",
                vec![element(None, Some("https"), Some("a.example:8443"))],
            ),
            ("proto=wss;host=\"a b\"", vec![Element::default()]),
            (
                ";;for=192.0.2.1;",
                vec![element(Some("192.0.2.1:0"), None, None)],
            ),
            ("", vec![Element::default()]),
        ] {
            assert_eq!(elements(&[value.as_bytes()]), Some(expected), "{value}");
        }
        let both = elements(&[b"for=192.0.2.1", b"for=192.0.2.2"]).unwrap();
        assert_eq!(both.len(), 2);
    }

    #[test]
    fn forwarded_that_breaks_the_grammar_is_nothing() {
        for value in [
            "for",
            "for=",
            "=x",
            "for=192.0.2.1 ;proto=http",
            "for=192.0.2.1; proto=http",
            "for = 192.0.2.1",
            "for=192.0.2.1;for=192.0.2.2",
            "for=a;FOR=b",
            "for=foo",
            "for=192.0.2.1:80",
            "for=[::1]",
            "for=\"::1\"",
            "for=\"[::1\"",
            "for=\"192.0.2.1",
            "for=\"192.0.2.1:\"",
            "for=\"192.0.2.1:99999\"",
            "for=\"192.0.2.1:+8\"",
            "for=\"[192.0.2.1]\"",
            "for=_",
            "for=\"a\\",
            "for=\"\u{1}\"",
            "for=192.0.2.1/24",
            "for=192.0.2.1,,for=\"x\"",
            "for=\u{e9}",
        ] {
            assert_eq!(elements(&[value.as_bytes()]), None, "{value}");
        }
        assert_eq!(elements(&[b"for=192.0.2.1", b"for="]), None);
    }
}
