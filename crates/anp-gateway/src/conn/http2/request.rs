//! A request's head as HTTP/2 gives it, in the words of HTTP/1 (ANPX 3.7).

use anp_tunnel::handshake::new_key;
use anpx::RequestHead;
use bytes::Bytes;
use h2::ext::Protocol;
use http::{Method, header, request::Parts};
use uuid::Uuid;

use crate::{
    error::ProxyError,
    proxy::{
        Origin,
        request::{self, Asked},
    },
};

/// An extended CONNECT (RFC 8441) while it travels as an upgrade.
#[derive(Debug)]
pub(super) struct Connect {
    /// The key the gateway made, for websocket alone.
    pub(super) key: Option<String>,
}

impl Connect {
    /// Of a request, if it is one.
    ///
    /// # Errors
    /// 501 where the protocol is none that `upgrades` names.
    pub(super) fn of(
        parts: &Parts,
        upgrades: &[String],
    ) -> Result<Option<(Self, Bytes)>, ProxyError> {
        let Some(protocol) = parts.extensions.get::<Protocol>() else {
            return Ok(None);
        };
        if parts.method != Method::CONNECT {
            return Err(ProxyError::BadRequest(":protocol is for CONNECT alone"));
        }
        let name = protocol.as_str();
        let Some(name) = upgrades.iter().find(|u| u.eq_ignore_ascii_case(name)) else {
            return Err(ProxyError::UnknownProtocol);
        };
        let key = (name == "websocket").then(new_key);
        Ok(Some((
            Self { key },
            Bytes::copy_from_slice(name.as_bytes()),
        )))
    }
}

/// The head that goes to the receiver.
///
/// # Errors
/// 400, 405, 414, 431 as [`ProxyError`] says.
pub(super) fn head(
    origin: &Origin,
    parts: &Parts,
    connect: Option<&(Connect, Bytes)>,
    id: Uuid,
) -> Result<RequestHead, ProxyError> {
    let authority = parts.uri.authority().map(|a| a.as_str().as_bytes());
    let method = match connect {
        Some(_) => b"GET",
        None => parts.method.as_str().as_bytes(),
    };
    let target = parts.uri.path_and_query().map_or("", |p| p.as_str());
    let cookies = cookies(parts);
    let mut fields = Vec::with_capacity(parts.headers.len() + 1);
    let mut joined = cookies.as_deref();
    for (name, value) in &parts.headers {
        match (name == header::COOKIE, cookies.is_some()) {
            // The crumbs go where the first was.
            (true, true) => {
                if let Some(cookies) = joined.take() {
                    fields.push((&b"cookie"[..], cookies));
                }
            }
            _ => fields.push((name.as_str().as_bytes(), value.as_bytes())),
        }
    }
    if let Some((Connect { key: Some(key) }, _)) = connect {
        fields.retain(|(name, _)| *name != b"sec-websocket-key");
        fields.push((b"sec-websocket-key", key.as_bytes()));
    }
    let asked = Asked {
        method,
        target: target.as_bytes(),
        authority,
        may_lack_host: authority.is_some(),
        protocol: connect.map(|(_, protocol)| &protocol[..]),
    };
    request::head(origin, asked, fields.into_iter(), id)
}

/// The cookie crumbs in one piece, as other HTTPs want them (RFC 9113 section 8.2.3); `None` where
/// they are.
fn cookies(parts: &Parts) -> Option<Vec<u8>> {
    let mut crumbs = parts.headers.get_all(header::COOKIE).iter();
    let mut joined = crumbs.next()?.as_bytes().to_vec();
    let second = crumbs.next()?;
    let more = std::iter::once(second).chain(crumbs);
    // Nothing at either end of a "; ": a value does not begin or end with spaces.
    for crumb in more.filter(|crumb| !crumb.is_empty()) {
        if !joined.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(crumb.as_bytes());
    }
    Some(joined)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn origin() -> Origin {
        Origin::new(
            "192.0.2.1:999".parse().unwrap(),
            "127.0.0.1:8080".parse().unwrap(),
            "http",
        )
    }

    fn map(request: http::request::Builder) -> Result<RequestHead, ProxyError> {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let connect = Connect::of(&parts, &["websocket".to_owned()])?;
        head(&origin(), &parts, connect.as_ref(), Uuid::nil())
    }

    #[test]
    fn crumbs_are_joined_and_the_rest_is_left_alone() {
        let request = Request::get("http://h/x?y")
            .header("a", "1")
            .header("cookie", "")
            .header("cookie", "a=1")
            .header("b", "2")
            .header("cookie", "b=2; c=3")
            .header("cookie", "")
            .header("te", "trailers");
        let head = map(request).unwrap();
        assert_eq!(
            (&head.target[..], &head.authority[..]),
            (&b"/x?y"[..], &b"h"[..])
        );
        assert_eq!(head.headers.get("cookie"), Some(&b"a=1; b=2; c=3"[..]));
        assert_eq!(
            head.headers.iter().filter(|(n, _)| n == b"cookie").count(),
            1
        );
        assert_eq!(head.headers.get("te"), None);
        let other = Request::get("http://h/").header("host", "other");
        assert!(matches!(map(other), Err(ProxyError::BadRequest(_))));
    }

    #[test]
    fn an_extended_connect_is_an_upgrade() {
        let connect = |protocol| {
            Request::connect("http://h/ws")
                .extension(Protocol::from_static(protocol))
                .header("sec-websocket-key", "theirs")
        };
        let head = map(connect("websocket")).unwrap();
        assert_eq!(
            (&head.method[..], &head.target[..]),
            (&b"GET"[..], &b"/ws"[..])
        );
        assert_eq!(head.protocol.as_deref(), Some(&b"websocket"[..]));
        let key = head.headers.get("sec-websocket-key").unwrap();
        assert!(key.len() == 24 && key != b"theirs");
        assert_eq!(map(connect("other")), Err(ProxyError::UnknownProtocol));
        assert_eq!(map(Request::connect("h:443")), Err(ProxyError::Connect));
    }
}
