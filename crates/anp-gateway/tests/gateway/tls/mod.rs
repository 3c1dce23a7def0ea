//! HTTPS for callers and `wss://` for receivers.

mod acme;
mod authority;
mod changes;
mod handshakes;
mod owners;
mod receivers;
mod redirect;
