//! Handshakes that are not accepted, and what their peers are told.

use anpx::CloseCode;
use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{
        CONNECTION, CONTENT_TYPE, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE,
    },
};

use crate::{admission::NotAdmitted, owner::Owner, respond::RETRY_AFTER_SECS};

/// RFC 9421 section 5.1.
const ACCEPT_SIGNATURE: HeaderName = HeaderName::from_static("accept-signature");

/// A handshake that is not accepted.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(super) status: StatusCode,
    /// For a receiver that is told after the upgrade.
    pub(super) code: CloseCode,
    pub(super) text: String,
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            code: CloseCode::PROTOCOL,
            text: text.into(),
            fields: Vec::new(),
        }
    }

    pub(super) fn busy() -> Self {
        Self {
            code: CloseCode::LIMIT,
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many handshakes at once",
            )
        }
    }

    /// What strangers are told; the log has been told more.
    pub(super) fn unproven(refusal: &anp_auth::Refusal, realm: &str) -> Self {
        let (status, code) = match refusal.status() {
            403 => (StatusCode::FORBIDDEN, CloseCode::NOT_PERMITTED),
            503 => (StatusCode::SERVICE_UNAVAILABLE, CloseCode::LIMIT),
            _ => (StatusCode::UNAUTHORIZED, CloseCode::AUTHENTICATION),
        };
        let fields = [
            (WWW_AUTHENTICATE, refusal.www_authenticate(realm)),
            (ACCEPT_SIGNATURE, refusal.accept_signature(false)),
        ];
        Self {
            code,
            fields: fields
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)))
                .collect(),
            ..Self::new(status, refusal.public_text())
        }
    }

    pub(super) fn not_permitted(error: &str, owner: &Owner) -> Self {
        Self {
            code: CloseCode::NOT_PERMITTED,
            ..Self::new(
                StatusCode::FORBIDDEN,
                format!("{error}: receiver \"{owner}\""),
            )
        }
    }

    pub(super) fn not_admitted(error: NotAdmitted, owner: &Owner) -> Self {
        let (status, code) = match error {
            NotAdmitted::NotNamed => (StatusCode::FORBIDDEN, CloseCode::NOT_PERMITTED),
            NotAdmitted::TooMany => (StatusCode::SERVICE_UNAVAILABLE, CloseCode::LIMIT),
            NotAdmitted::Stopping => (StatusCode::SERVICE_UNAVAILABLE, CloseCode::GOING_AWAY),
        };
        Self {
            status,
            code,
            text: format!("{error}: receiver \"{owner}\""),
            fields: Vec::new(),
        }
    }

    pub(super) fn into_response(self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(self.text + "\n"));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        headers.extend(self.fields);
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECS));
            }
            StatusCode::UPGRADE_REQUIRED => {
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
                headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            _ => {}
        }
        response
    }
}
