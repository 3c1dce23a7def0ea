//! A request on its way: head mapped, tunnel picked, body pumped, response streamed back.

mod exchange;
mod forward;
mod replay;
mod request;
mod response;
mod upload;

pub(crate) use exchange::Outcome;
pub(crate) use forward::handle;
pub(crate) use request::Origin;
pub(crate) use response::Body;
