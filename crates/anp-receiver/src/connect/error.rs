//! Why no tunnel came to be, and whether trying again makes sense.

use std::{io, time::Duration};

use crate::reconnect::Severity;

/// Why no tunnel came to be.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No TCP connection; `source` says why.
    #[error("cannot connect to {address}: {source}")]
    Unreachable {
        /// `host:port` of the gateway, or what the proxy is called.
        address: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The HTTP proxy did not open the way.
    #[error("proxy {proxy} {reason}")]
    Proxy {
        /// `host:port` of the proxy.
        proxy: String,
        /// What it did instead.
        reason: String,
    },
    /// No TLS with the gateway: its certificate is not accepted, or ours, or it speaks no TLS.
    #[error("no TLS with {address}: {source}")]
    Tls {
        /// `host:port` of the gateway.
        address: String,
        /// What went wrong, and what helps.
        source: io::Error,
    },
    /// The handshake took longer than `handshake_timeout`.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The connection broke during the handshake.
    #[error("the connection broke during the handshake: {0}")]
    Broken(#[from] io::Error),
    /// The gateway will not have this receiver, now or ever.
    #[error("the gateway refused the tunnel: HTTP {status}{detail}")]
    Refused {
        /// The status it answered.
        status: u16,
        /// Its `Retry-After`.
        retry_after: Option<Duration>,
        /// The nonce it wants signed, with 401.
        nonce: Option<String>,
        /// What the status means here, and what the gateway says of it; fit for a log.
        detail: String,
    },
    /// Whatever answered is not a gateway's tunnel listener.
    #[error("{0}")]
    NotAGateway(String),
}

impl ConnectError {
    /// The nonce that the gateway wants signed.
    pub(super) fn nonce(&self) -> Option<String> {
        match self {
            Self::Refused { nonce, .. } => nonce.clone(),
            _ => None,
        }
    }

    /// Whether trying again makes sense (ANPX 3.10).
    pub fn severity(&self) -> Severity {
        match self {
            Self::Refused {
                status: 401 | 403, ..
            } => Severity::Fatal,
            Self::Refused { retry_after, .. } => Severity::Passing {
                retry_after: *retry_after,
            },
            _ => Severity::Passing { retry_after: None },
        }
    }
}
