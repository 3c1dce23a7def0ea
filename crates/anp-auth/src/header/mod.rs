//! Credentials as requests carry them. Everything here is a pure function of bytes: any input gives
//! a value or a typed error, and nothing is looked up.

mod didwba;
mod digest;
mod signature;

use http::{
    HeaderMap, HeaderName,
    header::{AUTHORIZATION, AsHeaderName},
};
use thiserror::Error;

pub(crate) use self::didwba::signed_bytes as didwba_bytes;
pub use self::{
    didwba::{AudienceField, DidWba},
    digest::BodyDigest,
    signature::{Component, MessageSignature, content_digest},
};
use crate::did::{Did, DidError};

/// Longest credential header accepted, in bytes.
pub const MAX_HEADER_LEN: usize = 4096;

/// Longest nonce accepted, in bytes.
pub const MAX_NONCE_LEN: usize = 128;

/// `Signature-Input` (RFC 9421 section 4.1).
pub const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");
/// `Signature` (RFC 9421 section 4.2).
pub const SIGNATURE: HeaderName = HeaderName::from_static("signature");
/// `Content-Digest` (RFC 9530 section 2).
pub const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// What a request carries to prove who sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// `Authorization: DIDWba …`.
    DidWba(DidWba),
    /// `Signature-Input` and `Signature` (RFC 9421).
    Signature(MessageSignature),
    /// `Authorization: Bearer …`.
    Bearer(String),
}

/// Why the credentials of a request cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// Neither `Authorization` with a scheme known here nor `Signature-Input` and `Signature`.
    #[error("there are no credentials")]
    Missing,
    /// A credential header occurs twice, or two kinds of credentials are there.
    #[error("there is more than one credential")]
    Ambiguous,
    /// Longer than [`MAX_HEADER_LEN`].
    #[error("a credential header is longer than {MAX_HEADER_LEN} bytes")]
    TooLong,
    /// The header does not follow its grammar; the name is that of the header.
    #[error("{0} is malformed")]
    Syntax(&'static str),
    /// A parameter is missing.
    #[error("the parameter {0} is missing")]
    MissingParameter(&'static str),
    /// A parameter occurs twice or is not known.
    #[error("a parameter is repeated or unknown")]
    Parameter,
    /// A parameter has a value that it cannot have.
    #[error("the parameter {0} has an impossible value")]
    Value(&'static str),
    /// The DID breaks the grammar.
    #[error(transparent)]
    Did(#[from] DidError),
    /// A component that must be covered is not, or one is covered that is not supported.
    #[error("the signature does not cover {0}")]
    Uncovered(&'static str),
    /// A covered component that is repeated, has parameters, or is derived in a way not supported.
    #[error("a covered component is repeated or not supported")]
    Component,
}

impl Credentials {
    /// Reads the credentials of a request. `Authorization` with another scheme than `DIDWba` and
    /// `Bearer` is somebody else's and ignored.
    ///
    /// # Errors
    ///
    /// [`HeaderError::Missing`] if there are none, and what is wrong with them otherwise.
    pub fn read(headers: &HeaderMap) -> Result<Self, HeaderError> {
        let authorization = only(headers, AUTHORIZATION)?.and_then(split_scheme);
        let input = only(headers, SIGNATURE_INPUT)?;
        let signature = only(headers, SIGNATURE)?;
        let signature = match (input, signature) {
            (None, None) => None,
            (Some(input), Some(signature)) => Some((input, signature)),
            (None, Some(_)) => return Err(HeaderError::Syntax("Signature-Input")),
            (Some(_), None) => return Err(HeaderError::Syntax("Signature")),
        };
        match (authorization, signature) {
            (Some(_), Some(_)) => Err(HeaderError::Ambiguous),
            (None, None) => Err(HeaderError::Missing),
            (None, Some((input, signature))) => {
                MessageSignature::parse(input, signature).map(Self::Signature)
            }
            (Some((Scheme::DidWba, rest)), None) => DidWba::parse(rest).map(Self::DidWba),
            (Some((Scheme::Bearer, token)), None) => {
                let allowed = |b: u8| {
                    b.is_ascii_alphanumeric()
                        || matches!(b, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
                };
                if token.is_empty() || !token.bytes().all(allowed) {
                    return Err(HeaderError::Syntax("Authorization"));
                }
                Ok(Self::Bearer(token.to_owned()))
            }
        }
    }
}

enum Scheme {
    DidWba,
    Bearer,
}

/// The scheme and what follows its spaces (RFC 9110 section 11.4). Schemes know no case.
fn split_scheme(value: &str) -> Option<(Scheme, &str)> {
    let (scheme, rest) = value.split_once(' ')?;
    let scheme = if scheme.eq_ignore_ascii_case("DIDWba") {
        Scheme::DidWba
    } else if scheme.eq_ignore_ascii_case("Bearer") {
        Scheme::Bearer
    } else {
        return None;
    };
    Some((scheme, rest.trim_matches(' ')))
}

/// The one value of a header, as visible ASCII and spaces.
fn only(headers: &HeaderMap, name: impl AsHeaderName) -> Result<Option<&str>, HeaderError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(HeaderError::Ambiguous);
    }
    if value.len() > MAX_HEADER_LEN {
        return Err(HeaderError::TooLong);
    }
    let value = value
        .to_str()
        .map_err(|_| HeaderError::Syntax("a credential header"))?;
    if value.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        Ok(Some(value))
    } else {
        Err(HeaderError::Syntax("a credential header"))
    }
}

/// Takes nonces that need no escaping in a quoted string or JSON.
fn check_nonce(nonce: &str) -> Result<(), HeaderError> {
    if (1..=MAX_NONCE_LEN).contains(&nonce.len()) && is_plain(nonce) {
        Ok(())
    } else {
        Err(HeaderError::Value("nonce"))
    }
}

/// Visible ASCII without `"` and `\`.
fn is_plain(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
}

/// The fragment of a verification method, which clients write as `key-1`, `#key-1` or the whole URL.
fn fragment_of<'a>(did: &Did, method: &'a str) -> Option<&'a str> {
    let fragment = match method.split_once('#') {
        Some(("", fragment)) => fragment,
        Some((before, fragment)) if before == did.as_str() => fragment,
        Some(_) => return None,
        None => method,
    };
    is_fragment(fragment).then_some(fragment)
}

/// What a key may be called: short, and without characters that mean something elsewhere.
pub(crate) fn is_fragment(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn read(headers: &[(&'static str, &str)]) -> Result<Credentials, HeaderError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        Credentials::read(&map)
    }

    #[test]
    fn tells_kinds_apart() {
        assert_eq!(read(&[]), Err(HeaderError::Missing));
        assert_eq!(
            read(&[("authorization", "Basic eDp5")]),
            Err(HeaderError::Missing)
        );
        assert_eq!(
            read(&[("authorization", "Bearer")]),
            Err(HeaderError::Missing)
        );
        assert_eq!(
            read(&[("authorization", "bearer  a.b-c")]),
            Ok(Credentials::Bearer("a.b-c".into()))
        );
        for (headers, error) in [
            (
                &[("authorization", "Bearer a b")][..],
                HeaderError::Syntax("Authorization"),
            ),
            (
                &[("authorization", "Bearer a"), ("authorization", "Bearer a")],
                HeaderError::Ambiguous,
            ),
            (
                &[("signature", "sig1=:AA==:")],
                HeaderError::Syntax("Signature-Input"),
            ),
            (
                &[("signature-input", "sig1=()")],
                HeaderError::Syntax("Signature"),
            ),
            (
                &[
                    ("authorization", "Bearer a"),
                    ("signature-input", "x"),
                    ("signature", "x"),
                ],
                HeaderError::Ambiguous,
            ),
            (
                &[("authorization", "Bearer \u{e4}")],
                HeaderError::Syntax("a credential header"),
            ),
            (
                &[("authorization", "Bearer a\tb")],
                HeaderError::Syntax("a credential header"),
            ),
        ] {
            assert_eq!(read(headers), Err(error), "{headers:?}");
        }
        let long = format!("Bearer {}", "a".repeat(MAX_HEADER_LEN));
        assert_eq!(read(&[("authorization", &long)]), Err(HeaderError::TooLong));
    }

    #[test]
    fn methods_are_fragments_of_the_did() {
        let did: Did = "did:wba:a.example".parse().unwrap();
        for method in ["key-1", "#key-1", "did:wba:a.example#key-1"] {
            assert_eq!(fragment_of(&did, method), Some("key-1"), "{method}");
        }
        for method in [
            "",
            "#",
            "##a",
            "did:wba:b.example#key-1",
            "a#key-1",
            "a/b",
            "a b",
            "did:wba:a.example#",
        ] {
            assert_eq!(fragment_of(&did, method), None, "{method}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_value_or_an_error(
            authorization in proptest::collection::vec(any::<u8>(), 0..80),
            input in proptest::collection::vec(any::<u8>(), 0..80),
            signature in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let mut map = HeaderMap::new();
            let mut put = |name, prefix: &[u8], bytes: &[u8]| {
                if let Ok(value) = HeaderValue::from_bytes(&[prefix, bytes].concat()) {
                    map.insert(name, value);
                }
            };
            put(AUTHORIZATION, b"DIDWba ", &authorization);
            put(SIGNATURE_INPUT, b"sig1=(\"@method\"", &input);
            put(SIGNATURE, b"sig1=:", &signature);
            let _ = Credentials::read(&map);
            map.remove(AUTHORIZATION);
            let _ = Credentials::read(&map);
        }
    }
}
