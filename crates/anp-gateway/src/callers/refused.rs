//! What callers who are turned away are told beside the status: the fields that say what would help.

use anp_auth::Refusal;
use bytes::Bytes;
use http::StatusCode;

use super::{denied::Denied, rule::Callers};

/// Why a caller was not let in, and the fields that say what would help.
pub(super) struct Refused {
    pub(super) denied: Denied,
    pub(super) told: Vec<(&'static str, Bytes)>,
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
    pub(super) fn by(refusal: &Refusal, rule: &Callers, realm: &str, has_body: bool) -> Self {
        let denied = match refusal {
            Refusal::Unproven(_) => Denied::Unproven,
            Refusal::Challenge { .. } => Denied::Challenged,
            Refusal::NotPermitted(_) => Denied::NotPermitted,
            Refusal::Busy { .. } | Refusal::Unavailable { .. } => Denied::Busy,
        };
        let mut told = Vec::new();
        for (name, value) in [
            ("www-authenticate", refusal.www_authenticate(realm)),
            ("accept-signature", refusal.accept_signature(has_body)),
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
