//! TLS on the gateway's two listeners.
//!
//! ```text
//!   socket ─▶ PROXY header ─▶ Tls::accept ─▶ HTTP/1.1 or 2, or the handshake of a tunnel
//!                               │ asks
//!   files ─▶ Keeper ──sets──▶ Store: certificates by name, and proofs for ACME
//!     ▲ writes                   ▲ sets
//!     └────────── acme ──────────┘
//! ```
//! Connections keep the certificate of their handshake; what changes is what the next one sees.

mod accept;
pub(crate) mod acme;
mod keeper;
mod metrics;
pub(crate) mod settings;
mod store;
mod transport;

pub(crate) use accept::Tls;
pub(crate) use keeper::Keeper;
pub(crate) use metrics::TlsMetrics;
pub(crate) use transport::{Detached, Socket, Transport};
