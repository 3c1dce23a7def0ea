//! The end of the tunnels to one gateway, and how each follows it.

use std::{convert::Infallible, future::pending};

use anp_tunnel::{Closed, Status, Tunnel};
use anpx::CloseCode;
use tokio::{
    sync::watch,
    task::{JoinError, JoinHandle},
};

/// How far the end is: of the receiver, or of its tunnels to one gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    /// It is not stopping.
    No,
    /// Open nothing, let requests in flight end.
    Drain,
    /// Close everything.
    Now,
}

/// Passes the stop on to a tunnel until that is gone.
pub(crate) async fn supervise(
    tunnel: Tunnel,
    driver: JoinHandle<Closed>,
    mut stop: watch::Receiver<Stop>,
) -> Closed {
    let closing = async {
        reached(&mut stop, Stop::Drain).await;
        // Without a session there is nothing to drain, and nobody to tell.
        match tunnel.status() {
            Status::Opening => tunnel.close(CloseCode::GOING_AWAY, "receiver stopped"),
            _ => tunnel.drain(),
        }
        reached(&mut stop, Stop::Now).await;
        tunnel.close(CloseCode::GOING_AWAY, "receiver stopped");
        pending::<Infallible>().await
    };
    tokio::select! {
        closed = driver => closed.unwrap_or_else(|e| broken(&e)),
        never = closing => match never {},
    }
}

/// Waits until the stop is at `level`.
pub(crate) async fn reached(stop: &mut watch::Receiver<Stop>, level: Stop) {
    let _ = stop.wait_for(|stop| *stop >= level).await;
}

/// A tunnel whose driver did not end by itself.
fn broken(error: &JoinError) -> Closed {
    Closed {
        code: None,
        reason: format!("its driver failed: {error}"),
        by_peer: false,
        was_ready: false,
    }
}
