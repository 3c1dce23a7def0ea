//! Callers of endpoints that not everybody may call.
//!
//! In this order: the address; then the name and secret of basic authentication, which cost a hash;
//! then the proof of a DID, by the verifier that judges receivers. Tokens are verified where the
//! request is. Signatures are verified elsewhere ([`Desk`]), since the worker has others to serve.

mod admit;
mod basic;
mod called;
mod denied;
mod desk;
mod proof;
mod refused;
mod rule;

pub(crate) use admit::{Known, admit};
pub(crate) use denied::Denied;
pub(crate) use desk::Desk;
pub(crate) use rule::Callers;

/// In which apps find the DID that a caller has proven. Nobody else can set it.
pub(crate) const CALLER_DID: &str = "anp-caller-did";
