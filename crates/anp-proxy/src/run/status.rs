//! The status listener of a process that runs receivers.

use std::{net::SocketAddr, sync::Arc};

use tokio::net::TcpListener;

use super::failures;
use crate::{
    config::Loaded,
    exit::Failure,
    status::{self, Status, Watched},
    stdout,
};

/// The listener, before anything is served.
pub(super) struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

/// Listens where `receiver.status_listen` says; `None` where it says nothing.
///
/// # Errors
/// The address cannot be listened on.
pub(super) async fn listen(loaded: &Loaded) -> Result<Option<Listener>, Failure> {
    let Some(address) = loaded.config.receiver.status_listen else {
        return Ok(None);
    };
    let failed = |error| {
        let key = ("receiver", "status_listen");
        failures::cannot_listen(loaded, key, address, &error)
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Some(Listener { listener, address }))
}

impl Listener {
    /// Says where it is, and serves what is watched from now on until the process ends.
    pub(super) fn serve(self, watched: Arc<Watched>) {
        let address = self.address;
        tracing::info!(listener = "status", %address, "listening");
        stdout::mention(&format!(
            "http://{address} → /healthz, /readyz and /metrics of this process"
        ));
        tokio::spawn(status::serve(Status::new(watched), self.listener));
    }
}
