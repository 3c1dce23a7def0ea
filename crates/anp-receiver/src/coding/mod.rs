//! Compresses responses for callers that take it, where the app did not (`receiver.compress`).
//!
//! ```text
//!   app ── head ──► policy ── may it be coded, and how? ──► headers ──► caller
//!       ── body ──► encoder, flushed whenever the app pauses ─────────► caller
//! ```
//!
//! [`Outgoing`] stands in front of a response's half of the stream and takes what the app's
//! exchange sends. A response that stays as it is passes through untouched.

mod encoder;
mod headers;
mod negotiate;
mod outgoing;
mod policy;

#[cfg(test)]
pub(crate) use encoder::tests as encoder_tests;
pub use negotiate::ContentCoding;
#[cfg(test)]
pub(crate) use outgoing::MAX_ENCODERS;
pub(crate) use outgoing::{Codings, Outgoing};
