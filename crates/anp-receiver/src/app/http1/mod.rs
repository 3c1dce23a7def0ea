//! An HTTP/1.1 client made for forwarding (RFC 9112).
//!
//! It writes what came off the wire and reads into what goes on it: fields keep their order and
//! their bytes, a target is never parsed, a response is read while its request is still being
//! sent, and a request lives in one task from start to end. A general client builds header maps
//! and URIs in between, hands messages between tasks, and gives up a response when the request
//! can no longer be written.

mod exchange;
mod gather;
mod raw;
mod request;
mod response;

pub(crate) use exchange::{Ended, exchange};
pub(crate) use raw::splice;
