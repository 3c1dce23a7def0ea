//! What this service is called: the only names a signature may be meant for.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A public name of a service, as clients write it in URLs: a host name or address, with a port
/// where it is not the default of the scheme.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicName {
    /// In lower case; an IPv6 address has its brackets.
    host: String,
    port: Option<u16>,
}

/// Text that is no [`PublicName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "expected a host name with a port where clients write one, such as \"gateway.example\" or \"gateway.example:8765\""
)]
pub struct PublicNameError;

impl PublicName {
    /// The host, without a port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port that clients write, if any.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The same host with another port.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        Self {
            host: self.host.clone(),
            port: Some(port),
        }
    }

    /// True if `authority`, as a client wrote it in `Host`, is this name. Hosts know no case; the
    /// default ports of `ws` and `wss` may be left out on either side.
    pub fn is(&self, authority: &str) -> bool {
        let Ok(other) = authority.parse::<Self>() else {
            return false;
        };
        let default = |port: Option<u16>| matches!(port, None | Some(80 | 443));
        self.host == other.host
            && (self.port == other.port || default(self.port) && default(other.port))
    }
}

impl FromStr for PublicName {
    type Err = PublicNameError;

    fn from_str(text: &str) -> Result<Self, PublicNameError> {
        let end = text.rfind(']').map_or(0, |at| at + 1);
        let after = text.get(end..).unwrap_or_default();
        let (host, port) = match after.find(':') {
            Some(colon) => text.split_at(end + colon),
            None => (text, ""),
        };
        let port = match port.strip_prefix(':') {
            None => None,
            Some(digits) => Some(
                digits
                    .parse()
                    .ok()
                    .filter(|port| *port > 0 && digits.bytes().all(|b| b.is_ascii_digit()))
                    .ok_or(PublicNameError)?,
            ),
        };
        let inside = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let good = match inside {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                (1..=253).contains(&host.len())
                    && host
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
            }
        };
        if good {
            Ok(Self {
                host: host.to_ascii_lowercase(),
                port,
            })
        } else {
            Err(PublicNameError)
        }
    }
}

impl TryFrom<String> for PublicName {
    type Error = PublicNameError;

    fn try_from(text: String) -> Result<Self, PublicNameError> {
        text.parse()
    }
}

impl From<PublicName> for String {
    fn from(name: PublicName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for PublicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_hosts_with_or_without_a_port() {
        for text in [
            "gw.example",
            "gw.example:8765",
            "localhost",
            "127.0.0.1:1",
            "[::1]:8765",
            "[::1]",
        ] {
            assert_eq!(text.parse::<PublicName>().unwrap().to_string(), text);
        }
        for text in [
            "",
            ":1",
            "gw.example:",
            "gw.example:0",
            "gw.example:+1",
            "gw.example:65536",
            "a b",
            "a/b",
            "a@b",
            "ws://gw.example",
            "[::1",
            "::1",
            "[::1]x",
            "[x]",
            "gw.example:1:2",
        ] {
            assert_eq!(text.parse::<PublicName>(), Err(PublicNameError), "{text}");
        }
    }

    #[test]
    fn default_ports_may_be_left_out_and_others_may_not() {
        let is = |name: &str, authority| name.parse::<PublicName>().unwrap().is(authority);
        assert!(is("gw.example", "gw.example"));
        assert!(is("gw.example", "GW.example:443"));
        assert!(is("gw.example:80", "gw.example"));
        assert!(is("gw.example:8765", "gw.example:8765"));
        assert!(!is("gw.example", "gw.example:8765"));
        assert!(!is("gw.example:8765", "gw.example"));
        assert!(!is("gw.example", "evil.example"));
        assert!(!is("gw.example", "gw.example.evil.example"));
        assert!(!is("gw.example", "gw.example@evil.example"));
        assert!(!is("gw.example", ""));
    }
}
