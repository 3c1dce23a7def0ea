//! Why there is no new certificate.

use std::time::Duration;

/// How long one order may take.
pub(super) const ORDER_TIMEOUT: Duration = Duration::from_secs(180);

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcmeError {
    #[error("{0}")]
    Protocol(#[from] instant_acme::Error),
    #[error("the authority does not offer TLS-ALPN-01 for {0}")]
    NoChallenge(String),
    #[error("the authority could not check {name}: {reason}")]
    Unproved { name: String, reason: String },
    #[error("the order ended as {0:?}")]
    Order(instant_acme::OrderStatus),
    #[error("making a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("{0}")]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    File(#[from] anp_tls::FileError),
    #[error("no answer within {} s", ORDER_TIMEOUT.as_secs())]
    Late,
    #[error("the certificate is not in use, not for all domains, or due already")]
    Due,
}
