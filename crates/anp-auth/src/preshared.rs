//! Pre-shared tokens, for those without an identity yet: 256 random bits, of which only the hash is
//! kept.

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, PoisonError, RwLock},
};

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    digest::{SHA256, digest},
    rand::fill,
};
use base64::Engine;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{encoding::BASE64URL, subject::is_name};

/// What every token begins with, so that scanners find those that leaked.
pub(crate) const PREFIX: &str = "anp_";

/// The SHA-256 of a token, written `sha256:` and base64url. A token has 256 random bits: no salt and
/// no slow hash would make it harder to guess.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenHash([u8; 32]);

/// Text that is no [`TokenHash`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "expected the hash of a token as \"anp-proxy token new\" prints it: \"sha256:\" and 43 characters"
)]
pub struct TokenHashError;

/// Hashes of tokens by the names of their owners. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct PresharedTokens {
    entries: Arc<RwLock<Vec<(String, TokenHash)>>>,
}

/// A name that is no [`crate::Subject::Token`], or occurs twice.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PresharedError {
    /// The name has characters that it cannot have.
    #[error("{0:?} is no name of a token: expected 1 to 64 of 0-9 A-Z a-z . _ -")]
    Name(String),
    /// Two tokens have one hash.
    #[error("the tokens {0:?} and {1:?} are the same")]
    Same(String, String),
}

/// Makes a token: the text, which is shown once, and the hash, which is kept. `None` if the system
/// has no randomness.
pub fn new_token() -> Option<(String, TokenHash)> {
    let mut secret = [0; 32];
    fill(&mut secret).ok()?;
    let token = format!("{PREFIX}{}", BASE64URL.encode(secret));
    let hash = TokenHash::of(&token);
    Some((token, hash))
}

impl TokenHash {
    /// The hash of `token`.
    pub fn of(token: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(hash)
    }
}

impl PresharedTokens {
    /// With these names and hashes. A name may have several tokens, so that one can replace another.
    ///
    /// # Errors
    ///
    /// [`PresharedError`].
    pub fn new(
        entries: impl IntoIterator<Item = (String, TokenHash)>,
    ) -> Result<Self, PresharedError> {
        let tokens = Self::default();
        tokens.replace(entries)?;
        Ok(tokens)
    }

    /// Puts others in their place. Who is connected has to be asked about again:
    /// [`has`](Self::has).
    ///
    /// # Errors
    ///
    /// [`PresharedError`]; nothing is changed.
    pub fn replace(
        &self,
        entries: impl IntoIterator<Item = (String, TokenHash)>,
    ) -> Result<(), PresharedError> {
        let mut new: Vec<(String, TokenHash)> = Vec::new();
        for (name, hash) in entries {
            if !is_name(&name) {
                return Err(PresharedError::Name(name));
            }
            if let Some((other, _)) = new.iter().find(|(_, known)| *known == hash) {
                return Err(PresharedError::Same(other.clone(), name));
            }
            new.push((name, hash));
        }
        *self.entries.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// The name and hash of `token`, if it is known. Takes the same time whichever it is.
    pub fn verify(&self, token: &str) -> Option<(String, TokenHash)> {
        if !token.starts_with(PREFIX) {
            return None;
        }
        let hash = TokenHash::of(token);
        let mut found = None;
        for entry in self.read().iter() {
            if verify_slices_are_equal(&entry.1.0, &hash.0).is_ok() {
                found = Some(entry.clone());
            }
        }
        found
    }

    /// True as long as the token of this name and hash is known.
    pub fn has(&self, name: &str, hash: &TokenHash) -> bool {
        self.read()
            .iter()
            .any(|entry| entry.0 == name && entry.1 == *hash)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Vec<(String, TokenHash)>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FromStr for TokenHash {
    type Err = TokenHashError;

    fn from_str(text: &str) -> Result<Self, TokenHashError> {
        let text = text.strip_prefix("sha256:").ok_or(TokenHashError)?;
        let bytes = BASE64URL.decode(text).map_err(|_| TokenHashError)?;
        Ok(Self(bytes.try_into().map_err(|_| TokenHashError)?))
    }
}

impl TryFrom<String> for TokenHash {
    type Error = TokenHashError;

    fn try_from(text: String) -> Result<Self, TokenHashError> {
        text.parse()
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> Self {
        hash.to_string()
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", BASE64URL.encode(self.0))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_hash_alone() {
        let (token, hash) = new_token().unwrap();
        assert_eq!((token.len(), token.starts_with("anp_")), (47, true));
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert!(!format!("{hash:?}").contains(&token));
        let tokens = PresharedTokens::new([("lab".to_owned(), hash)]).unwrap();
        assert_eq!(tokens.verify(&token), Some(("lab".to_owned(), hash)));
        let (other, _) = new_token().unwrap();
        for text in [
            "",
            "anp_",
            &other,
            &token[4..],
            &token[..46],
            &format!("{token}x"),
        ] {
            assert_eq!(tokens.verify(text), None, "{text}");
        }
    }

    #[test]
    fn a_removed_token_is_gone_and_a_second_of_one_name_is_not() {
        let [(_, a), (b_token, b)] = [new_token().unwrap(), new_token().unwrap()];
        let lab = |hash| ("lab".to_owned(), hash);
        let tokens = PresharedTokens::new([lab(a), lab(b)]).unwrap();
        tokens.replace([lab(b)]).unwrap();
        assert!(!tokens.has("lab", &a));
        assert!(tokens.has("lab", &b) && tokens.verify(&b_token).is_some());
        assert!(matches!(
            tokens.replace([lab(b), ("x".to_owned(), b)]),
            Err(PresharedError::Same(..))
        ));
        assert!(matches!(
            tokens.replace([("a b".to_owned(), b)]),
            Err(PresharedError::Name(_))
        ));
        assert!(tokens.has("lab", &b));
    }

    #[test]
    fn other_hashes_are_refused() {
        for text in [
            "",
            "sha256:",
            "sha256:AAAA",
            "md5:AAAA",
            &new_token().unwrap().0,
        ] {
            assert_eq!(text.parse::<TokenHash>(), Err(TokenHashError), "{text}");
        }
    }
}
