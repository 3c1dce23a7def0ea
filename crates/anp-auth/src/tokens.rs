//! Short-lived tokens: who proved an identity need not do it again at once. JWTs (RFC 7519) signed
//! with Ed25519 (RFC 8037), good for one audience and one issuer.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use anp::PrivateKeyMaterial;
use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::fill,
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::Engine;
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode,
    errors::ErrorKind,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    did::{Did, DidError},
    document::KeyMark,
    encoding::BASE64URL,
    keyfile::{KeyFileError, read_secret, write_secret},
};

/// How far ahead of ours the clock may be by which a token was issued, in seconds: several gateways
/// can share a key.
const AHEAD: i64 = 60;

/// Issues tokens and knows them again.
pub struct Tokens {
    issuer: String,
    audience: String,
    /// In seconds.
    lifetime: i64,
    file: Option<PathBuf>,
    keys: RwLock<Keys>,
}

/// A token and for how long it is good.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// The token.
    pub token: String,
    /// From now, in seconds.
    pub expires_in: i64,
}

/// What a good token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Whom it was issued to.
    pub did: Did,
    /// When it ends, in seconds since 1970.
    pub expires_at: i64,
    /// The key whose signature got it, where that is said.
    pub key: Option<KeyMark>,
}

/// Why a token is not good.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenError {
    /// No JWT, or one that is not signed with EdDSA by one of our keys for us.
    #[error("the token is not ours: {0}")]
    Invalid(&'static str),
    /// Signed by a key that is not there (any more).
    #[error("the key of the token is not known")]
    UnknownKey,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// It was issued in the future.
    #[error("the token was issued in the future")]
    Early,
    /// It is for something that is no DID.
    #[error("the subject of the token: {0}")]
    Subject(#[from] DidError),
}

/// Why there is no key to sign tokens with.
#[derive(Debug, Error)]
pub enum TokenKeyError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// It has another key, or none.
    #[error("{}: expected an Ed25519 private key in PEM (PKCS #8)", .0.display())]
    Key(PathBuf),
    /// The system has no randomness.
    #[error("no key could be made")]
    Random,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    iat: i64,
    exp: i64,
    jti: String,
    /// The key that got it; not there in tokens of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

struct Keys {
    current: Key,
    /// Keys that were replaced, and until when tokens of theirs are good.
    old: Vec<(Key, i64)>,
    /// What the file looked like when it was read.
    seen: Option<Stamp>,
}

struct Key {
    id: String,
    encoding: EncodingKey,
    decoding: DecodingKey,
}

type Stamp = (SystemTime, u64);

impl Tokens {
    /// With the key in `file`, which is made if it is not there. Tokens are good for `lifetime`, and
    /// only where both `issuer` and `audience` are the same.
    ///
    /// # Errors
    ///
    /// [`TokenKeyError`].
    pub fn open(
        file: &Path,
        issuer: impl Into<String>,
        audience: impl Into<String>,
        lifetime: Duration,
    ) -> Result<Self, TokenKeyError> {
        if !file.exists() {
            let made = write_secret(file, &new_pem()?);
            // Another process may have been faster; its key is as good.
            if let Err(error) = made.or_else(|error| match error {
                KeyFileError::Io { ref source, .. }
                    if source.kind() == std::io::ErrorKind::AlreadyExists =>
                {
                    Ok(())
                }
                other => Err(other),
            }) {
                return Err(error.into());
            }
        }
        let seen = stamp(file);
        let current = Key::read(file)?;
        Ok(Self::with(
            current,
            seen,
            Some(file),
            issuer,
            audience,
            lifetime,
        ))
    }

    /// With a key that ends with the process.
    ///
    /// # Errors
    ///
    /// [`TokenKeyError::Random`].
    pub fn ephemeral(
        issuer: impl Into<String>,
        audience: impl Into<String>,
        lifetime: Duration,
    ) -> Result<Self, TokenKeyError> {
        let current = Key::from_pem(&new_pem()?).ok_or(TokenKeyError::Random)?;
        Ok(Self::with(current, None, None, issuer, audience, lifetime))
    }

    fn with(
        current: Key,
        seen: Option<Stamp>,
        file: Option<&Path>,
        issuer: impl Into<String>,
        audience: impl Into<String>,
        lifetime: Duration,
    ) -> Self {
        let old = Vec::new();
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            lifetime: i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX >> 1),
            file: file.map(Path::to_owned),
            keys: RwLock::new(Keys { current, old, seen }),
        }
    }

    /// A token for `did`, which has signed with `key`, from `now`, in seconds since 1970. `None` if
    /// the system has no randomness.
    pub fn issue(&self, did: &Did, key: Option<&KeyMark>, now: i64) -> Option<Issued> {
        self.issue_for(&self.audience, did, key, now)
    }

    /// As [`Tokens::issue`], for another audience.
    pub fn issue_for(
        &self,
        audience: &str,
        did: &Did,
        key: Option<&KeyMark>,
        now: i64,
    ) -> Option<Issued> {
        let mut id = [0; 16];
        fill(&mut id).ok()?;
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: audience.to_owned(),
            sub: did.to_string(),
            iat: now,
            exp: now.saturating_add(self.lifetime),
            jti: BASE64URL.encode(id),
            key: key.map(|key| key.as_str().to_owned()),
        };
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(keys.current.id.clone());
        let token = encode(&header, &claims, &keys.current.encoding).ok()?;
        Some(Issued {
            token,
            expires_in: self.lifetime,
        })
    }

    /// What `token` says, if it is one of ours and good at `now`, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// [`TokenError`].
    pub fn verify(&self, token: &str, now: i64) -> Result<Claim, TokenError> {
        self.verify_for(&self.audience, token, now)
    }

    /// As [`Tokens::verify`], of one that was issued for `audience`.
    ///
    /// # Errors
    ///
    /// [`TokenError`].
    pub fn verify_for(&self, audience: &str, token: &str, now: i64) -> Result<Claim, TokenError> {
        let header = decode_header(token).map_err(invalid)?;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let old = keys.old.iter().filter(|(_, until)| now < *until);
        let key = std::iter::once(&keys.current)
            .chain(old.map(|(key, _)| key))
            .find(|key| header.kid.as_ref() == Some(&key.id))
            .ok_or(TokenError::UnknownKey)?;
        // Ours, whatever the header names.
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        validation.set_audience(&[audience]);
        validation.set_issuer(&[&self.issuer]);
        // By the clock of the caller, below.
        validation.validate_exp = false;
        let data = decode::<Claims>(token, &key.decoding, &validation).map_err(invalid)?;
        let Claims {
            sub, iat, exp, key, ..
        } = data.claims;
        if exp <= now {
            return Err(TokenError::Expired);
        }
        if iat > now.saturating_add(AHEAD) {
            return Err(TokenError::Early);
        }
        Ok(Claim {
            did: sub.parse()?,
            expires_at: exp,
            key: key.as_deref().map(KeyMark::from_text),
        })
    }

    /// What tokens are good for where nothing else is said.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// Reads the key anew if its file was replaced; true if it was. Tokens of the key before stay
    /// good until they expire. Reads from the disk.
    ///
    /// # Errors
    ///
    /// [`TokenKeyError`]; the key that was in use stays.
    pub fn refresh(&self, now: i64) -> Result<bool, TokenKeyError> {
        let Some(file) = &self.file else {
            return Ok(false);
        };
        let seen = stamp(file);
        let unchanged = |keys: &Keys| keys.seen == seen;
        if unchanged(&self.keys.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(false);
        }
        let key = Key::read(file)?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.seen = seen;
        if key.id == keys.current.id {
            return Ok(false);
        }
        keys.old
            .retain(|(old, until)| now < *until && old.id != key.id);
        let before = std::mem::replace(&mut keys.current, key);
        keys.old.push((before, now.saturating_add(self.lifetime)));
        Ok(true)
    }
}

impl Key {
    fn read(file: &Path) -> Result<Self, TokenKeyError> {
        let pem = read_secret(file)?;
        Self::from_pem(&pem).ok_or_else(|| TokenKeyError::Key(file.to_owned()))
    }

    fn from_pem(pem: &str) -> Option<Self> {
        let PrivateKeyMaterial::Ed25519(key) =
            PrivateKeyMaterial::from_pem(pem.trim_start()).ok()?
        else {
            return None;
        };
        let pair = Ed25519KeyPair::from_seed_unchecked(&key.to_bytes()).ok()?;
        let public = pair.public_key().as_ref();
        let id = digest(&SHA256, public);
        let private = pair.to_pkcs8v1().ok()?;
        Some(Self {
            id: BASE64URL.encode(id.as_ref().get(..9)?),
            encoding: EncodingKey::from_ed_der(private.as_ref()),
            decoding: DecodingKey::from_ed_der(public),
        })
    }
}

/// Why a token is none of ours, in words that are all ours: what the library says has text of whoever
/// made the token in it.
fn invalid(error: jsonwebtoken::errors::Error) -> TokenError {
    TokenError::Invalid(match error.kind() {
        ErrorKind::InvalidSignature => "its signature is wrong",
        ErrorKind::InvalidAlgorithm => "it is not signed with EdDSA",
        ErrorKind::InvalidIssuer => "it was issued by another gateway",
        ErrorKind::InvalidAudience => "it is for another gateway",
        ErrorKind::MissingRequiredClaim(_) => "it does not say all that it must",
        _ => "it is no token of a gateway",
    })
}

/// A new Ed25519 key in PEM.
fn new_pem() -> Result<String, TokenKeyError> {
    let mut seed = [0; 32];
    fill(&mut seed).map_err(|_| TokenKeyError::Random)?;
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| TokenKeyError::Random)?;
    let der = pair.to_pkcs8v1().map_err(|_| TokenKeyError::Random)?;
    let key = PrivateKeyMaterial::from_pkcs8_der(der.as_ref());
    key.map(|key| key.to_pem())
        .map_err(|_| TokenKeyError::Random)
}

fn stamp(file: &Path) -> Option<Stamp> {
    let about = fs::metadata(file).ok()?;
    Some((about.modified().ok()?, about.len()))
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued")
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
