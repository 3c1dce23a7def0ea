//! What a gateway does to requests and responses beside carrying them: off unless set, for every
//! endpoint or for one.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use anp_tunnel::units::{Size, Span};
use anpx::Fields;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    error::{ConfigError, fail},
    switch::{Known, Switch},
};

/// CORS (fetch.spec.whatwg.org): what scripts of other origins may do with an app.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// Origins such as `https://app.example`, or `*` for all of them.
    pub origins: Vec<String>,
    /// Methods a script may use, or `*`. Default GET, HEAD, POST, PUT, PATCH, DELETE.
    #[serde(default = "usual_methods")]
    pub methods: Vec<String>,
    /// Request headers a script may set, or `*`. Default `*`.
    #[serde(default = "any")]
    pub headers: Vec<String>,
    /// Response headers a script may read beside the usual ones, or `*`. Default none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expose: Vec<String>,
    /// Scripts may send cookies and other credentials. Default false.
    #[serde(default)]
    pub credentials: bool,
    /// How long a browser may remember what it was told. Default 1 h; browsers have limits of their
    /// own.
    #[serde(default = "hour")]
    pub max_age: Span,
}

fn usual_methods() -> Vec<String> {
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
        .map(str::to_owned)
        .to_vec()
}

fn any() -> Vec<String> {
    vec!["*".to_owned()]
}

fn hour() -> Span {
    Span::from_secs(3600)
}

impl Cors {
    pub(super) fn check(&self, key: &str) -> Result<(), ConfigError> {
        if self.origins.is_empty() {
            return fail(format!("{key}.origins"), "must name an origin, or \"*\"");
        }
        for origin in &self.origins {
            if origin != "*" && origin != "null" && !is_origin(origin) {
                return fail(
                    format!("{key}.origins"),
                    format!(
                        "{origin:?} is not an origin as browsers send it: scheme, host and port in \
                         lower case, such as \"https://app.example\", without a path and without a \
                         port that is the scheme's own"
                    ),
                );
            }
        }
        if self.credentials {
            for (field, names) in [("origins", &self.origins), ("expose", &self.expose)] {
                if names.iter().any(|n| n == "*") {
                    return fail(
                        format!("{key}.{field}"),
                        "\"*\" cannot be with credentials = true; name them",
                    );
                }
            }
            if self.origins.iter().any(|o| o == "null") {
                return fail(
                    format!("{key}.origins"),
                    "\"null\" is what any sandboxed page sends; it cannot be with credentials = true",
                );
            }
        }
        for (field, names) in [
            ("methods", &self.methods),
            ("headers", &self.headers),
            ("expose", &self.expose),
        ] {
            if let Some(name) = names.iter().find(|n| !is_token(n)) {
                return fail(format!("{key}.{field}"), format!("{name:?} is no name"));
            }
        }
        Ok(())
    }
}

/// Response headers that make browsers more careful: `true` for the usual ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecurityHeaders {
    /// Headers beside the usual ones or in place of them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
    /// Those of the usual ones that are not added.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// These count before those of the app. Default false.
    pub override_app: bool,
}

impl SecurityHeaders {
    pub(super) fn check(&self, key: &str) -> Result<(), ConfigError> {
        for (name, value) in &self.set {
            let lower = name.to_ascii_lowercase();
            let ours = lower.starts_with("access-control-")
                || matches!(
                    &*lower,
                    "content-length" | "content-type" | "date" | "set-cookie" | "vary"
                );
            if ours || Fields::from_pairs([(&lower, value)]).is_err() {
                return fail(
                    format!("{key}.set"),
                    format!("{name:?} with {value:?} is no header that can be set here"),
                );
            }
        }
        Ok(())
    }
}

/// What may be used of something by those who share it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimit {
    /// Requests in a time, such as `10/s`; one more is answered 429. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Rate>,
    /// Requests at once, where none came for a while. Default: the number of `requests`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// Bytes of bodies a second, both ways together; more are held back. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Size>,
}

impl RateLimit {
    pub(super) fn check(&self, key: &str) -> Result<(), ConfigError> {
        if self.requests.is_none() && self.bytes.is_none() {
            return fail(
                key,
                "limits nothing: name requests, such as \"10/s\", or bytes",
            );
        }
        if self.requests.is_none() && self.burst.is_some() {
            return fail(
                format!("{key}.burst"),
                "is of requests, which are not limited",
            );
        }
        if self
            .burst
            .is_some_and(|burst| !(1..=MAX_BURST).contains(&burst))
        {
            return fail(format!("{key}.burst"), format!("must be 1 to {MAX_BURST}"));
        }
        if self.bytes.is_some_and(|bytes| bytes.0 < 1 << 10) {
            return fail(format!("{key}.bytes"), "must be 1KiB a second at least");
        }
        Ok(())
    }
}

/// Most requests that may be saved up: at one an hour they take a hundred years, which still fits
/// what the limiter counts time in.
const MAX_BURST: u32 = 1_000_000;

/// A number in a time, written `10/s`, `600/m` or `1000/h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many, 1 at least.
    pub count: u32,
    /// In how many seconds: 1, 60 or 3600.
    pub seconds: u32,
}

const UNITS: [(&str, u32); 3] = [("s", 1), ("m", 60), ("h", 3600)];

impl Rate {
    /// The time from one to the next.
    pub(crate) fn interval(&self) -> Duration {
        Duration::from_secs(self.seconds.into()) / self.count.max(1)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (count, unit) = text.split_once('/')?;
            let count = count
                .trim()
                .parse()
                .ok()
                .filter(|n| (1..=1_000_000).contains(n))?;
            let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit.trim())?;
            Some(Self {
                count,
                seconds: *seconds,
            })
        };
        read().ok_or_else(|| {
            format!(
                "{text:?} is not a rate: expected 1 to 1000000 and /s, /m or /h, such as \"10/s\""
            )
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(_, seconds)| *seconds == self.seconds);
        write!(f, "{}/{}", self.count, unit.map_or("s", |(name, _)| name))
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Checks limits, each with its key, as [`check`] does.
pub(super) fn check_rates(
    limits: &[(&str, &Option<Switch<RateLimit>>)],
) -> Result<(), ConfigError> {
    for (key, limit) in limits {
        if let Some(Switch::On(limit)) = limit {
            limit.check(key)?;
        }
    }
    Ok(())
}

/// An origin as browsers serialise it.
fn is_origin(origin: &str) -> bool {
    let Some((scheme, rest)) = origin.split_once("://") else {
        return false;
    };
    let (host, port) = match rest.rfind([':', ']']) {
        Some(at) if rest.as_bytes()[at] == b':' => (&rest[..at], Some(&rest[at + 1..])),
        _ => (rest, None),
    };
    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let name = |b: u8| lower(b) || matches!(b, b'.' | b'-' | b'_');
    let literal = host.starts_with('[') && host.ends_with(']');
    let port = port.is_none_or(|port| {
        let usual = matches!((scheme, port), ("http", "80") | ("https", "443"));
        port.parse::<u16>().is_ok_and(|p| p.to_string() == port) && !usual
    });
    !scheme.is_empty()
        && scheme
            .bytes()
            .all(|b| lower(b) || matches!(b, b'+' | b'-' | b'.'))
        && !host.is_empty()
        && (literal || host.bytes().all(name))
        && port
}

/// A token (RFC 9110 section 5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    (1..=256).contains(&text.len()) && text.bytes().all(token)
}

impl Known for Cors {
    const EXPECTED: &'static str =
        "false, or a table such as {origins = [\"https://app.example\"]}";
}

impl Known for RateLimit {
    const EXPECTED: &'static str = "false, or a table such as {requests = \"10/s\", burst = 20}";
}

impl Known for SecurityHeaders {
    const EXPECTED: &'static str =
        "true, false, or a table such as {set = {x-frame-options = \"DENY\"}}";

    fn by_true() -> Option<Self> {
        Some(Self::default())
    }
}
