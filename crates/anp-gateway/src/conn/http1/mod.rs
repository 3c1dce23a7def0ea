//! An HTTP/1 server made for forwarding (RFC 9112).
//!
//! It reads heads into what goes on the wire and writes what came off it: fields keep their order
//! and their bytes, framing that two parsers could read differently is refused, informational heads
//! and trailers pass, and a connection with all its requests is one task. A general server builds
//! header maps and URIs in between and repairs what it should refuse.

mod caller;
mod head;
mod pump;
mod response;
mod serve;

pub(crate) use head::Head;
pub(crate) use serve::{Finished, serve};
