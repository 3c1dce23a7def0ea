//! Drives an ANPX session over a WebSocket, for both roles.
#![forbid(unsafe_code)]

pub mod handshake;
mod stream;
mod tunnel;
pub mod units;

pub use stream::{Head, Part, RecvStream, SendStream};
pub use tunnel::{Closed, Driver, Incoming, Observer, Status, Tunnel, TunnelConfig, Version};
