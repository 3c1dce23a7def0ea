//! Drives an ANPX session over a WebSocket, for both roles.
//!
//! [`Tunnel::new`] takes a connection on which the WebSocket handshake is over ([`handshake`] has
//! the parts of it that concern ANPX) and gives back a handle and a [`Driver`]. The driver is one
//! future that reads, writes and keeps the connection alive; it ends with the connection. The
//! handle opens streams (gateway) or accepts them (receiver), each as two halves.
//!
//! ```text
//!   SendStream ─┐                       ┌─ RecvStream
//!               ▼                       │
//!   Tunnel ──▶ Shared: Session + wakers (one lock) ◀──▶ Driver ◀──▶ WebSocket frames ◀──▶ socket
//! ```
//!
//! One driver poll reads all there is, encodes everything that is ready into one buffer and writes
//! it once. Nothing here spawns a task; handles and driver may live on different threads, and cost
//! least on one.
//!
//! It refuses to be a WebSocket library, an HTTP proxy or a connector: who connects where, and what
//! a request means, is for `anp-gateway` and `anp-receiver`.
#![forbid(unsafe_code)]

mod config;
mod driver;
pub mod handshake;
mod keepalive;
mod shared;
mod status;
mod stream;
mod timer;
mod tunnel;
pub mod units;
mod unsent;
mod websocket;
mod wire;

pub use config::{TunnelConfig, Version};
pub use driver::{Driver, TRANSPORT_BUFFER};
pub use status::{Closed, Observer, Status};
pub use stream::{Head, Part, RecvStream, SendStream};
pub use tunnel::{Incoming, Tunnel};
pub use unsent::limit_unsent;
