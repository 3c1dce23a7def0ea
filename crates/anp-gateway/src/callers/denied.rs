//! Why callers are turned away, and what they are told.

use anp_auth::Refusal;
use bytes::Bytes;
use http::StatusCode;

use super::{Callers, Refused};

/// Why a caller was turned away. `Display` is shown to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    /// Nothing was proven; all reasons for that look alike.
    #[error("this endpoint asks its callers who they are, and no acceptable proof came")]
    Unproven,
    /// The signature is good and may have been used before.
    #[error("sign again, with the nonce given")]
    Challenged,
    /// The identity is proven and may not.
    #[error("this identity is not permitted")]
    NotPermitted,
    /// Whoever it is, not from there.
    #[error("this endpoint takes no calls from this address")]
    Address,
    /// Nobody can say now.
    #[error("the proof cannot be looked at now; try again later")]
    Busy,
}

impl Denied {
    /// The status a caller gets.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Unproven | Self::Challenged => StatusCode::UNAUTHORIZED,
            Self::NotPermitted | Self::Address => StatusCode::FORBIDDEN,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl Refused {
    /// Nobody has time.
    pub(super) fn busy() -> Self {
        Self {
            denied: Denied::Busy,
            told: Vec::new(),
        }
    }

    /// No secret of a user was shown, and nothing else would help.
    pub(super) fn unproven(rule: &Callers) -> Self {
        let mut told = Vec::new();
        basic(rule, &mut told);
        Self {
            denied: Denied::Unproven,
            told,
        }
    }

    /// The verifier said no.
    pub(super) fn by(refusal: &Refusal, rule: &Callers, realm: &str) -> Self {
        let denied = match refusal {
            Refusal::Unproven(_) => Denied::Unproven,
            Refusal::Challenge { .. } => Denied::Challenged,
            Refusal::NotPermitted(_) => Denied::NotPermitted,
            Refusal::Unavailable { .. } => Denied::Busy,
        };
        let mut told = Vec::new();
        for (name, value) in [
            ("www-authenticate", refusal.www_authenticate(realm)),
            ("accept-signature", refusal.accept_signature()),
        ] {
            told.extend(value.map(|value| (name, Bytes::copy_from_slice(value.as_bytes()))));
        }
        if denied.status() == StatusCode::UNAUTHORIZED {
            basic(rule, &mut told);
        }
        Self { denied, told }
    }
}

/// The challenge of basic authentication (RFC 7617), where it would help.
fn basic(rule: &Callers, told: &mut Vec<(&'static str, Bytes)>) {
    if rule.users.is_some() {
        let challenge = Bytes::from_static(br#"Basic realm="callers", charset="UTF-8""#);
        told.push(("www-authenticate", challenge));
    }
}
