//! Who proved to be there: an identity, or the holder of a pre-shared token.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::did::{Did, DidError};

/// Longest name of a token, in bytes.
pub const MAX_NAME_LEN: usize = 64;

/// Somebody who proved to be there. Written as the DID, or as `token:NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Subject {
    /// An identity.
    Did(Did),
    /// The name of a pre-shared token.
    Token(String),
}

/// Why text names no [`Subject`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SubjectError {
    /// It is no DID.
    #[error(transparent)]
    Did(#[from] DidError),
    /// The name of the token is empty, too long or has other characters.
    #[error("the name of a token is not 1 to {MAX_NAME_LEN} of 0-9 A-Z a-z . _ -")]
    Name,
}

impl FromStr for Subject {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        match text.strip_prefix("token:") {
            Some(name) if is_name(name) => Ok(Self::Token(name.to_owned())),
            Some(_) => Err(SubjectError::Name),
            None => Ok(Self::Did(text.parse()?)),
        }
    }
}

impl TryFrom<String> for Subject {
    type Error = SubjectError;

    fn try_from(text: String) -> Result<Self, SubjectError> {
        text.parse()
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.to_string()
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Did(did) => did.fmt(f),
            Self::Token(name) => write!(f, "token:{name}"),
        }
    }
}

/// What tokens may be called.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_LEN).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for text in ["did:wba:a.example:bob", "token:lab-1"] {
            assert_eq!(text.parse::<Subject>().unwrap().to_string(), text);
        }
        for text in ["token:", "token:a b", &format!("token:{}", "a".repeat(65))] {
            assert_eq!(text.parse::<Subject>(), Err(SubjectError::Name), "{text}");
        }
        assert!(matches!(
            "lab-1".parse::<Subject>(),
            Err(SubjectError::Did(_))
        ));
    }
}
