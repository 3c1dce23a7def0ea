//! How long each phase of a connection may take.

use std::time::Duration;

use crate::config::Config;

/// How long the end of a connection may take: the time a caller has to read a last answer before
/// what it still sends makes the system discard that answer (RFC 9112 section 9.6).
pub(crate) const LINGER: Duration = Duration::from_secs(2);
/// How long a caller may pause while it sends what nobody wants: one that first sends everything
/// reads the answer only then.
pub(crate) const LINGER_PAUSE: Duration = Duration::from_secs(5);
/// How long it may send that in all.
pub(crate) const LINGER_MOST: Duration = Duration::from_secs(30);

/// The times a configuration gives to callers and apps.
///
/// ```text
///               first byte        head complete        response head         both halves over
/// fresh or idle ───────────▶ head ──────────────▶ waiting ──────────────▶ streaming ──────▶ idle
/// ```
/// A fresh connection's time is that of its first head: bytes one by one gain nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For a head, from the connection or from the head's first byte.
    pub(crate) head: Duration,
    /// For the response's head, from the last byte of the request that moved.
    pub(crate) response: Duration,
    /// For a body to stand still in both directions.
    pub(crate) idle: Duration,
    /// For a connection without a request.
    pub(crate) keep_alive: Duration,
}

impl Limits {
    /// The limits a configuration asks for.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            head: config.head_timeout.0,
            response: config.response_timeout.0,
            idle: config.idle_timeout.0,
            keep_alive: config.keep_alive_timeout.0,
        }
    }
}
