//! Takes the requests of a tunnel to the app.

use std::future::poll_fn;

use anp_tunnel::Tunnel;

use crate::app::App;

/// Accepts the tunnel's requests until it ends. Must run where `spawn_local` works.
pub(crate) async fn dispatch(tunnel: &Tunnel, app: &App) {
    while let Some(incoming) = poll_fn(|cx| tunnel.poll_accept(cx)).await {
        match app {
            App::Http(tasks) => tasks.answer(incoming),
            App::Service(service) => service.serve(incoming),
            App::Streams(taker) => taker.take(incoming),
        }
    }
}
