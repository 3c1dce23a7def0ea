//! Each header is good for one use: the nonces of verified headers, for as long as the header could
//! be used again.

mod file;
mod memory;
mod table;
mod trouble;

use aws_lc_rs::digest::{SHA256, digest};
use thiserror::Error;

pub use self::{
    file::{FileReplay, FileReplayError},
    memory::MemoryReplay,
};
use crate::{did::Did, resolver::BoxFuture};

/// Nonces kept for one DID. One that signs more within the window of a header is refused.
pub const MAX_PER_DID: usize = 1024;

/// Nonces kept in all.
pub const MAX_NONCES: usize = 1 << 18;

/// Remembers which nonces were used.
pub trait ReplayStore: Send + Sync {
    /// Spends a nonce: succeeds once for each DID and nonce until the use expires, however many try
    /// at the same time.
    fn spend<'a>(&'a self, once: &Once) -> BoxFuture<'a, Result<(), SpendError>>;

    /// Since when every use is known, in seconds since 1970, once that is known. A header signed
    /// before may have been used before.
    fn complete_since(&self) -> BoxFuture<'_, Result<i64, SpendError>>;
}

/// One use of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Once {
    did: Hash,
    nonce: Hash,
    expires_at: i64,
    now: i64,
    leaves_room: bool,
}

/// Half of a SHA-256. All that is kept of a DID and of a nonce: whoever could find two of the same
/// could only use up nonces of DIDs that are his.
type Hash = [u8; 16];

/// Why a nonce could not be spent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SpendError {
    /// It was used before.
    #[error("the nonce was used before")]
    Used,
    /// The DID has used too many of them lately.
    #[error("the DID has used {MAX_PER_DID} nonces within the window")]
    FullForDid,
    /// All DIDs together have.
    #[error("{MAX_NONCES} nonces were used within the window")]
    Full,
    /// It could not be written down.
    #[error("the nonce could not be written down: {0}")]
    Broken(String),
}

impl Once {
    /// A use of `nonce` by `did` at `now`. After `expires_at` its header is too old anyway. Both are
    /// in seconds since 1970.
    pub fn new(did: &Did, nonce: &str, expires_at: i64, now: i64) -> Self {
        Self {
            did: hash(did.as_str()),
            nonce: hash(nonce),
            expires_at,
            now,
            leaves_room: false,
        }
    }

    /// A use that counts as one too many where three quarters of the places are taken, so that uses
    /// of another kind find some of the last.
    #[must_use]
    pub fn leaving_room(self) -> Self {
        Self {
            leaves_room: true,
            ..self
        }
    }
}

fn hash(text: &str) -> Hash {
    let mut hash = Hash::default();
    let full = digest(&SHA256, text.as_bytes());
    hash.iter_mut()
        .zip(full.as_ref())
        .for_each(|(to, from)| *to = *from);
    hash
}
