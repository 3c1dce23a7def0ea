//! What the log hears of connections without a header that can be used.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::header::HeaderError;

/// A line of the log about connections that were closed, at most one a minute: anyone can cause it.
#[derive(Debug, Default)]
pub(crate) struct Complaint(Mutex<Option<Instant>>);

impl Complaint {
    const PAUSE: Duration = Duration::from_secs(60);

    pub(super) fn about(&self, peer: SocketAddr, error: &HeaderError) {
        tracing::debug!(%peer, %error, "connection closed");
        let now = Instant::now();
        let mut last = self.0.lock();
        if last.is_none_or(|last| now.duration_since(last) >= Self::PAUSE) {
            *last = Some(now);
            tracing::warn!(
                %peer, %error,
                "connection closed because of gateway.proxy_protocol; others in the next minute are \
                 told at debug level alone"
            );
        }
    }
}
