//! `did:wba` identifiers: a grammar stricter than the method's, so that everything accepted can be
//! turned into one URL of one host and nothing else.

use std::{fmt, str::FromStr, sync::Arc};

use thiserror::Error;

/// Longest identifier accepted, in bytes.
pub const MAX_DID_LEN: usize = 512;

/// Longest path segment accepted, in bytes.
const MAX_SEGMENT_LEN: usize = 128;

const PREFIX: &str = "did:wba:";

/// A `did:wba` identifier (did:wba method specification, section 2.2).
///
/// `did:wba:HOST[%3APORT][:SEGMENT]*`, where the host is a lower-case DNS name, never an address,
/// and segments are letters, digits, `.`, `_`, `~` and `-`. Nothing is decoded or normalised: two
/// identifiers are the same if their bytes are. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Did {
    text: Arc<str>,
    host_end: usize,
    /// Where the first segment starts; the length of `text` if there is none.
    path_start: usize,
    port: Option<u16>,
}

/// Which key a DID names in its last segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyBinding {
    /// `e1_`: the thumbprint of an Ed25519 key.
    E1,
    /// `k1_`: the thumbprint of a secp256k1 key.
    K1,
}

/// Why text is no acceptable `did:wba`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DidError {
    /// Longer than [`MAX_DID_LEN`].
    #[error("the DID is longer than {MAX_DID_LEN} bytes")]
    TooLong,
    /// Another DID method, or none.
    #[error("the DID does not start with \"did:wba:\"")]
    Method,
    /// Not a lower-case DNS name.
    #[error("the host of the DID is not a lower-case DNS name")]
    Host,
    /// An IP address, in whatever notation.
    #[error("the host of the DID is an address")]
    Address,
    /// Not `%3A` and a number from 1 to 65535 without leading zeros.
    #[error("the port of the DID is not \"%3A\" and a number from 1 to 65535")]
    Port,
    /// An empty, overlong or dot segment, or one with other characters.
    #[error(
        "a path segment of the DID is empty, \".\", \"..\", too long or has characters other than letters, digits, \".\", \"_\", \"~\" and \"-\""
    )]
    Segment,
}

impl Did {
    /// The identifier as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host, without a port.
    pub fn host(&self) -> &str {
        self.text
            .get(PREFIX.len()..self.host_end)
            .unwrap_or_default()
    }

    /// The port, where one is written.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The path segments, in order. None for the DID of a whole domain.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        let path = self.text.get(self.path_start..).unwrap_or_default();
        path.split(':').filter(|segment| !segment.is_empty())
    }

    /// The path segments without the one that names the key: what the owner is called.
    pub fn owner_segments(&self) -> impl Iterator<Item = &str> {
        let bound = usize::from(self.binding().is_some());
        let count = self.segments().count() - bound;
        self.segments().take(count)
    }

    /// The key that the last segment names, if it starts with `e1_` or `k1_`.
    pub fn binding(&self) -> Option<KeyBinding> {
        let last = self.segments().next_back()?;
        if last.starts_with("e1_") {
            Some(KeyBinding::E1)
        } else if last.starts_with("k1_") {
            Some(KeyBinding::K1)
        } else {
            None
        }
    }

    /// The path under which the document is served (did:wba method specification, section 2.5.2).
    pub fn document_path(&self) -> String {
        let mut path = String::new();
        for segment in self.segments() {
            path.push('/');
            path.push_str(segment);
        }
        if path.is_empty() {
            path.push_str("/.well-known");
        }
        path.push_str("/did.json");
        path
    }

    /// `host` or `host:port`, as a URL has it.
    pub fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host()),
            None => self.host().to_owned(),
        }
    }

    /// Where the document is served. Always `https`.
    pub fn document_url(&self) -> String {
        format!("https://{}{}", self.authority(), self.document_path())
    }
}

impl FromStr for Did {
    type Err = DidError;

    fn from_str(text: &str) -> Result<Self, DidError> {
        if text.len() > MAX_DID_LEN {
            return Err(DidError::TooLong);
        }
        let rest = text.strip_prefix(PREFIX).ok_or(DidError::Method)?;
        let (authority, path) = match rest.split_once(':') {
            Some((authority, path)) => (authority, Some(path)),
            None => (rest, None),
        };
        let (host, port) = match authority.split_once('%') {
            Some((host, port)) => (host, Some(parse_port(port)?)),
            None => (authority, None),
        };
        check_host(host)?;
        if let Some(path) = path {
            path.split(':').try_for_each(check_segment)?;
        }
        Ok(Self {
            host_end: PREFIX.len() + host.len(),
            path_start: text.len() - path.map_or(0, str::len),
            text: text.into(),
            port,
        })
    }
}

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The port after `%`, which must be written `3A443`.
fn parse_port(text: &str) -> Result<u16, DidError> {
    let digits = text.strip_prefix("3A").ok_or(DidError::Port)?;
    if digits.starts_with('0') || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(DidError::Port);
    }
    digits.parse().map_err(|_| DidError::Port)
}

/// Accepts lower-case DNS names (RFC 1123 section 2.1) that no URL parser takes for an address.
pub(crate) fn check_host(host: &str) -> Result<(), DidError> {
    if host.is_empty() || host.len() > 253 || !host.split('.').all(is_label) {
        return Err(DidError::Host);
    }
    // A name whose last label is a number is an IPv4 address to URL parsers (WHATWG URL, "ends in a
    // number"), and `127.1` or `0x7f000001` are addresses to `getaddrinfo`.
    let last = host.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x");
    if last.bytes().all(|b| b.is_ascii_digit())
        || hex.is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        return Err(DidError::Address);
    }
    Ok(())
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn check_segment(segment: &str) -> Result<(), DidError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'-');
    if segment.is_empty()
        || segment.len() > MAX_SEGMENT_LEN
        || matches!(segment, "." | "..")
        || !segment.bytes().all(allowed)
    {
        return Err(DidError::Segment);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn did(text: &str) -> Did {
        text.parse().unwrap()
    }

    #[test]
    fn tells_its_parts() {
        let plain = did("did:wba:example.com");
        assert_eq!(
            plain.document_url(),
            "https://example.com/.well-known/did.json"
        );
        assert_eq!(plain.segments().count(), 0);
        assert_eq!(plain.owner_segments().count(), 0);
        assert_eq!(plain.binding(), None);

        let bound = did("did:wba:a.example%3A8443:user:alice:e1_abc-DEF");
        assert_eq!((bound.host(), bound.port()), ("a.example", Some(8443)));
        assert_eq!(
            bound.segments().collect::<Vec<_>>(),
            ["user", "alice", "e1_abc-DEF"]
        );
        assert_eq!(
            bound.owner_segments().collect::<Vec<_>>(),
            ["user", "alice"]
        );
        assert_eq!(bound.binding(), Some(KeyBinding::E1));
        assert_eq!(
            bound.document_url(),
            "https://a.example:8443/user/alice/e1_abc-DEF/did.json"
        );
        assert_eq!(
            did("did:wba:a.example:k1_x").binding(),
            Some(KeyBinding::K1)
        );
        assert_eq!(did("did:wba:a.example:e1_x:bob").binding(), None);
    }

    /// Row 5 of the threats.
    #[test]
    fn refuses_what_could_lead_elsewhere() {
        for (text, error) in [
            ("", DidError::Method),
            ("did:web:example.com", DidError::Method),
            ("DID:WBA:example.com", DidError::Method),
            ("did:wba:", DidError::Host),
            ("did:wba:Example.com", DidError::Host),
            ("did:wba:exa mple.com", DidError::Host),
            ("did:wba:example.com.", DidError::Host),
            ("did:wba:.example.com", DidError::Host),
            ("did:wba:-a.example", DidError::Host),
            ("did:wba:user@example.com", DidError::Host),
            ("did:wba:example.com/x", DidError::Host),
            ("did:wba:example.com?x", DidError::Host),
            ("did:wba:example.com#x", DidError::Host),
            ("did:wba:ex\u{e4}mple.com", DidError::Host),
            ("did:wba:[::1]", DidError::Host),
            ("did:wba:127.0.0.1", DidError::Address),
            ("did:wba:127.1", DidError::Address),
            ("did:wba:2130706433", DidError::Address),
            ("did:wba:0x7f000001", DidError::Address),
            ("did:wba:0x7f.0x1", DidError::Address),
            ("did:wba:0x", DidError::Address),
            ("did:wba:example.com%3A", DidError::Port),
            ("did:wba:example.com%3A0", DidError::Port),
            ("did:wba:example.com%3A080", DidError::Port),
            ("did:wba:example.com%3A65536", DidError::Port),
            ("did:wba:example.com%3A+80", DidError::Port),
            ("did:wba:example.com%3a80", DidError::Port),
            ("did:wba:example.com%40evil.example", DidError::Port),
            ("did:wba:example.com%2Fx", DidError::Port),
            ("did:wba:user%40example.com", DidError::Port),
            ("did:wba:example.com:", DidError::Segment),
            ("did:wba:example.com::x", DidError::Segment),
            ("did:wba:example.com:.", DidError::Segment),
            ("did:wba:example.com:..:x", DidError::Segment),
            ("did:wba:example.com:%2e%2e", DidError::Segment),
            ("did:wba:example.com:a%2Fb", DidError::Segment),
            ("did:wba:example.com:a/b", DidError::Segment),
            ("did:wba:example.com:a?b", DidError::Segment),
            ("did:wba:example.com:a#key-1", DidError::Segment),
            ("did:wba:example.com:a\\b", DidError::Segment),
        ] {
            assert_eq!(text.parse::<Did>(), Err(error), "{text}");
        }
        let long = format!("did:wba:example.com:{}", "a:".repeat(300));
        assert_eq!(long.parse::<Did>(), Err(DidError::TooLong));
        let segment = format!("did:wba:example.com:{}", "a".repeat(129));
        assert_eq!(segment.parse::<Did>(), Err(DidError::Segment));
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_one_plain_url(text in "did:wba:[a-z0-9.%A@/:_-]{1,40}") {
            if let Ok(did) = text.parse::<Did>() {
                prop_assert_eq!(did.as_str(), &text);
                let url = did.document_url();
                let rest = url.strip_prefix("https://").unwrap();
                let (authority, path) = rest.split_once('/').unwrap();
                prop_assert_eq!(authority, did.authority());
                prop_assert!(!path.contains(['%', '?', '#', '@', '\\']));
                prop_assert!(path.split('/').all(|s| !matches!(s, "" | "." | "..")));
            }
        }

        #[test]
        fn any_text_gives_a_value_or_an_error(text in any::<String>()) {
            let _ = text.parse::<Did>();
            let _ = format!("did:wba:{text}").parse::<Did>();
        }
    }
}
