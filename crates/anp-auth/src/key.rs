//! Public keys of DID documents, in every notation the SDKs write, and the signatures they check.

use std::fmt;

use aws_lc_rs::{
    digest::{Digest, SHA256, digest},
    signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey},
};
use base64::Engine;
use k256::ecdsa::{Signature, VerifyingKey, signature::Verifier};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::encoding::BASE64URL;

/// Longest text of a key. Base58 takes quadratic time to decode, so that this is checked first.
pub(crate) const MAX_KEY_TEXT: usize = 128;

/// A key that signatures can be checked with.
#[derive(Clone)]
pub enum PublicKey {
    /// Ed25519 (RFC 8032).
    Ed25519(ParsedPublicKey),
    /// ECDSA over P-256 with SHA-256.
    P256(ParsedPublicKey),
    /// ECDSA over secp256k1 with SHA-256.
    Secp256k1(VerifyingKey),
}

/// Why a verification method has no usable key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    /// A type of verification method, or a curve, that cannot sign or is not known.
    #[error("the type of the verification method is not supported")]
    Unsupported,
    /// Not exactly one of `publicKeyJwk`, `publicKeyMultibase` and `publicKeyBase58`.
    #[error("the verification method does not have exactly one public key")]
    Material,
    /// The key is malformed or not on its curve.
    #[error("the public key is malformed")]
    Malformed,
    /// The private key was published with the public one.
    #[error("the verification method contains a private key")]
    Private,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Curve {
    Ed25519,
    P256,
    Secp256k1,
}

impl PublicKey {
    /// Reads the key of a verification method (DID Core section 5.2).
    ///
    /// # Errors
    ///
    /// [`KeyError`] tells why there is none.
    pub fn from_method(method: &Map<String, Value>) -> Result<Self, KeyError> {
        let jwk = method.get("publicKeyJwk");
        let multibase = method.get("publicKeyMultibase");
        let base58 = method.get("publicKeyBase58");
        let expected = match method.get("type").and_then(Value::as_str) {
            Some("Multikey" | "JsonWebKey2020") => None,
            Some("Ed25519VerificationKey2018" | "Ed25519VerificationKey2020") => {
                Some(Curve::Ed25519)
            }
            Some("EcdsaSecp256k1VerificationKey2019") => Some(Curve::Secp256k1),
            Some("EcdsaSecp256r1VerificationKey2019") => Some(Curve::P256),
            _ => return Err(KeyError::Unsupported),
        };
        let (curve, bytes) = match (jwk, multibase, base58) {
            (Some(jwk), None, None) => from_jwk(jwk)?,
            (None, Some(text), None) => {
                let text = text.as_str().and_then(|text| text.strip_prefix('z'));
                from_multicodec(&decode_base58(text)?, expected)?
            }
            (None, None, Some(text)) => {
                let curve = expected.ok_or(KeyError::Unsupported)?;
                (curve, decode_base58(text.as_str())?)
            }
            _ => return Err(KeyError::Material),
        };
        if expected.is_some_and(|expected| expected != curve) {
            return Err(KeyError::Unsupported);
        }
        Self::from_bytes(curve, &bytes)
    }

    fn from_bytes(curve: Curve, bytes: &[u8]) -> Result<Self, KeyError> {
        let malformed = |_| KeyError::Malformed;
        Ok(match curve {
            Curve::Ed25519 => {
                if bytes.len() != 32 {
                    return Err(KeyError::Malformed);
                }
                Self::Ed25519(ParsedPublicKey::new(&ED25519, bytes).map_err(malformed)?)
            }
            Curve::P256 => {
                if !matches!(bytes.len(), 33 | 65) {
                    return Err(KeyError::Malformed);
                }
                let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bytes);
                Self::P256(key.map_err(malformed)?)
            }
            Curve::Secp256k1 => {
                let key = VerifyingKey::from_sec1_bytes(bytes);
                Self::Secp256k1(key.map_err(|_| KeyError::Malformed)?)
            }
        })
    }

    /// The `alg` of RFC 9421 section 6.2.2 for this key; secp256k1 has none.
    pub fn algorithm(&self) -> Option<&'static str> {
        match self {
            Self::Ed25519(_) => Some("ed25519"),
            Self::P256(_) => Some("ecdsa-p256-sha256"),
            Self::Secp256k1(_) => None,
        }
    }

    /// True if `other` is this key.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ed25519(key), Self::Ed25519(other)) | (Self::P256(key), Self::P256(other)) => {
                key.as_ref() == other.as_ref()
            }
            (Self::Secp256k1(key), Self::Secp256k1(other)) => key == other,
            _ => false,
        }
    }

    /// A digest by which it is known again.
    pub(crate) fn digest(&self) -> Digest {
        match self {
            Self::Ed25519(key) | Self::P256(key) => digest(&SHA256, key.as_ref()),
            Self::Secp256k1(key) => digest(&SHA256, key.to_encoded_point(true).as_bytes()),
        }
    }

    /// True if `signature` is one of `message` by this key.
    ///
    /// ECDSA signatures are `r` and `s` beside each other. agent-connect leaves out the leading zero
    /// bytes of each, which one in 128 has, so that a shorter one is tried with every split.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Ed25519(key) => key.verify_sig(message, signature).is_ok(),
            Self::P256(key) => {
                let mut tries = splits(signature);
                tries.any(|signature| key.verify_sig(message, &signature).is_ok())
            }
            Self::Secp256k1(key) => {
                let mut tries = splits(signature);
                tries.any(|signature| verify_secp256k1(key, message, &signature))
            }
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ed25519(_) => "Ed25519",
            Self::P256(_) => "P-256",
            Self::Secp256k1(_) => "secp256k1",
        })
    }
}

/// k256 refuses the larger of the two values of `s`, which OpenSSL writes half of the time.
fn verify_secp256k1(key: &VerifyingKey, message: &[u8], signature: &[u8; 64]) -> bool {
    let Ok(signature) = Signature::from_slice(signature) else {
        return false;
    };
    let signature = signature.normalize_s().unwrap_or(signature);
    key.verify(message, &signature).is_ok()
}

/// The ways to read `r` and `s` out of 62 to 64 bytes: at most three.
fn splits(signature: &[u8]) -> impl Iterator<Item = [u8; 64]> {
    let lengths = match signature.len() {
        len @ 62..=64 => Some(len - 32..=32),
        _ => None,
    };
    lengths.into_iter().flatten().filter_map(|r_len| {
        let (r, s) = signature.split_at_checked(r_len)?;
        let mut padded = [0; 64];
        let (left, right) = padded.split_at_mut(32);
        left.get_mut(32_usize.checked_sub(r.len())?..)?
            .copy_from_slice(r);
        right
            .get_mut(32_usize.checked_sub(s.len())?..)?
            .copy_from_slice(s);
        Some(padded)
    })
}

fn decode_base58(text: Option<&str>) -> Result<Vec<u8>, KeyError> {
    let text = text
        .filter(|text| text.len() <= MAX_KEY_TEXT)
        .ok_or(KeyError::Malformed)?;
    bs58::decode(text)
        .into_vec()
        .map_err(|_| KeyError::Malformed)
}

/// Takes off the prefix that names the curve (multicodec), which older types leave out.
fn from_multicodec(bytes: &[u8], expected: Option<Curve>) -> Result<(Curve, Vec<u8>), KeyError> {
    for (prefix, curve, lengths) in [
        ([0xed, 0x01], Curve::Ed25519, [32, 32]),
        ([0x80, 0x24], Curve::P256, [33, 65]),
        ([0xe7, 0x01], Curve::Secp256k1, [33, 65]),
    ] {
        if let Some(key) = bytes.strip_prefix(&prefix)
            && lengths.contains(&key.len())
        {
            return Ok((curve, key.to_vec()));
        }
    }
    expected
        .map(|curve| (curve, bytes.to_vec()))
        .ok_or(KeyError::Unsupported)
}

/// Reads a JWK (RFC 7517, RFC 8037). agent-connect leaves out leading zero bytes of coordinates.
fn from_jwk(jwk: &Value) -> Result<(Curve, Vec<u8>), KeyError> {
    let text = |name| jwk.get(name).and_then(Value::as_str);
    if jwk.get("d").is_some() {
        return Err(KeyError::Private);
    }
    let coordinate = |name| {
        let text = text(name).filter(|text| text.len() <= MAX_KEY_TEXT)?;
        let bytes = BASE64URL.decode(text).ok()?;
        let mut padded = [0; 32];
        let free = 32_usize.checked_sub(bytes.len())?;
        padded.get_mut(free..)?.copy_from_slice(&bytes);
        Some(padded)
    };
    let x = || coordinate("x").ok_or(KeyError::Malformed);
    let y = || coordinate("y").ok_or(KeyError::Malformed);
    match (text("kty"), text("crv")) {
        (Some("OKP"), Some("Ed25519")) => Ok((Curve::Ed25519, x()?.to_vec())),
        (Some("EC"), Some("P-256")) => Ok((Curve::P256, [&[4][..], &x()?, &y()?].concat())),
        (Some("EC"), Some("secp256k1")) => {
            Ok((Curve::Secp256k1, [&[4][..], &x()?, &y()?].concat()))
        }
        _ => Err(KeyError::Unsupported),
    }
}
