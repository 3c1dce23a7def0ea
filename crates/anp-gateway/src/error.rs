//! Why a request was not served, and why a gateway did not start.

use std::{io, net::SocketAddr};

use anpx::{OpenError, ResetCode, StreamError};

use crate::{
    auth::error::AuthError, callers::Denied, config::ConfigError, endpoints::StoreError,
    policy::Scope,
};

/// Why a gateway did not start or had to end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// A setting cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A listener could not be opened.
    #[error("{key} {address}: {source}")]
    Listen {
        /// The setting that names the address.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A certificate or key cannot be used.
    #[error("{key}: {source}")]
    Tls {
        /// The setting that names the file.
        key: &'static str,
        /// The file, and what is wrong with it.
        source: anp_tls::FileError,
    },
    /// The cryptography under TLS could not be set up.
    #[error("setting up TLS: {0}")]
    Crypto(#[source] rustls::Error),
    /// Receivers could not be verified.
    #[error("{0}")]
    Auth(#[from] AuthError),
    /// The registry of endpoints cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A worker could not be started.
    #[error("starting a worker: {0}")]
    Worker(#[source] io::Error),
    /// A worker ended although nobody asked it to.
    #[error("a worker ended unexpectedly")]
    WorkerLost,
}

impl GatewayError {
    /// True where another program listens at an address.
    pub fn is_address_taken(&self) -> bool {
        matches!(self, Self::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse)
    }
}

/// Who caused a failed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The caller.
    Downstream,
    /// The local app.
    Upstream,
    /// The tunnel or the receiver at its other end.
    Tunnel,
    /// This gateway: its limits or its state.
    Gateway,
}

impl Cause {
    /// The word in logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Downstream => "downstream",
            Self::Upstream => "upstream",
            Self::Tunnel => "tunnel",
            Self::Gateway => "gateway",
        }
    }
}

/// Why a request was answered by the gateway and not by the app. `Display` is shown to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProxyError {
    #[error("{0}")]
    BadRequest(&'static str),
    #[error("the gateway does not make connections for callers")]
    Connect,
    #[error("nothing is served under this host and path")]
    NoEndpoint,
    #[error("{0}")]
    Caller(Denied),
    #[error("the gateway speaks HTTP/1.0, HTTP/1.1 and HTTP/2")]
    HttpVersion,
    #[error("the gateway does not upgrade connections to this protocol")]
    UnknownProtocol,
    #[error("the request target exceeds 16 KiB")]
    TargetTooLong,
    #[error("the header fields exceed the limit of their size or 256 fields")]
    HeadersTooLarge,
    #[error("the request did not arrive in time")]
    RequestTimeout,
    #[error("no receiver is connected for this endpoint")]
    NoTunnel,
    #[error("all receivers of this endpoint are busy")]
    Full,
    #[error("no receiver of this endpoint takes requests now")]
    Paused,
    /// A place would come after the time that a request waits: in so many seconds.
    #[error("all receivers of this endpoint are busy, and too many wait for them already")]
    Overloaded(u16),
    #[error("this endpoint has as many requests as it may have at once")]
    EndpointFull,
    #[error("the endpoints of this owner have as many requests as they may have at once")]
    TenantFull,
    #[error("too many requests in too short a time: the limit of this {0} is used up")]
    RateLimited(Scope),
    #[error("the body exceeds the limit of this endpoint")]
    BodyTooLarge,
    #[error("the receivers of this endpoint took no new request")]
    Refused,
    #[error("the app did not answer in time")]
    ResponseTimeout,
    #[error("the request exceeds a limit behind the gateway")]
    TooLarge,
    #[error("the app could not be reached")]
    Unreachable,
    #[error("the app broke off before it answered, or its answer is not valid HTTP")]
    UpstreamFailed,
    #[error("the connection to the receiver broke before the app answered")]
    TunnelLost,
    #[error("the answer from behind the gateway is not valid HTTP")]
    BadResponse,
    #[error("the receiver cannot carry this request")]
    Unsupported,
}

impl ProxyError {
    /// Who caused it.
    pub(crate) fn cause(self) -> Cause {
        match self {
            Self::BadRequest(_)
            | Self::Connect
            | Self::HttpVersion
            | Self::UnknownProtocol
            | Self::NoEndpoint
            | Self::TargetTooLong
            | Self::HeadersTooLarge
            | Self::BodyTooLarge
            | Self::Caller(_)
            | Self::RateLimited(_)
            | Self::RequestTimeout => Cause::Downstream,
            Self::Full | Self::Overloaded(_) | Self::EndpointFull | Self::TenantFull => {
                Cause::Gateway
            }
            Self::NoTunnel
            | Self::Paused
            | Self::Refused
            | Self::TunnelLost
            | Self::BadResponse
            | Self::Unsupported => Cause::Tunnel,
            Self::ResponseTimeout | Self::TooLarge | Self::Unreachable | Self::UpstreamFailed => {
                Cause::Upstream
            }
        }
    }

    /// True where no byte of the request reached the app, so that it may be sent again as it is.
    pub(crate) fn is_retry_safe(self) -> bool {
        matches!(
            self,
            Self::NoTunnel
                | Self::Full
                | Self::Paused
                | Self::EndpointFull
                | Self::TenantFull
                | Self::Overloaded(_)
                | Self::Refused
                | Self::Unreachable
        )
    }
}

impl From<StreamError> for ProxyError {
    /// ANPX 3.8, last rule.
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Reset(ResetCode::REFUSED)
            | StreamError::SessionEnded { written: false } => Self::Refused,
            StreamError::Reset(ResetCode::TIMEOUT) => Self::ResponseTimeout,
            StreamError::Reset(ResetCode::TOO_LARGE) => Self::TooLarge,
            StreamError::Reset(ResetCode::UPSTREAM_UNREACHABLE) => Self::Unreachable,
            StreamError::Reset(ResetCode::UPSTREAM_FAILED) => Self::UpstreamFailed,
            StreamError::Reset(ResetCode::PROTOCOL | ResetCode::FLOW_CONTROL) => Self::BadResponse,
            StreamError::Reset(_) | StreamError::SessionEnded { written: true } => Self::TunnelLost,
        }
    }
}

impl From<OpenError> for ProxyError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Unavailable => Self::Full,
            OpenError::TooLarge => Self::HeadersTooLarge,
            OpenError::Unsupported => Self::Unsupported,
            OpenError::Invalid => Self::BadRequest("the request cannot be carried"),
        }
    }
}
