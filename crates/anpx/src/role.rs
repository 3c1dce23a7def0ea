//! The two ends of a tunnel.

/// Which end of the tunnel this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Accepts tunnels, opens streams, sends requests.
    Gateway,
    /// Opens tunnels, accepts streams, sends responses.
    Receiver,
}
