//! Where requests come from: what the connection says, and what trusted proxies add to it.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
};

use anpx::{FieldName, Fields, FieldsError};
use bytes::Bytes;

use super::{authority::check_authority, forwarded};
use crate::{
    error::ProxyError,
    trust::{self, Network},
};

/// Where the requests of one connection come from.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    peer: SocketAddr,
    /// Of requests for which the peer speaks itself.
    direct: Source,
    /// The host of a caller that names none (HTTP/1.0).
    pub(super) local: String,
    /// Whose word counts; `None` where the peer's does not.
    trusted: Option<Arc<[Network]>>,
    /// What the first request was given, for those that follow: most name the same host.
    first: OnceLock<Addressed>,
}

/// What of a request's head follows from where it comes from and which host it names.
#[derive(Clone, Debug)]
pub(crate) struct Addressed {
    /// Whom it is for: the host that was named.
    pub(super) authority: Bytes,
    /// The caller, `ip:port`; port 0 where nobody said.
    pub(super) client: Bytes,
    /// What the caller used.
    pub(super) scheme: &'static str,
    /// `X-Forwarded-For`, `-Proto` and `-Host`, and `Forwarded`.
    pub(super) fields: Fields,
}

/// Where one request comes from, in the forms its head needs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    /// The caller, `ip:port`; port 0 where nobody said.
    client: Bytes,
    /// The caller and the proxies behind it, as in `X-Forwarded-For`.
    chain: String,
    /// What the caller used.
    scheme: &'static str,
    /// The host the caller asked a proxy for, where that said so.
    host: Option<String>,
    /// `Forwarded` (RFC 7239) up to the host, and behind it.
    forwarded: (String, String),
}

impl Origin {
    /// A connection from `peer` to `local`, which are nobody's word but the system's or that of a
    /// trusted PROXY header. `scheme` is what it carries.
    pub(crate) fn new(peer: SocketAddr, local: SocketAddr, scheme: &'static str) -> Self {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        Self {
            peer,
            direct: Source::new(peer, &[], scheme, None),
            local: local.to_string(),
            trusted: None,
            first: OnceLock::new(),
        }
    }

    /// The same, where the peer's word counts if it is one of `networks`.
    pub(crate) fn trusting(mut self, networks: &Arc<[Network]>) -> Self {
        let trusts = trust::holds(networks, self.peer.ip());
        self.trusted = trusts.then(|| networks.clone());
        self
    }

    /// The peer, `ip:port`.
    pub(crate) fn peer(&self) -> &Bytes {
        &self.direct.client
    }

    /// What goes with a request to `authority` that has these fields, whose names may be in any case.
    ///
    /// # Errors
    /// 400 where `authority` is none.
    pub(super) fn addressed<'a>(
        &self,
        authority: &[u8],
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    ) -> Result<Cow<'_, Addressed>, ProxyError> {
        if self.trusted.is_none()
            && let Some(first) = self.first.get()
            && first.authority == authority
        {
            return Ok(Cow::Borrowed(first));
        }
        let addressed = self.source(fields).addressed(check_authority(authority)?)?;
        if self.trusted.is_none() {
            let _ = self.first.set(addressed.clone());
        }
        Ok(Cow::Owned(addressed))
    }

    /// Where a request with these fields comes from. Names may be in any case.
    fn source<'a>(
        &self,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    ) -> Cow<'_, Source> {
        match &self.trusted {
            Some(networks) => Cow::Owned(self.source_said(networks, fields)),
            None => Cow::Borrowed(&self.direct),
        }
    }

    /// What the peer, a trusted proxy, says. The chain of hops is followed while each is trusted;
    /// whoever wrote what stands before the first that is not is unknown.
    fn source_said<'a>(
        &self,
        networks: &[Network],
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    ) -> Source {
        let values = |name: &str| -> Vec<&'a [u8]> {
            let is_named = |(n, _): &(&[u8], &[u8])| n.eq_ignore_ascii_case(name.as_bytes());
            fields.clone().filter(is_named).map(|(_, v)| v).collect()
        };
        let mut hops = vec![self.peer];
        let (mut scheme, mut host) = (None, None);
        // Adds the hop that one of the hops so far tells of; true where it can tell of another.
        let mut follow = |hop: Option<SocketAddr>| {
            hops.extend(hop);
            hop.is_some_and(|hop| trust::holds(networks, hop.ip()))
        };
        let addresses = values("x-forwarded-for");
        if !addresses.is_empty() {
            forwarded::addresses(&addresses).all(&mut follow);
        } else if let Some(elements) = forwarded::elements(&values("forwarded")) {
            for element in elements.into_iter().rev() {
                scheme = element.scheme.or(scheme);
                host = element.host.or(host);
                if !follow(element.node) {
                    break;
                }
            }
        }
        let scheme = scheme.or_else(|| forwarded::scheme(&values("x-forwarded-proto")));
        let host = host.or_else(|| {
            let values = values("x-forwarded-host");
            forwarded::host(&values).map(str::to_owned)
        });
        let client = hops.pop().unwrap_or(self.peer);
        hops.reverse();
        Source::new(client, &hops, scheme.unwrap_or(self.direct.scheme), host)
    }
}

impl Source {
    /// A request of `client` that came through the proxies `via`, the farthest first.
    fn new(
        client: SocketAddr,
        via: &[SocketAddr],
        scheme: &'static str,
        host: Option<String>,
    ) -> Self {
        let mut chain = client.ip().to_string();
        let mut behind = String::from("\"");
        for proxy in via {
            chain.push_str(", ");
            chain.push_str(&proxy.ip().to_string());
            behind.push_str(", for=");
            behind.push_str(&node(proxy.ip()));
        }
        let before = format!("for={};proto={scheme};host=\"", node(client.ip()));
        Self {
            client: client.to_string().into(),
            chain,
            scheme,
            host,
            forwarded: (before, behind),
        }
    }

    /// What goes with a request to `authority`.
    fn addressed(&self, authority: &str) -> Result<Addressed, FieldsError> {
        const FOR: FieldName = FieldName::new("x-forwarded-for");
        const PROTO: FieldName = FieldName::new("x-forwarded-proto");
        const HOST: FieldName = FieldName::new("x-forwarded-host");
        const FORWARDED: FieldName = FieldName::new("forwarded");
        let host = self.host.as_deref().unwrap_or(authority);
        let (before, behind) = &self.forwarded;
        let mut fields = Fields::builder(256);
        for (name, value) in [
            (FOR, &*self.chain),
            (PROTO, self.scheme),
            (HOST, host),
            (FORWARDED, &[before, host, behind].concat()),
        ] {
            fields.push_named(name, value.as_bytes())?;
        }
        Ok(Addressed {
            authority: Bytes::copy_from_slice(authority.as_bytes()),
            client: self.client.clone(),
            scheme: self.scheme,
            fields: fields.build(),
        })
    }
}

/// An address as `Forwarded` writes it (RFC 7239 section 6).
fn node(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("\"[{v6}]\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Field<'a> = (&'a str, &'a str);

    fn source(peer: &str, fields: &[Field<'_>]) -> Source {
        let networks: Arc<[Network]> =
            Arc::new(["10.0.0.0/8", "fd00::/8"].map(|n| n.parse().unwrap()));
        let local = "127.0.0.1:8080".parse().unwrap();
        let origin = Origin::new(peer.parse().unwrap(), local, "http").trusting(&networks);
        let fields = fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
        origin.source(fields).into_owned()
    }

    fn proxied(fields: &[Field<'_>]) -> Source {
        source("10.0.0.1:5000", fields)
    }

    /// The chain, and the caller's address and port.
    fn seen(fields: &[Field<'_>]) -> (String, String) {
        let source = proxied(fields);
        (
            source.chain,
            String::from_utf8(source.client.to_vec()).unwrap(),
        )
    }

    #[test]
    fn the_word_of_strangers_counts_for_nothing() {
        let said = [
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil"),
            ("forwarded", "for=6.6.6.6;proto=https"),
        ];
        let expected = Source::new("192.0.2.1:999".parse().unwrap(), &[], "http", None);
        assert_eq!(source("192.0.2.1:999", &said), expected);
        assert_eq!(source("[::ffff:192.0.2.1]:999", &said), expected);
        // Other spellings are nobody's.
        assert_eq!(seen(&[("x_forwarded_for", "6.6.6.6")]).0, "10.0.0.1");
    }

    #[test]
    fn the_chain_is_followed_while_it_is_trusted() {
        for (said, chain, client) in [
            ("192.0.2.1", "192.0.2.1, 10.0.0.1", "192.0.2.1:0"),
            ("6.6.6.6, 192.0.2.1", "192.0.2.1, 10.0.0.1", "192.0.2.1:0"),
            (
                "6.6.6.6, 192.0.2.1,10.0.0.2 , fd00::1",
                "192.0.2.1, 10.0.0.2, fd00::1, 10.0.0.1",
                "192.0.2.1:0",
            ),
            (
                "10.0.0.3, 10.0.0.2",
                "10.0.0.3, 10.0.0.2, 10.0.0.1",
                "10.0.0.3:0",
            ),
            (
                "6.6.6.6, 2001:db8::1",
                "2001:db8::1, 10.0.0.1",
                "[2001:db8::1]:0",
            ),
            ("::ffff:192.0.2.1", "192.0.2.1, 10.0.0.1", "192.0.2.1:0"),
            // What is no address stops it.
            ("6.6.6.6, unknown", "10.0.0.1", "10.0.0.1:5000"),
            ("6.6.6.6, _x, 10.0.0.2", "10.0.0.2, 10.0.0.1", "10.0.0.2:0"),
            ("6.6.6.6, 192.0.2.1:80", "10.0.0.1", "10.0.0.1:5000"),
            (
                "6.6.6.6, [fd00::1], 10.0.0.2",
                "10.0.0.2, 10.0.0.1",
                "10.0.0.2:0",
            ),
            ("6.6.6.6,", "10.0.0.1", "10.0.0.1:5000"),
            ("", "10.0.0.1", "10.0.0.1:5000"),
        ] {
            let expected = (chain.to_owned(), client.to_owned());
            assert_eq!(seen(&[("X-Forwarded-For", said)]), expected, "{said}");
        }
        let lines = [
            ("x-forwarded-for", "6.6.6.6, 192.0.2.1"),
            ("a", "b"),
            ("X-Forwarded-For", "10.0.0.2"),
        ];
        assert_eq!(seen(&lines).0, "192.0.2.1, 10.0.0.2, 10.0.0.1");
        assert_eq!(
            seen(&[]),
            ("10.0.0.1".to_owned(), "10.0.0.1:5000".to_owned())
        );
    }

    #[test]
    fn scheme_and_host_of_the_proxy() {
        let said = proxied(&[
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "HTTPS"),
            ("x-forwarded-host", "a.example"),
        ]);
        assert_eq!(
            (said.scheme, said.host.as_deref()),
            ("https", Some("a.example"))
        );
        assert_eq!(said.forwarded.0, "for=192.0.2.1;proto=https;host=\"");
        assert_eq!(said.forwarded.1, "\", for=10.0.0.1");
        let garbage = proxied(&[
            ("x-forwarded-proto", "javascript"),
            ("x-forwarded-host", "a\"b"),
        ]);
        assert_eq!((garbage.scheme, garbage.host), ("http", None));
        let v6 = source("[fd00::2]:1", &[("x-forwarded-for", "2001:db8::1")]);
        assert_eq!(v6.forwarded.0, "for=\"[2001:db8::1]\";proto=http;host=\"");
        assert_eq!(v6.forwarded.1, "\", for=\"[fd00::2]\"");
    }

    #[test]
    fn forwarded_counts_only_alone_and_whole() {
        let chain = "for=6.6.6.6;proto=http;host=evil, for=\"192.0.2.1:77\";proto=https;host=a.example, for=10.0.0.2;proto=http";
        let said = proxied(&[("forwarded", chain)]);
        assert_eq!(said.chain, "192.0.2.1, 10.0.0.2, 10.0.0.1");
        assert_eq!(&said.client[..], b"192.0.2.1:77");
        assert_eq!(
            (said.scheme, said.host.as_deref()),
            ("https", Some("a.example"))
        );

        let both = [
            ("forwarded", "for=6.6.6.6;proto=https"),
            ("x-forwarded-for", "192.0.2.1"),
        ];
        let said = proxied(&both);
        assert_eq!(
            (said.chain.as_str(), said.scheme),
            ("192.0.2.1, 10.0.0.1", "http")
        );

        for garbage in [
            "for=192.0.2.1;proto=https, for=x",
            "for=192.0.2.1, for=unknown",
            "",
        ] {
            assert_eq!(
                proxied(&[("forwarded", garbage)]).chain,
                "10.0.0.1",
                "{garbage}"
            );
        }
        let own = [
            ("forwarded", "for=192.0.2.1;proto=https"),
            ("x-forwarded-proto", "http"),
        ];
        assert_eq!(proxied(&own).scheme, "https");
        let own = [
            ("forwarded", "for=192.0.2.1"),
            ("x-forwarded-proto", "https"),
        ];
        assert_eq!(proxied(&own).scheme, "https");
    }
}
