//! Certificates by ACME (RFC 8555), proved by TLS-ALPN-01 (RFC 8737) on the public listener itself.
//!
//! What was issued is written to the cache like any other certificate file, and shown from there.

pub(super) mod cache;
mod client;
mod error;
mod order;
mod renewal;

pub(crate) use renewal::keep;
