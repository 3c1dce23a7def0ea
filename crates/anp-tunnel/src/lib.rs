//! Drives an ANPX session over a WebSocket, for both roles.
#![forbid(unsafe_code)]

mod driver;
pub mod handshake;
mod keepalive;
mod shared;
mod stream;
mod tunnel;
pub mod units;
mod websocket;

pub use driver::Driver;
pub use stream::{Head, Part, RecvStream, SendStream};
pub use tunnel::{Closed, Incoming, Observer, Status, Tunnel, TunnelConfig, Version};
