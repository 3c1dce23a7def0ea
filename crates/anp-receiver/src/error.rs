//! Why a receiver could not start or did not go on.

use std::io;

use crate::{
    config::ConfigError, connect::error::ConnectError, proof::IdentityError, proxy::ProxyError,
    reconnect::Stop, tls::TlsError,
};

/// Why [`Receiver::run`](crate::Receiver::run) ended, or did not begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value of the configuration cannot be worked with. The user's to mend.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The receiver's proof of identity cannot be used. The user's to mend.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A proxy variable of the environment cannot be used. The user's to mend.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No gateway is left to serve; this is why the last one was given up.
    #[error("gave up on gateway {gateway}: {cause}; {stop}")]
    GivenUp {
        /// The gateway's address.
        gateway: String,
        /// The failure that ended it.
        cause: Failure,
        /// Why it was not tried again.
        stop: Stop,
    },
    /// A worker thread could not be started, or broke. Ours, or the operating system's.
    #[error("a worker thread {doing}: {source}")]
    Worker {
        /// What it failed at.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It did not come to be.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It ended: the close code, if one was sent or read, and the reason.
    #[error("{}: {}{}", ended(*.by_gateway), said(.reason), .code.map(|c| format!(" (close {c})")).unwrap_or_default())]
    Closed {
        /// The WebSocket close code.
        code: Option<u16>,
        /// The reason, fit for a log; empty where the gateway gave none.
        reason: String,
        /// The gateway closed it, and the reason is its own.
        by_gateway: bool,
    },
    /// The gateway drains it: it stops, or sends this receiver elsewhere.
    #[error("the gateway drains the tunnel")]
    Draining,
}

fn ended(by_gateway: bool) -> &'static str {
    match by_gateway {
        true => "the gateway closed the tunnel",
        false => "the tunnel ended",
    }
}

fn said(reason: &str) -> &str {
    match reason {
        "" => "no reason given",
        reason => reason,
    }
}
