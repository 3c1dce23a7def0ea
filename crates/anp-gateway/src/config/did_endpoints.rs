//! The `[gateway.auth.did_endpoints]` table: endpoints that DIDs have by their names alone.

use std::time::Duration;

use anp_auth::{Did, PublicName};
use anp_tunnel::units::Span;
use serde::{Deserialize, Serialize};

use super::{
    Config,
    endpoint::{Endpoint, check_host},
    error::{ConfigError, fail},
    public_url::PublicUrl,
};
use crate::owner::Owner;

/// Longest label of a host name (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;

/// Segments that no name may have: documents say who is who (did:wba method specification, section
/// 2.5.2), and what is well known speaks for the whole host (RFC 8615).
pub(crate) const RESERVED: [&str; 2] = ["did.json", ".well-known"];

/// Gives every DID of one domain an endpoint of its own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct DidEndpoints {
    /// The host of the DIDs, with a port where they have one. Default: `auth.hosted_domain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<PublicName>,
    /// What becomes of a DID's path. Default `path`.
    pub mode: PlaceMode,
    /// `path`: the host of these endpoints; default every host that no other endpoint names. `host`:
    /// the name that labels are put before; default the domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The apps get targets without the path of their endpoint. Default false.
    pub strip_prefix: bool,
    /// How long an endpoint is kept when its last tunnel has gone: its callers get 503 and nobody
    /// else gets its place. Default 5 min.
    pub grace: Span,
}

/// What becomes of the path segments of a DID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PlaceMode {
    /// A path prefix: `did:wba:a.example:team:alice:e1_…` serves `/team/alice`.
    #[default]
    Path,
    /// A label of a host name: `did:wba:a.example:alice:e1_…` serves `alice.a.example`.
    Host,
}

/// Why a DID has no endpoint by its name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoPlace {
    #[error("DIDs have no endpoints of their own here")]
    Off,
    #[error("it is of another domain")]
    Domain,
    #[error("it has no path that could name an endpoint")]
    Nameless,
    #[error("{0:?} in its path is reserved")]
    Reserved(String),
    #[error("its path is one that the gateway serves itself")]
    Ours,
    #[error("its path is not one label of a host name, in lower case")]
    Label,
}

impl Default for DidEndpoints {
    fn default() -> Self {
        Self {
            domain: None,
            mode: PlaceMode::Path,
            host: None,
            strip_prefix: false,
            grace: Span::from_secs(300),
        }
    }
}

impl DidEndpoints {
    pub(super) fn validate(&self, hosted: Option<&PublicName>) -> Result<(), ConfigError> {
        let key = |field: &str| format!("auth.did_endpoints.{field}");
        let Some(domain) = self.domain.as_ref().or(hosted) else {
            return fail(
                key("domain"),
                "expected the host of the DIDs, such as \"agents.example\"",
            );
        };
        check_domain(&key("domain"), domain)?;
        if let Some(host) = &self.host {
            check_host(&key("host"), host)?;
            if host.starts_with("*.") {
                return fail(key("host"), "expected a host name without \"*.\"");
            }
        }
        if self.strip_prefix && self.mode == PlaceMode::Host {
            return fail(
                key("strip_prefix"),
                "there is no path to be taken off where DIDs are host names",
            );
        }
        if self.grace.0 < Duration::from_secs(1) || self.grace.0 > Duration::from_secs(86_400) {
            return fail(
                key("grace"),
                format!("\"{}\" is outside \"1s\" to \"24h\"", self.grace),
            );
        }
        Ok(())
    }
}

/// Refuses what can be no host of a DID.
pub(super) fn check_domain(key: &str, domain: &PublicName) -> Result<(), ConfigError> {
    let port = domain.port().map(|port| format!("%3A{port}"));
    let did = format!("did:wba:{}{}", domain.host(), port.unwrap_or_default());
    match did.parse::<Did>() {
        Ok(_) => Ok(()),
        Err(error) => fail(key, format!("\"{domain}\" cannot be that of DIDs: {error}")),
    }
}

/// True if `did` is of `domain`, on the same port.
pub(crate) fn is_of(did: &Did, domain: &PublicName) -> bool {
    did.host() == domain.host() && did.port() == domain.port()
}

impl Config {
    /// True if this configuration lets `did` come: by `auth.allow`, as an owner, or by its name.
    /// Endpoints of the registry are not looked at.
    pub fn admits(&self, did: &Did) -> bool {
        let rules = self.auth.iter().flat_map(|auth| &auth.allow);
        let owner = Owner::Did(did.to_string());
        rules.into_iter().any(|rule| rule.allows(did))
            || self
                .endpoints
                .iter()
                .any(|e| e.owner.as_ref() == Some(&owner))
            || self.endpoint_of(did).is_ok()
    }

    /// The endpoint that `did` has by its name; the key in it counts for nothing. Two DIDs have one
    /// place if they differ in that key alone.
    ///
    /// # Errors
    /// It has none.
    pub(crate) fn endpoint_of(&self, did: &Did) -> Result<Endpoint, NoPlace> {
        let auth = self.auth.as_ref().ok_or(NoPlace::Off)?;
        let rule = auth.did_endpoints.as_ref().ok_or(NoPlace::Off)?;
        let domain = rule.domain.as_ref().or(auth.hosted_domain.as_ref());
        let domain = domain.ok_or(NoPlace::Off)?;
        if !is_of(did, domain) {
            return Err(NoPlace::Domain);
        }
        let segments: Vec<_> = did.owner_segments().collect();
        if let Some(reserved) = segments.iter().find(|s| RESERVED.contains(s)) {
            return Err(NoPlace::Reserved((*reserved).to_owned()));
        }
        let (host, path) = match (rule.mode, segments.as_slice()) {
            (_, []) => return Err(NoPlace::Nameless),
            (PlaceMode::Path, segments) => (rule.host.clone(), format!("/{}", segments.join("/"))),
            (PlaceMode::Host, [label]) if is_label(label) => {
                let below = rule.host.as_deref().unwrap_or(domain.host());
                (Some(format!("{label}.{below}")), "/".to_owned())
            }
            (PlaceMode::Host, _) => return Err(NoPlace::Label),
        };
        if host.as_ref().is_some_and(|host| self.is_called(host)) && rule.mode == PlaceMode::Host {
            return Err(NoPlace::Ours);
        }
        let ours = [&self.tunnel_path, &self.health_path];
        if ours.into_iter().flatten().any(|ours| overlap(ours, &path)) {
            return Err(NoPlace::Ours);
        }
        Ok(Endpoint {
            name: did.to_string(),
            host,
            path,
            owner: Some(Owner::Did(did.to_string())),
            strip_prefix: rule.strip_prefix,
            ..Endpoint::default()
        })
    }
}

impl Config {
    /// True if `host` is what the gateway itself is called.
    fn is_called(&self, host: &str) -> bool {
        let names = self.auth.iter().flat_map(|auth| &auth.public_names);
        let url = self.public_url.as_ref().map(PublicUrl::name);
        names.chain(url).any(|name| name.host() == host)
    }
}

/// A label in lower case, as hosts know no other, and none that stands for other characters (RFC
/// 5890 section 2.3.1): two names must not look like one.
fn is_label(label: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=MAX_LABEL).contains(&label.len())
        && label.bytes().all(plain)
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.get(2..4) != Some("--")
}

/// True if a path below `place` is `ours`, or the other way round. Not for `/`, below which is all.
fn overlap(ours: &str, place: &str) -> bool {
    let within = |inner: &str, outer: &str| {
        let rest = inner.strip_prefix(outer.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    place != "/" && (within(ours, place) || within(place, ours))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Auth;

    fn config(rule: DidEndpoints) -> Config {
        Config {
            tunnel_path: Some("/anpx".into()),
            health_path: Some("/-/healthz".into()),
            auth: Some(Auth {
                public_names: vec!["gw.example".parse().unwrap()],
                did_endpoints: Some(rule),
                ..Auth::default()
            }),
            ..Config::default()
        }
    }

    fn rule(mode: PlaceMode) -> DidEndpoints {
        DidEndpoints {
            domain: Some("a.example".parse().unwrap()),
            mode,
            ..DidEndpoints::default()
        }
    }

    fn place(config: &Config, did: &str) -> Result<(Option<String>, String), NoPlace> {
        let endpoint = config.endpoint_of(&did.parse().unwrap())?;
        endpoint_is_valid(&endpoint);
        Ok((endpoint.host, endpoint.path))
    }

    /// Valid but for its name, which no endpoint of anybody else can have.
    fn endpoint_is_valid(endpoint: &Endpoint) {
        let named = Endpoint {
            name: "x".into(),
            ..endpoint.clone()
        };
        named.validate().unwrap();
        assert!(endpoint.validate().is_err());
    }

    #[test]
    fn a_path_is_a_path_without_its_key() {
        let config = config(rule(PlaceMode::Path));
        assert_eq!(config.validate(), Ok(()));
        for (did, path) in [
            ("did:wba:a.example:alice", "/alice"),
            ("did:wba:a.example:team:alice:e1_x", "/team/alice"),
            ("did:wba:a.example:team:alice:k1_y", "/team/alice"),
            ("did:wba:a.example:Team:e1_x:bob", "/Team/e1_x/bob"),
            ("did:wba:a.example:anpx2", "/anpx2"),
            ("did:wba:a.example:~a..b", "/~a..b"),
        ] {
            assert_eq!(place(&config, did), Ok((None, path.to_owned())), "{did}");
        }
        for (did, why) in [
            ("did:wba:a.example", NoPlace::Nameless),
            ("did:wba:a.example:e1_x", NoPlace::Nameless),
            ("did:wba:b.a.example:alice", NoPlace::Domain),
            ("did:wba:a.example%3A8443:alice", NoPlace::Domain),
            (
                "did:wba:a.example:.well-known",
                NoPlace::Reserved(".well-known".into()),
            ),
            (
                "did:wba:a.example:alice:did.json",
                NoPlace::Reserved("did.json".into()),
            ),
            ("did:wba:a.example:anpx", NoPlace::Ours),
            ("did:wba:a.example:anpx:x:e1_x", NoPlace::Ours),
            ("did:wba:a.example:-", NoPlace::Ours),
        ] {
            assert_eq!(place(&config, did), Err(why), "{did}");
        }
    }

    #[test]
    fn a_label_is_one_name_in_one_spelling() {
        let config = config(rule(PlaceMode::Host));
        for name in ["alice", "a", "a-1", &"a".repeat(63)] {
            for key in ["", ":e1_x", ":k1_y"] {
                let found = place(&config, &format!("did:wba:a.example:{name}{key}"));
                let host = format!("{name}.a.example");
                assert_eq!(found, Ok((Some(host), "/".to_owned())));
            }
        }
        for name in [
            "Alice",
            "a.b",
            "a_b",
            "-a",
            "a-",
            "xn--a",
            "~a",
            &"a".repeat(64),
            "team:alice",
            "team:alice:e1_x",
        ] {
            let found = place(&config, &format!("did:wba:a.example:{name}"));
            assert_eq!(found, Err(NoPlace::Label), "{name}");
        }
    }

    #[test]
    fn what_could_not_be_meant_is_refused() {
        let refused = |spoil: &dyn Fn(&mut DidEndpoints)| {
            let mut rule = rule(PlaceMode::Host);
            spoil(&mut rule);
            config(rule).validate().unwrap_err().key
        };
        let key = |field: &str| format!("auth.did_endpoints.{field}");
        assert_eq!(refused(&|r| r.domain = None), key("domain"));
        assert_eq!(
            refused(&|r| r.domain = Some("127.0.0.1".parse().unwrap())),
            key("domain")
        );
        assert_eq!(
            refused(&|r| r.host = Some("*.a.example".into())),
            key("host")
        );
        assert_eq!(refused(&|r| r.strip_prefix = true), key("strip_prefix"));
        assert_eq!(refused(&|r| r.grace = Span::from_secs(0)), key("grace"));
    }
}
