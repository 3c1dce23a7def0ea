//! Errors of gateway and receiver in one line that says what to do.

use std::{io, net::SocketAddr};

use anp_auth::replay::FileReplayError;
use anp_gateway::{AuthError, GatewayError};
use anp_receiver::Error as ReceiverError;

use crate::{
    config::{Loaded, Origin},
    exit::Failure,
};

/// What to do where another gateway has the file of nonces.
const NOT_SHARED: &str = ". Gateways cannot share this file: set another gateway.auth.replay_store for \
    this one, or another STATE_DIRECTORY. To take the place of the one that runs, start with --replace";

/// Why a gateway did not start.
pub(super) fn gateway(error: GatewayError, loaded: &Loaded) -> Failure {
    match error {
        GatewayError::Config(error) => loaded
            .problem("gateway", &error.key, &error.expected)
            .into(),
        GatewayError::Store(error) => {
            let place = place(loaded, "endpoint_store");
            Failure::runtime(format!("{place}gateway.{error}"))
        }
        GatewayError::Listen {
            key,
            address,
            source,
        } => cannot_listen(loaded, ("gateway", key), address, &source),
        GatewayError::Tls { key, source } => {
            loaded.problem("gateway", key, &source.to_string()).into()
        }
        GatewayError::Auth(error) => {
            let key = match &error {
                AuthError::TokenKey(_) => "auth.token_key",
                AuthError::Replay(_) => "auth.replay_store",
                AuthError::Tls(_) => "auth.resolver.ca_file",
                AuthError::Document(_) => "auth.resolver.documents",
                AuthError::Directory { .. } | AuthError::Random(_) => "auth",
            };
            let failure = Failure::usage(format!("{}gateway.{error}", place(loaded, key)));
            match error {
                AuthError::Replay(FileReplayError::InUse(_)) => failure.with(NOT_SHARED),
                _ => failure,
            }
        }
        other => Failure::runtime(format!("the gateway failed: {other}")),
    }
}

/// Why nothing listens on `address`, which a setting (section and key) names.
pub(super) fn cannot_listen(
    loaded: &Loaded,
    (section, key): (&str, &str),
    address: SocketAddr,
    error: &io::Error,
) -> Failure {
    let origin = loaded.origin(section, key);
    let origin = origin.map_or_else(|| "the default".to_owned(), ToString::to_string);
    Failure::runtime(format!(
        "cannot listen on {address} ({section}.{key}, from {origin}): {}",
        why_not(error, address)
    ))
}

/// Where `key` of the gateway was written, or what is nearest to it, before what is wrong.
fn place(loaded: &Loaded, key: &str) -> String {
    match loaded.nearest_origin("gateway", key) {
        Origin::Unknown => String::new(),
        origin => format!("{origin}: "),
    }
}

fn why_not(error: &io::Error, address: SocketAddr) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program listens there; stop it, or choose another address".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("this machine has no address {}", address.ip())
        }
        io::ErrorKind::PermissionDenied => {
            format!("no permission for port {}", address.port())
        }
        _ => error.to_string(),
    }
}

/// Why a receiver did not start, or stopped by itself.
pub(super) fn receiver(error: ReceiverError) -> Failure {
    match error {
        ReceiverError::Config(error) => Failure::usage(format!("receiver.{error}")),
        ReceiverError::Identity(error) => Failure::usage(error.to_string()),
        ReceiverError::Proxy(error) => Failure::usage(error.to_string()),
        ReceiverError::Tls(error) => Failure::usage(format!("receiver.{error}")),
        other => Failure::runtime(other.to_string()),
    }
}
