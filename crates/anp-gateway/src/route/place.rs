//! Where an endpoint is.

use std::fmt;

/// A host and a path prefix of whole segments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// In lower case.
    pub(crate) host: HostRule,
    /// Without a slash at its end; empty for `/`.
    pub(crate) prefix: String,
}

/// The hosts of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum HostRule {
    /// This one.
    Exact(String),
    /// Every name that ends so; with the leading dot.
    Below(String),
    /// All that no endpoint names.
    Any,
}

impl Place {
    /// The place of a valid `host` and `path`.
    pub(crate) fn new(host: Option<&str>, path: &str) -> Self {
        Self {
            host: match host.map(str::to_ascii_lowercase) {
                None => HostRule::Any,
                Some(host) => match host.strip_prefix('*') {
                    Some(suffix) => HostRule::Below(suffix.to_owned()),
                    None => HostRule::Exact(host),
                },
            },
            prefix: path.trim_end_matches('/').to_owned(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            HostRule::Exact(host) => f.write_str(host)?,
            HostRule::Below(suffix) => write!(f, "*{suffix}")?,
            HostRule::Any => f.write_str("*")?,
        }
        match self.prefix.as_str() {
            "" => f.write_str("/"),
            prefix => f.write_str(prefix),
        }
    }
}
