//! What was called: the names and schemes that a caller's signature may be meant for.

use anp_auth::PublicName;
use anpx::RequestHead;

use crate::{
    config::{Config, Endpoint, PublicUrl},
    route::place::{HostRule, Place},
};

/// The names of one endpoint beside those that every endpoint of the gateway has.
#[derive(Debug)]
pub(super) struct Called {
    /// Its own.
    host: HostRule,
    public: Option<PublicUrl>,
}

impl Called {
    /// Of a valid endpoint.
    pub(super) fn new(endpoint: &Endpoint, config: &Config) -> Self {
        Self {
            host: Place::new(endpoint.host.as_deref(), &endpoint.path).host,
            public: config.public_url.clone(),
        }
    }

    /// True for a `Host` as it was sent that is a name of `public_url` or the endpoint's own, with one
    /// of our `ports` or none.
    pub(super) fn is_name(&self, host: &str, ports: [u16; 2]) -> bool {
        self.is_public(host) || self.is_own(host, ports)
    }

    /// Schemes that the URL of `head` may have had: that by which the caller came, and at
    /// `public_url` that of it, since something before us may speak TLS and not say so. WebSocket
    /// has its own words for them.
    pub(super) fn schemes(&self, head: &RequestHead, host: &str) -> Vec<&'static str> {
        let came = &head.scheme[..] == b"https";
        let mut secure = vec![came];
        if let Some(public) = &self.public
            && public.name().is(host)
            && public.is_https() != came
        {
            secure.push(public.is_https());
        }
        let is_upgrade = head.protocol.is_some();
        let words = |secure: bool| match secure {
            true => ["https", "wss"],
            false => ["http", "ws"],
        };
        let schemes = secure.into_iter().map(words);
        let all =
            schemes.flat_map(|[plain, upgraded]| [Some(plain), is_upgrade.then_some(upgraded)]);
        all.flatten().collect()
    }

    fn is_public(&self, host: &str) -> bool {
        let public = self.public.as_ref();
        public.is_some_and(|public| public.name().is(host))
    }

    fn is_own(&self, host: &str, ports: [u16; 2]) -> bool {
        let Ok(name) = host.parse::<PublicName>() else {
            return false;
        };
        let fits = match &self.host {
            HostRule::Any => false,
            HostRule::Exact(own) => own == name.host(),
            HostRule::Below(suffix) => {
                let rest = name.host().strip_suffix(suffix.as_str());
                rest.is_some_and(|rest| !rest.is_empty())
            }
        };
        let public = self.public.as_ref().and_then(|url| url.name().port());
        let port = match name.port() {
            None | Some(80 | 443) => true,
            port => port == public || port.is_some_and(|port| ports.contains(&port)),
        };
        fits && port
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn called(host: Option<&str>, public_url: Option<&str>) -> Called {
        let endpoint = Endpoint {
            host: host.map(str::to_owned),
            ..Endpoint::default()
        };
        let config = Config {
            public_url: public_url.map(|url| url.parse().unwrap()),
            ..Config::default()
        };
        Called::new(&endpoint, &config)
    }

    #[test]
    fn an_endpoint_of_its_own_host_has_that_name() {
        let own = called(Some("Lab.example"), Some("https://gw.example:8443"));
        for (host, is) in [
            ("lab.example", true),
            ("LAB.example:443", true),
            ("lab.example:8080", true),
            ("lab.example:8443", true),
            ("lab.example:9", false),
            ("x.lab.example", false),
            ("lab.example@evil", false),
        ] {
            assert_eq!(own.is_own(host, [8765, 8080]), is, "{host}");
        }
        assert!(own.is_public("gw.example:8443") && !own.is_public("gw.example"));
        let below = called(Some("*.lab.example"), None);
        assert!(below.is_own("a.b.lab.example", [0, 0]));
        assert!(!below.is_own("lab.example", [0, 0]) && !below.is_own(".lab.example:1", [0, 0]));
        assert!(!called(None, None).is_own("any.example", [0, 0]));
    }

    #[test]
    fn the_scheme_is_that_by_which_the_caller_came() {
        let head = |scheme: &'static str, protocol: Option<&'static str>| RequestHead {
            method: Bytes::new(),
            target: Bytes::new(),
            scheme: Bytes::from_static(scheme.as_bytes()),
            authority: Bytes::new(),
            headers: anpx::Fields::default(),
            request_id: Bytes::new(),
            client_addr: None,
            protocol: protocol.map(|p| Bytes::from_static(p.as_bytes())),
        };
        let public = called(None, Some("https://gw.example/"));
        let schemes = |scheme, protocol, host| public.schemes(&head(scheme, protocol), host);
        assert_eq!(schemes("http", None, "other.example"), ["http"]);
        assert_eq!(schemes("https", None, "other.example"), ["https"]);
        assert_eq!(schemes("http", None, "gw.example"), ["http", "https"]);
        assert_eq!(schemes("https", None, "gw.example"), ["https"]);
        assert_eq!(
            schemes("https", Some("websocket"), "other.example"),
            ["https", "wss"]
        );
    }
}
