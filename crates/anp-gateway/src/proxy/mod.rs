//! The road of a request: head mapped, tunnel picked, body pumped, response handed back.
//!
//! Nothing here knows which HTTP the caller speaks: that is behind [`Downstream`].

mod authority;
mod comments;
mod download;
mod downstream;
mod exchange;
mod failure;
mod find;
mod forward;
mod forwarded;
mod open;
mod origin;
mod refused;
mod replay;
pub(crate) mod request;
pub(crate) mod response;
mod upload;

pub(crate) use comments::Comments;
pub(crate) use download::Download;
pub(crate) use downstream::{Downstream, Piece};
pub(crate) use exchange::Exchange;
pub(crate) use failure::Failure;
pub(crate) use forward::{Answer, forward};
pub(crate) use origin::Origin;
pub(crate) use upload::{Upload, UploadError};
