//! HTTPS for callers and `wss://` for receivers.

mod authority;
mod changes;
mod handshakes;
mod receivers;
