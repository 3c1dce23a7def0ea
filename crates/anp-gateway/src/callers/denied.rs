//! Why callers are turned away, and what they are told.

use http::StatusCode;

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
