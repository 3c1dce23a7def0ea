//! WebSocket framing (RFC 6455 section 5), without I/O.
//!
//! It is ours because three rules of ANPX live in this layer: what waits unwritten is bounded and
//! known to the byte, a message is never larger than its frame limit whatever its header claims,
//! and a frame is encoded, masked and framed in the one buffer it is written from.

mod held;
mod mask;
mod message;
mod reader;
mod writer;

pub(crate) use message::{Message, WebSocketError};
pub(crate) use reader::Reader;
pub(crate) use writer::Writer;

/// Opcodes (RFC 6455 section 5.2).
mod opcode {
    pub(super) const CONTINUATION: u8 = 0x0;
    pub(super) const TEXT: u8 = 0x1;
    pub(super) const BINARY: u8 = 0x2;
    pub(super) const CLOSE: u8 = 0x8;
    pub(super) const PING: u8 = 0x9;
    pub(super) const PONG: u8 = 0xA;
}

/// Which end of the WebSocket this is. The client masks what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}
