//! Which peers are believed when they say whom they speak for.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Addresses with a common prefix, written `10.0.0.0/8` or `2001:db8::/32`; a single address needs no
/// prefix. IPv4 in the clothes of IPv6 (`::ffff:10.0.0.0/104`) is IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    /// Bits that must be equal: at most as many as `base` has.
    prefix: u8,
}

/// Why a [`Network`] could not be read. `Display` quotes the text and says what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// No address, or none before the slash.
    #[error(
        "{0:?} is no address or network: expected such as \"10.0.0.0/8\", \"2001:db8::/32\" or \
         \"192.0.2.7\""
    )]
    Address(String),
    /// What is behind the slash is no number, or larger than an address is long.
    #[error("{text:?}: the prefix of this network is a number from 0 to {max}")]
    Prefix {
        /// The network as it was written.
        text: String,
        /// The bits of an address.
        max: u8,
    },
    /// The address is one of a network's, and not its first.
    #[error(
        "{text:?} is not the first address of its network; write \"{network}\" if that is meant"
    )]
    HostBits {
        /// The network as it was written.
        text: String,
        /// The network that holds the address.
        network: Network,
    },
}

impl Network {
    /// True where `address` is one of the network's. An IPv4 address is the same in both of its
    /// forms.
    pub fn contains(&self, address: IpAddr) -> bool {
        masked(address.to_canonical(), self.prefix) == Some(self.base)
    }
}

/// True where any of `networks` holds `address`.
pub(crate) fn holds(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// `address` with nothing behind its first `prefix` bits; `None` where it has fewer.
fn masked(address: IpAddr, prefix: u8) -> Option<IpAddr> {
    let cleared = u32::from(bits(address).checked_sub(prefix)?);
    Some(match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(cleared).unwrap_or(0);
            IpAddr::V4((u32::from(v4) & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(cleared).unwrap_or(0);
            IpAddr::V6((u128::from(v6) & mask).into())
        }
    })
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(NetworkError::Address(text.to_owned()));
        };
        let max = bits(address);
        let prefix = match prefix {
            None => max,
            Some(digits) => number(digits)
                .filter(|prefix| *prefix <= max)
                .ok_or_else(|| NetworkError::Prefix {
                    text: text.to_owned(),
                    max,
                })?,
        };
        // The 96 bits before a mapped address are no part of it; a shorter prefix is plain IPv6.
        let (address, prefix) = match (address.to_canonical(), prefix.checked_sub(96)) {
            (v4 @ IpAddr::V4(_), Some(prefix)) if address.is_ipv6() => (v4, prefix),
            _ => (address, prefix),
        };
        let base = masked(address, prefix).unwrap_or(address);
        let network = Self { base, prefix };
        if base != address {
            return Err(NetworkError::HostBits {
                text: text.to_owned(),
                network,
            });
        }
        Ok(network)
    }
}

/// Digits alone, without leading zeros.
fn number(digits: &str) -> Option<u8> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit());
    let plain = plain && (digits.len() == 1 || !digits.starts_with('0'));
    plain.then(|| digits.parse().ok()).flatten()
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NetworkVisitor)
    }
}

struct NetworkVisitor;

impl de::Visitor<'_> for NetworkVisitor {
    type Value = Network;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address or network, such as \"10.0.0.0/8\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Network, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn what_a_network_holds() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("192.0.2.128/25", "192.0.2.128", "192.0.2.127"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.7/32", "::ffff:192.0.2.7", "::c000:207"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("::1/128", "::1", "::2"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::/0", "2001:db8::1", "127.0.0.1"),
            ("::ffff:10.0.0.0/104", "10.1.2.3", "11.0.0.0"),
            ("::ffff:10.0.0.1", "10.0.0.1", "10.0.0.2"),
        ] {
            let network = network(text);
            assert!(network.contains(inside.parse().unwrap()), "{text} {inside}");
            assert!(
                !network.contains(outside.parse().unwrap()),
                "{text} {outside}"
            );
        }
        assert!(!holds(&[], "127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn mistakes_say_what_was_expected() {
        let error = |text: &str| text.parse::<Network>().unwrap_err().to_string();
        for text in [
            "",
            "/8",
            "10/8",
            "010.0.0.0/8",
            "localhost",
            "[::1]",
            "fe80::1%eth0",
        ] {
            let error = error(text);
            assert!(error.contains("is no address or network"), "{error}");
        }
        for text in [
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0.0/8/8",
        ] {
            let error = error(text);
            assert!(error.ends_with("a number from 0 to 32"), "{error}");
        }
        assert!(error("::/129").ends_with("a number from 0 to 128"));
        assert_eq!(
            error("10.1.2.3/8"),
            "\"10.1.2.3/8\" is not the first address of its network; write \"10.0.0.0/8\" if that \
             is meant"
        );
        assert!(error("::ffff:10.1.2.3/104").contains("write \"10.0.0.0/8\""));
        assert!(error("::1/64").contains("write \"::/64\""));
    }

    #[test]
    fn they_come_back_as_written() {
        for text in ["10.0.0.0/8", "::1/128"] {
            assert_eq!(network(text).to_string(), text);
        }
        let json = r#"["10.0.0.0/8","192.0.2.7"]"#;
        let read: Vec<Network> = serde_json::from_str(json).unwrap();
        let written = serde_json::to_string(&read).unwrap();
        assert_eq!(written, r#"["10.0.0.0/8","192.0.2.7/32"]"#);
        let error = serde_json::from_str::<Network>("8")
            .unwrap_err()
            .to_string();
        assert!(error.contains("an address or network"), "{error}");
    }
}
