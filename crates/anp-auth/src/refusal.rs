//! What is told to whom: one text to strangers, everything to the log.

use http::HeaderValue;
use thiserror::Error;

use crate::{
    did::Did, document::NoKey, header::HeaderError, replay::SpendError, resolver::ResolveError,
    subject::Subject, tokens::TokenError,
};

/// Why a request is refused. `Display` is for the log; the public gets [`Refusal::public_text`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Nobody proved anything. From outside all of these look alike.
    #[error("not authenticated: {0}")]
    Unproven(#[from] Unproven),
    /// The signature is good, but may have been used before: sign again, with this nonce.
    #[error("{did} must sign again: {why}")]
    Challenge {
        /// Who signed.
        did: Did,
        /// What to sign.
        nonce: String,
        /// Why once more.
        why: &'static str,
    },
    /// Too many documents are asked for now: whether anything is proven was not looked at.
    #[error("no document of {did} now: {}", ResolveError::Busy)]
    Busy {
        /// Who is said to have signed.
        did: Did,
    },
    /// The identity is proven, and is not allowed here.
    #[error("{0} is not permitted")]
    NotPermitted(Subject),
    /// The identity is proven, and its use cannot be written down.
    #[error("{did} cannot be let in now: {error}")]
    Unavailable {
        /// Who signed.
        did: Did,
        /// Why.
        error: SpendError,
    },
}

/// Why nothing is proven.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unproven {
    /// The credentials cannot be read, or there are none.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The DID is on no list.
    #[error("{0} is not allowed")]
    NotAllowed(Did),
    /// Signed too long ago; how long, in seconds.
    #[error("it was signed {0} s ago")]
    Old(i64),
    /// Signed in the future; how far, in seconds.
    #[error("it was signed {0} s in the future: is a clock wrong?")]
    Ahead(i64),
    /// The end that it names has passed.
    #[error("it has expired")]
    Expired,
    /// `Host` is none of our names.
    #[error("the host that was called is none of the configured public names")]
    Audience,
    /// There is no document.
    #[error("no document of {did}: {error}")]
    Document {
        /// Whose.
        did: Did,
        /// Why.
        error: ResolveError,
    },
    /// The document has no such key for authentication.
    #[error(transparent)]
    Key(#[from] NoKey),
    /// The header names another algorithm than that of the key.
    #[error("the algorithm named is not that of the key")]
    Algorithm,
    /// The signature is not one of the key for this service.
    #[error("the signature is not that of {0} for this service")]
    Signature(Did),
    /// The nonce was used, and no other could be made.
    #[error("the nonce of {0} cannot be accepted")]
    Nonce(Did),
    /// The token is not good.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The pre-shared token is not known.
    #[error("the token is not known")]
    UnknownToken,
}

impl Refusal {
    /// The status of HTTP that says it: 401, 403 or 503.
    pub fn status(&self) -> u16 {
        match self {
            Self::Unproven(_) | Self::Challenge { .. } => 401,
            Self::NotPermitted(_) => 403,
            Self::Busy { .. } | Self::Unavailable { .. } => 503,
        }
    }

    /// What may be told to anybody.
    pub fn public_text(&self) -> &'static str {
        match self {
            Self::Unproven(_) => "no acceptable proof of identity",
            Self::Challenge { .. } => "sign again, with the nonce given",
            Self::NotPermitted(_) => "this identity is not permitted",
            Self::Busy { .. } | Self::Unavailable { .. } => "try again later",
        }
    }

    /// `WWW-Authenticate` for 401 and 403, with an error of the specification's list (did:wba method
    /// specification, section 3.2).
    pub fn www_authenticate(&self, realm: &str) -> Option<HeaderValue> {
        let error = match self {
            Self::Unproven(_) => "invalid_request",
            Self::Challenge { .. } => "invalid_nonce",
            Self::NotPermitted(_) => "forbidden_did",
            Self::Busy { .. } | Self::Unavailable { .. } => return None,
        };
        let text = self.public_text();
        let mut value =
            format!(r#"DIDWba realm="{realm}", error="{error}", error_description="{text}""#);
        if let Self::Challenge { nonce, .. } = self {
            value.push_str(&format!(r#", nonce="{nonce}""#));
        }
        value.try_into().ok()
    }

    /// `Accept-Signature` (RFC 9421 section 5.1) for 401: what a signature has to cover, the digest of a
    /// body (RFC 9530) included.
    pub fn accept_signature(&self, has_body: bool) -> Option<HeaderValue> {
        (self.status() == 401).then(|| {
            HeaderValue::from_static(match has_body {
                false => r#"sig1=("@method" "@target-uri" "@authority");created;expires;nonce;keyid"#,
                true => {
                    r#"sig1=("@method" "@target-uri" "@authority" "content-digest");created;expires;nonce;keyid"#
                }
            })
        })
    }
}

impl From<HeaderError> for Refusal {
    fn from(error: HeaderError) -> Self {
        Self::Unproven(error.into())
    }
}

impl From<NoKey> for Refusal {
    fn from(error: NoKey) -> Self {
        Self::Unproven(error.into())
    }
}
