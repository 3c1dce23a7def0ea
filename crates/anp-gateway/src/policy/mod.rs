//! What a gateway does to the requests of an endpoint and their responses beside carrying them.
//!
//! An endpoint without any of it has no [`Policy`], and its requests pay for none.

mod bucket;
mod cors;
mod effective;
mod govern;
mod meter;
mod prefix;
mod rates;
mod security;

pub(crate) use bucket::Pace;
pub(crate) use effective::Policy;
pub(crate) use govern::Governed;
pub(crate) use meter::Scope;
pub(crate) use rates::Rates;
