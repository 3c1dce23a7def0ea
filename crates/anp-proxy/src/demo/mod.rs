//! The sample app behind `anp-proxy demo`: small handlers that show what the tunnel carries.

mod app;
mod body;
mod page;

use std::{io, net::SocketAddr, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

pub(crate) use page::curl_lines;

/// Pause after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The sample app on a port of its own, not yet serving.
#[derive(Debug)]
pub(crate) struct Demo {
    listener: TcpListener,
    address: SocketAddr,
}

impl Demo {
    /// Listens on a free loopback port.
    ///
    /// # Errors
    /// No port can be had.
    pub(crate) async fn bind() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until dropped.
    pub(crate) async fn serve(self) {
        loop {
            let socket = match self.listener.accept().await {
                Ok((socket, _)) => socket,
                Err(error) => {
                    tracing::warn!(%error, "the sample app cannot accept a connection");
                    // Out of descriptors, most likely; trying again at once would only burn the core.
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // Tokens leave one by one; waiting to fill a packet would join them.
            let _ = socket.set_nodelay(true);
            let serving = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(socket), service_fn(app::answer));
            tokio::spawn(async move {
                // The other end went away; the next request uses another connection.
                let _ = serving.await;
            });
        }
    }
}
