//! Takes the requests of a tunnel to the app.

use std::future::poll_fn;

use anp_tunnel::{Incoming, Tunnel};

/// Gives each of the tunnel's requests to `take`, until it ends.
pub(crate) async fn dispatch(tunnel: &Tunnel, take: impl Fn(Incoming)) {
    while let Some(incoming) = poll_fn(|cx| tunnel.poll_accept(cx)).await {
        take(incoming);
    }
}
