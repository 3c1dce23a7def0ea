//! Who holds a tunnel, and so which endpoints it serves.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Who is at the other end of a tunnel. Its text form is what configurations and logs show.
///
/// ```
/// use anp_gateway::Owner;
///
/// assert_eq!("token:lab".parse(), Ok(Owner::Token("lab".into())));
/// assert_eq!(Owner::Name("laptop".into()).to_string(), "laptop");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// A decentralised identity that was proved.
    Did(String),
    /// The name of a pre-shared token that was shown.
    Token(String),
    /// A name that was given and proves nothing.
    Name(String),
}

/// A text that names no owner.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no owner: expected did:…, token:NAME, or a name of 1 to 64 of 0-9 A-Z a-z . _ -")]
pub struct OwnerError(String);

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Did(did) => f.write_str(did),
            Self::Token(name) => write!(f, "token:{name}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl FromStr for Owner {
    type Err = OwnerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |b: u8| b.is_ascii_graphic();
        if text.starts_with("did:") && text.len() <= 1024 && text.bytes().all(plain) {
            return Ok(Self::Did(text.to_owned()));
        }
        match text.strip_prefix("token:") {
            Some(name) if is_name(name) => Ok(Self::Token(name.to_owned())),
            None if is_name(text) => Ok(Self::Name(text.to_owned())),
            _ => Err(OwnerError(text.to_owned())),
        }
    }
}

impl Serialize for Owner {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Owner {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(OwnerVisitor)
    }
}

struct OwnerVisitor;

impl de::Visitor<'_> for OwnerVisitor {
    type Value = Owner;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an owner, such as \"did:wba:example.com:alice\" or \"token:lab\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Owner, E> {
        text.parse().map_err(E::custom)
    }
}

/// True for a name of a receiver, a token or an endpoint: 1 to 64 of `[0-9A-Za-z._-]`.
pub(crate) fn is_name(name: &str) -> bool {
    let byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=64).contains(&name.len()) && name.bytes().all(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_read_as_they_are_written() {
        for text in ["did:wba:a.example:user:b", "token:lab-1", "laptop"] {
            assert_eq!(text.parse::<Owner>().unwrap().to_string(), text);
        }
        for text in ["", "token:", "token:a b", "a b", "a:b", "did:wba:a b"] {
            let error = text.parse::<Owner>().unwrap_err().to_string();
            assert!(error.contains("is no owner"), "{error}");
        }
    }
}
