//! A tunnel's place among the others, and what it tells the registry.

use std::{
    net::SocketAddr,
    sync::{Arc, Weak},
};

use anp_tunnel::{Observer, Status, Tunnel};
use anpx::CloseCode;
use tokio::time::Instant;

use super::{
    NAMED_NO_MORE, Tunnels,
    entry::{Connected, Pools},
};
use crate::{members::TunnelId, owner::Owner};

/// A place among the tunnels, given up when dropped.
#[derive(Debug)]
pub(crate) struct Admission {
    /// The tunnel's name.
    pub(crate) id: TunnelId,
    /// The worker it shall run on.
    pub(crate) worker: usize,
    /// Who holds it.
    pub(crate) owner: Owner,
    pub(super) tunnels: Arc<Tunnels>,
    pub(super) pools: Arc<Pools>,
}

impl Admission {
    /// What the tunnel must report to.
    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        Arc::new(Reporter {
            id: self.id,
            owner: self.owner.clone(),
            tunnels: Arc::downgrade(&self.tunnels),
            pools: self.pools.clone(),
        })
    }

    /// Keeps what the receiver calls itself, for those who look at tunnels, and what its tunnels have
    /// in common.
    pub(crate) fn called(self, receiver: &str, instance: Option<&str>) -> Self {
        let mut table = self.tunnels.table.lock();
        if let Some(entry) = table.entries.iter_mut().find(|e| e.id == self.id) {
            entry.receiver = Some(receiver.to_owned());
            entry.instance = instance.map(str::to_owned);
        }
        drop(table);
        self
    }

    /// Hands over the tunnel, before its driver runs. It serves its endpoints from now on, although
    /// it has no capacity before it is ready: a request waits for it rather than being turned away.
    pub(crate) fn attach(&self, tunnel: &Tunnel, peer: SocketAddr) {
        let mut table = self.tunnels.table.lock();
        if let Some(entry) = table.entries.iter_mut().find(|e| e.id == self.id) {
            entry.connected = Some(Connected {
                tunnel: tunnel.clone(),
                peer,
                since: Instant::now(),
            });
            let pools = self.tunnels.pools_of(entry);
            self.tunnels.enter(entry, tunnel, pools);
        }
        drop(table);
        // A change of the endpoints closes the tunnels that are there, and this one was on its way.
        if !self.tunnels.is_named(&self.owner) {
            tunnel.close(CloseCode::NOT_PERMITTED, NAMED_NO_MORE);
        }
    }

    fn leave_all(tunnels: &Tunnels, id: TunnelId, pools: &Pools) {
        for pool in pools.0.load().iter() {
            tunnels.registry.leave(pool, id);
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let tunnel = {
            let mut table = self.tunnels.table.lock();
            let at = table.entries.iter().position(|e| e.id == self.id);
            at.map(|at| table.entries.swap_remove(at))
        };
        Self::leave_all(&self.tunnels, self.id, &self.pools);
        self.pools.wake_all();
        // Last, outside the lock: it may be the last handle on the tunnel.
        drop(tunnel);
    }
}

/// Keeps the registry in step with a tunnel. Holds the tunnels weakly: they hold it.
struct Reporter {
    id: TunnelId,
    owner: Owner,
    tunnels: Weak<Tunnels>,
    pools: Arc<Pools>,
}

impl Observer for Reporter {
    fn status(&self, status: Status) {
        match status {
            Status::Ready => {
                tracing::info!(tunnel = %self.id, receiver = %self.owner, "tunnel ready");
            }
            // It takes nothing new, but its endpoint stays known until it is gone: a request waits
            // for the tunnel that follows it.
            Status::Opening | Status::Draining => return,
            Status::Closed => {
                if let Some(tunnels) = self.tunnels.upgrade() {
                    Admission::leave_all(&tunnels, self.id, &self.pools);
                }
            }
        }
        self.pools.wake_all();
    }

    fn capacity(&self) {
        for pool in self.pools.0.load().iter() {
            // First those who have fewer places to choose from.
            pool.choosy.wake_one();
            pool.queue.wake_one();
        }
    }
}
