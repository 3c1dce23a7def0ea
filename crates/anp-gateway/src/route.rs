//! Host and path to endpoint.
//!
//! A request is routed by the bytes it came with and again by a decoded copy of its path without
//! dot segments, empty segments and backslashes, which is how an app may read it. Where the two
//! disagree the request is refused, so that no spelling of a path reaches an endpoint other than
//! the one its plain spelling reaches. The bytes forwarded are those received.

use std::borrow::Cow;

use anp_tunnel::units::Size;

use crate::{
    alive::{Alive, Life},
    config::{Config, Endpoint},
    error::ProxyError,
};

/// Index of an endpoint in [`Routes::endpoints`].
pub(crate) type EndpointId = usize;

/// Every endpoint, arranged for lookup.
#[derive(Debug)]
pub(crate) struct Routes {
    endpoints: Vec<Served>,
    /// Exact hosts first, then wildcards from the longest to the shortest, then the hostless.
    hosts: Vec<(HostRule, Vec<PathRule>)>,
}

/// An endpoint as the rest of the gateway knows it.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    /// Its name in logs and metrics.
    pub(crate) name: String,
    /// The receivers that serve it; `None` where any does.
    pub(crate) receivers: Option<Vec<String>>,
    /// Largest body of a request, in bytes.
    pub(crate) max_body: Option<u64>,
    /// Requests under way, and how many there may be.
    requests: Option<(Alive, usize)>,
}

impl Served {
    /// Counts a request for as long as what is given lives; nothing where no limit is set.
    ///
    /// # Errors
    /// 503 where there are as many as may be.
    pub(crate) fn begin(&self) -> Result<Option<Life>, ProxyError> {
        match &self.requests {
            None => Ok(None),
            Some((alive, max)) => alive.begin(*max).map(Some).ok_or(ProxyError::EndpointFull),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum HostRule {
    Exact(String),
    /// With the leading dot.
    Below(String),
    Any,
}

#[derive(Debug)]
struct PathRule {
    /// Without a slash at its end; empty for `/`.
    prefix: String,
    endpoint: EndpointId,
}

impl Routes {
    /// The routes of a valid configuration.
    pub(crate) fn new(config: &Config) -> Self {
        let mut routes = Self {
            endpoints: Vec::new(),
            hosts: Vec::new(),
        };
        for endpoint in &config.endpoints {
            routes.add(endpoint, config.max_body_size);
        }
        if config.is_open() {
            routes.place(HostRule::Any, String::new());
            routes.endpoints.push(Served {
                name: "open".to_owned(),
                receivers: None,
                max_body: config.max_body_size.map(|size| size.0),
                requests: None,
            });
        }
        for (_, paths) in &mut routes.hosts {
            paths.sort_by_key(|p| std::cmp::Reverse(p.prefix.len()));
        }
        routes.hosts.sort_by_key(|(host, _)| match host {
            HostRule::Exact(_) => (0, 0),
            HostRule::Below(suffix) => (1, usize::MAX - suffix.len()),
            HostRule::Any => (2, 0),
        });
        routes
    }

    fn add(&mut self, endpoint: &Endpoint, max_body: Option<Size>) {
        let host = match &endpoint.host {
            None => HostRule::Any,
            Some(host) => match host.strip_prefix('*') {
                Some(suffix) => HostRule::Below(suffix.to_ascii_lowercase()),
                None => HostRule::Exact(host.to_ascii_lowercase()),
            },
        };
        self.place(host, endpoint.path.trim_end_matches('/').to_owned());
        self.endpoints.push(Served {
            name: endpoint.name.clone(),
            receivers: Some(endpoint.receivers.clone()),
            max_body: endpoint.max_body_size.or(max_body).map(|size| size.0),
            requests: endpoint.max_requests.map(|max| (Alive::default(), max)),
        });
    }

    /// Adds a rule for the endpoint that is pushed next.
    fn place(&mut self, host: HostRule, prefix: String) {
        let rule = PathRule {
            prefix,
            endpoint: self.endpoints.len(),
        };
        match self.hosts.iter_mut().find(|(h, _)| *h == host) {
            Some((_, paths)) => paths.push(rule),
            None => self.hosts.push((host, vec![rule])),
        }
    }

    /// The endpoints, in the order of their ids.
    pub(crate) fn endpoints(&self) -> &[Served] {
        &self.endpoints
    }

    /// The endpoints that a receiver of this name serves.
    pub(crate) fn served_by(&self, receiver: &str) -> impl Iterator<Item = EndpointId> {
        self.endpoints
            .iter()
            .enumerate()
            .filter(move |(_, e)| {
                e.receivers
                    .as_ref()
                    .is_none_or(|names| names.iter().any(|n| n == receiver))
            })
            .map(|(id, _)| id)
    }

    /// The endpoint of a request. `authority` is `host[:port]`, `target` origin-form or `*`.
    ///
    /// # Errors
    /// 404 where none matches, 400 where the path's spelling decides.
    pub(crate) fn find(&self, authority: &str, target: &str) -> Result<EndpointId, ProxyError> {
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        let path = if path == "*" { "/" } else { path };
        let host = host_of(authority);
        let paths = self
            .hosts
            .iter()
            .find(|(rule, _)| rule.matches(&host))
            .map_or(&[][..], |(_, paths)| paths);
        let found = longest(paths, path.as_bytes());
        if let Some(plain) = normalized(path.as_bytes())
            && longest(paths, &plain) != found
        {
            return Err(ProxyError::BadRequest(
                "the path is spelled in a way that would change where it goes",
            ));
        }
        found.ok_or(ProxyError::NoEndpoint)
    }
}

impl HostRule {
    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name == host,
            Self::Below(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
            Self::Any => true,
        }
    }
}

fn longest(paths: &[PathRule], path: &[u8]) -> Option<EndpointId> {
    paths
        .iter()
        .find(|rule| match path.strip_prefix(rule.prefix.as_bytes()) {
            Some(rest) => rest.is_empty() || rest[0] == b'/',
            None => false,
        })
        .map(|rule| rule.endpoint)
}

/// The host of an authority in lower case, without its port and without a dot at its end.
fn host_of(authority: &str) -> Cow<'_, str> {
    let host = match authority.rfind([':', ']']) {
        Some(at) if authority.as_bytes()[at] == b':' => &authority[..at],
        _ => authority,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// The path decoded once, with `\` read as `/`, and without dot and empty segments.
/// `None` where that changes nothing.
fn normalized(path: &[u8]) -> Option<Vec<u8>> {
    let odd = |w: &[u8]| matches!(w, b"//" | b"/.");
    if !path.iter().any(|b| matches!(b, b'%' | b'\\')) && !path.windows(2).any(odd) {
        return None;
    }
    let decoded = decode(path);
    let mut plain: Vec<u8> = Vec::with_capacity(decoded.len());
    let mut segments = decoded.split(|b| *b == b'/').peekable();
    segments.next();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b".." => {
                let parent = plain.iter().rposition(|b| *b == b'/').unwrap_or(0);
                plain.truncate(parent);
            }
            b"." | b"" => {}
            name => {
                plain.push(b'/');
                plain.extend_from_slice(name);
                continue;
            }
        }
        if last {
            plain.push(b'/');
        }
    }
    Some(plain)
}

fn decode(path: &[u8]) -> Vec<u8> {
    let hex = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let mut out = Vec::with_capacity(path.len());
    let mut at = 0;
    while at < path.len() {
        let mut byte = path[at];
        at += 1;
        if byte == b'%'
            && let (Some(high), Some(low)) = (hex(path.get(at)), hex(path.get(at + 1)))
        {
            byte = u8::try_from(high * 16 + low).unwrap_or(b'%');
            at += 2;
        }
        out.push(if byte == b'\\' { b'/' } else { byte });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(rules: &[(&str, Option<&str>, &str)]) -> Routes {
        let endpoints = rules
            .iter()
            .map(|(name, host, path)| Endpoint {
                name: (*name).to_owned(),
                host: host.map(str::to_owned),
                path: (*path).to_owned(),
                receivers: vec![format!("{name}-receiver")],
                ..Endpoint::default()
            })
            .collect();
        let config = Config {
            endpoints,
            ..Config::default()
        };
        config.validate().unwrap();
        Routes::new(&config)
    }

    fn find<'a>(routes: &'a Routes, authority: &str, target: &str) -> Result<&'a str, u16> {
        routes
            .find(authority, target)
            .map(|id| routes.endpoints()[id].name.as_str())
            .map_err(|e| e.status().as_u16())
    }

    #[test]
    fn the_longest_prefix_of_whole_segments_wins() {
        let r = routes(&[
            ("root", None, "/"),
            ("a", None, "/a"),
            ("ab", None, "/a/b/"),
        ]);
        for (target, name) in [
            ("/", "root"),
            ("*", "root"),
            ("/?a", "root"),
            ("/a", "a"),
            ("/a?x=/a/b", "a"),
            ("/a/", "a"),
            ("/ab", "root"),
            ("/a/b", "ab"),
            ("/a/b/c", "ab"),
            ("/a/bc", "a"),
        ] {
            assert_eq!(find(&r, "h", target), Ok(name), "{target}");
        }
    }

    #[test]
    fn hosts_are_exact_then_wildcard_then_any() {
        let r = routes(&[
            ("any", None, "/"),
            ("wide", Some("*.example.com"), "/"),
            ("deep", Some("*.b.example.com"), "/"),
            ("exact", Some("API.example.com"), "/v1"),
        ]);
        for (authority, name) in [
            ("other", Ok("any")),
            ("example.com", Ok("any")),
            ("x.example.com:8080", Ok("wide")),
            ("x.b.example.com", Ok("deep")),
            ("api.example.com", Err(404)),
            ("[::1]:80", Ok("any")),
        ] {
            assert_eq!(find(&r, authority, "/"), name, "{authority}");
        }
        assert_eq!(find(&r, "Api.Example.Com.:80", "/v1/x"), Ok("exact"));
    }

    #[test]
    fn a_spelling_that_changes_the_route_is_refused() {
        let r = routes(&[("root", None, "/"), ("admin", None, "/admin")]);
        for target in [
            "/%61dmin",
            "/x/../admin",
            "/x/%2e%2E/admin",
            "//admin",
            "/./admin/x",
            "/x\\..\\admin",
            "/admin/../x",
            "/%2fadmin",
            "/../admin",
            "/admin/..",
        ] {
            assert_eq!(find(&r, "h", target), Err(400), "{target}");
        }
        for (target, name) in [
            ("/a%20b", "root"),
            ("/x//y", "root"),
            ("/%zz", "root"),
            ("/%", "root"),
            ("/admin/%2e", "admin"),
            ("/admin/a%2Fb", "admin"),
            ("/.well-known/did.json", "root"),
            ("/%2561dmin", "root"),
            ("/admin%2f..%2fx", "root"),
            ("/..", "root"),
        ] {
            assert_eq!(find(&r, "h", target), Ok(name), "{target}");
        }
    }

    #[test]
    fn without_endpoints_everything_is_open() {
        let r = Routes::new(&Config::default());
        assert_eq!(find(&r, "", "/x/../y"), Ok("open"));
        assert_eq!(r.served_by("whoever").collect::<Vec<_>>(), [0]);
        let r = routes(&[("a", None, "/a")]);
        assert_eq!(find(&r, "h", "/b"), Err(404));
        assert_eq!(r.served_by("a-receiver").count(), 1);
        assert_eq!(r.served_by("b-receiver").count(), 0);
    }
}
