//! Why a gateway that asks for proof does not start.

use std::{io, path::PathBuf};

use anp_auth::{
    NoRandomness, SignerError, TokenKeyError, replay::FileReplayError, resolver::TlsError,
};

/// Why receivers cannot be verified.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The directory of a file cannot be made.
    #[error("{}: {source}", .directory.display())]
    Directory {
        /// Which.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The key of tokens.
    #[error("auth.token_key: {0}")]
    TokenKey(#[from] TokenKeyError),
    /// The used nonces.
    #[error("auth.replay_store: {0}")]
    Replay(#[from] FileReplayError),
    /// The certificates for fetching documents.
    #[error("auth.resolver.ca_file: {0}")]
    Tls(#[from] TlsError),
    /// A document that is not to be fetched.
    #[error("auth.resolver.documents: {0}")]
    Document(#[from] SignerError),
    /// The system has no randomness.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}
