//! What there is of callers who came by plain HTTP.

use std::sync::atomic::AtomicU64;

use super::HTTPS;
use crate::{alive::Alive, config::Config};

/// What there is of callers who came by plain HTTP.
#[derive(Debug)]
pub(crate) struct Redirects {
    /// Their connections.
    pub(crate) connections: Alive,
    /// Requests that were sent on.
    pub(crate) sent_on: AtomicU64,
    /// The port of the public listener.
    listens: u16,
}

impl Redirects {
    /// To a public listener at this port.
    pub(crate) fn to(listens: u16) -> Self {
        Self {
            connections: Alive::default(),
            sent_on: AtomicU64::new(0),
            listens,
        }
    }

    /// The port at which callers find the public listener.
    pub(super) fn port(&self, config: &Config) -> u16 {
        match &config.public_url {
            // Also of other hosts: whatever maps that port to ours does so for each of them.
            Some(url) if url.is_https() => url.name().port().unwrap_or(HTTPS),
            _ => self.listens,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_that_which_callers_use() {
        let port = |url: Option<&str>| {
            let config = Config {
                public_url: url.map(|url| url.parse().unwrap()),
                ..Config::default()
            };
            Redirects::to(8443).port(&config)
        };
        for (url, expected) in [
            (None, 8443),
            (Some("https://gate.example"), 443),
            (Some("https://gate.example:9443"), 9443),
            // Not where https is.
            (Some("http://gate.example:8080"), 8443),
        ] {
            assert_eq!(port(url), expected, "{url:?}");
        }
    }
}
