//! An HTTP/2 client made for forwarding (RFC 9113), over TCP without TLS: for gRPC and whatever
//! else speaks HTTP/2 with prior knowledge.
//!
//! Framing, header compression and the connection's state are the `h2` crate's. What is here says
//! which connection a request takes, what a head becomes on the other side, and how the windows of
//! tunnel and app are tied together: a byte is granted to one as the other takes it.

mod connections;
mod exchange;
mod heads;
mod liveness;

pub(crate) use connections::Connections;
pub(crate) use exchange::exchange;
pub(crate) use heads::header_map;
