//! Where an endpoint is.

use std::{fmt, sync::Arc};

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

/// What a receiver asked for, of what is its owner's: all of that where it asked for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wishes(Arc<[Place]>);

impl Wishes {
    /// True where a receiver with these wishes serves the endpoint of this place.
    pub(crate) fn include(&self, place: &Place) -> bool {
        self.0.is_empty() || self.0.contains(place)
    }

    /// Each place that was asked for.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Place> {
        self.0.iter()
    }
}

impl FromIterator<Place> for Wishes {
    fn from_iter<I: IntoIterator<Item = Place>>(places: I) -> Self {
        Self(places.into_iter().collect())
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
