//! Every tunnel from its handshake to its end: who may come, which worker it goes to, and what it
//! tells the registry.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use anp_tunnel::{Observer, Status, Tunnel};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    queue::Queue,
    registry::{Member, Registry, TunnelId},
    route::{EndpointId, Routes},
};

/// Every tunnel from its handshake to its end.
#[derive(Debug)]
pub(crate) struct Tunnels {
    routes: Arc<Routes>,
    registry: Arc<dyn Registry>,
    /// By endpoint.
    queues: Vec<Arc<Queue>>,
    workers: usize,
    limit: usize,
    /// Until when requests wait for receivers that have not come yet.
    expects_until: Option<Instant>,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    last: u64,
    entries: Vec<Entry>,
    closed: bool,
}

#[derive(Debug)]
struct Entry {
    id: TunnelId,
    worker: usize,
    receiver: String,
    tunnel: Option<Tunnel>,
}

/// Why a tunnel was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAdmitted {
    /// No endpoint names this receiver.
    #[error("no endpoint names this receiver")]
    NotNamed,
    /// As many as allowed are connected.
    #[error("as many tunnels as allowed are connected")]
    TooMany,
    /// The gateway stops.
    #[error("the gateway is stopping")]
    Stopping,
}

/// A place among the tunnels, given up when dropped.
#[derive(Debug)]
pub(crate) struct Admission {
    /// The tunnel's name.
    pub(crate) id: TunnelId,
    /// The worker it shall run on.
    pub(crate) worker: usize,
    /// What the receiver calls itself.
    pub(crate) receiver: String,
    tunnels: Arc<Tunnels>,
    endpoints: Vec<EndpointId>,
}

impl Tunnels {
    /// Without any yet. At most `limit` are admitted and dealt to `workers`.
    pub(crate) fn new(
        routes: Arc<Routes>,
        registry: Arc<dyn Registry>,
        workers: usize,
        limit: usize,
    ) -> Self {
        Self {
            queues: routes.endpoints().iter().map(|_| Arc::default()).collect(),
            routes,
            registry,
            workers,
            limit,
            expects_until: None,
            table: Mutex::default(),
        }
    }

    /// Receivers are on their way: a request for an endpoint without a tunnel waits until `until`.
    pub(crate) fn expecting(mut self, until: Instant) -> Self {
        self.expects_until = Some(until);
        self
    }

    /// How long receivers are still expected; nothing unless told so and not much later.
    pub(crate) fn expects_for(&self) -> Option<Duration> {
        let left = self.expects_until?.checked_duration_since(Instant::now())?;
        (!left.is_zero()).then_some(left)
    }

    /// Gives a tunnel of `receiver` a name, a place, and the worker that has the fewest tunnels of
    /// this receiver, then the fewest of all.
    ///
    /// # Errors
    /// It must be refused.
    pub(crate) fn admit(self: &Arc<Self>, receiver: &str) -> Result<Admission, NotAdmitted> {
        let endpoints: Vec<_> = self.routes.served_by(receiver).collect();
        if endpoints.is_empty() {
            return Err(NotAdmitted::NotNamed);
        }
        let mut table = self.table.lock();
        if table.closed {
            return Err(NotAdmitted::Stopping);
        }
        if table.entries.len() >= self.limit {
            return Err(NotAdmitted::TooMany);
        }
        let mut load = vec![(0, 0); self.workers];
        for entry in &table.entries {
            load[entry.worker].0 += usize::from(entry.receiver == receiver);
            load[entry.worker].1 += 1;
        }
        let worker = (0..self.workers).min_by_key(|w| load[*w]).unwrap_or(0);
        table.last += 1;
        let id = TunnelId(table.last);
        table.entries.push(Entry {
            id,
            worker,
            receiver: receiver.to_owned(),
            tunnel: None,
        });
        Ok(Admission {
            id,
            worker,
            receiver: receiver.to_owned(),
            tunnels: self.clone(),
            endpoints,
        })
    }

    /// Those who wait for a place on a tunnel of `endpoint`.
    pub(crate) fn queue(&self, endpoint: EndpointId) -> &Queue {
        &self.queues[endpoint]
    }

    /// Who serves what.
    pub(crate) fn registry(&self) -> &dyn Registry {
        &*self.registry
    }

    /// How many tunnels are connected, and how many streams are open on them.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let tunnels = self.all();
        let streams = tunnels.iter().map(|t| t.open_streams() as u64).sum();
        (tunnels.len() as u64, streams)
    }

    /// Admits no more.
    pub(crate) fn stop_admitting(&self) {
        self.table.lock().closed = true;
    }

    /// All tunnels but the oldest of each receiver. Where they drain, their receivers open others
    /// elsewhere, while what still comes here goes through the oldest.
    pub(crate) fn all_but_one_each(&self) -> Vec<Tunnel> {
        let table = self.table.lock();
        let connected = || table.entries.iter().filter(|e| e.tunnel.is_some());
        let is_oldest = |entry: &Entry| {
            connected().all(|other| other.receiver != entry.receiver || other.id >= entry.id)
        };
        connected()
            .filter(|entry| !is_oldest(entry))
            .filter_map(|entry| entry.tunnel.clone())
            .collect()
    }

    /// The tunnels that are connected. The caller may call them, since no lock is held.
    pub(crate) fn all(&self) -> Vec<Tunnel> {
        let table = self.table.lock();
        table
            .entries
            .iter()
            .filter_map(|e| e.tunnel.clone())
            .collect()
    }
}

impl Admission {
    /// What the tunnel must report to.
    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        Arc::new(Reporter {
            id: self.id,
            receiver: self.receiver.clone(),
            tunnels: Arc::downgrade(&self.tunnels),
            queues: self.queues().cloned().collect(),
            endpoints: self.endpoints.clone(),
        })
    }

    /// Hands over the tunnel, before its driver runs. It serves its endpoints from now on, although
    /// it has no capacity before it is ready: a request waits for it rather than being turned away.
    pub(crate) fn attach(&self, tunnel: &Tunnel) {
        {
            let mut table = self.tunnels.table.lock();
            if let Some(entry) = table.entries.iter_mut().find(|e| e.id == self.id) {
                entry.tunnel = Some(tunnel.clone());
            }
        }
        for endpoint in &self.endpoints {
            let member = Member {
                id: self.id,
                worker: self.worker,
                tunnel: tunnel.clone(),
            };
            self.tunnels.registry.join(*endpoint, member);
        }
    }
}

impl Admission {
    fn queues(&self) -> impl Iterator<Item = &Arc<Queue>> {
        self.endpoints.iter().map(|e| &self.tunnels.queues[*e])
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let tunnel = {
            let mut table = self.tunnels.table.lock();
            let at = table.entries.iter().position(|e| e.id == self.id);
            at.map(|at| table.entries.swap_remove(at))
        };
        for endpoint in &self.endpoints {
            self.tunnels.registry.leave(*endpoint, self.id);
        }
        self.queues().for_each(|queue| queue.wake_all());
        // Last, outside the lock: it may be the last handle on the tunnel.
        drop(tunnel);
    }
}

/// Keeps the registry in step with a tunnel. Holds the tunnels weakly: they hold it.
struct Reporter {
    id: TunnelId,
    receiver: String,
    tunnels: Weak<Tunnels>,
    endpoints: Vec<EndpointId>,
    queues: Vec<Arc<Queue>>,
}

impl Observer for Reporter {
    fn status(&self, status: Status) {
        match status {
            Status::Ready => {
                tracing::info!(tunnel = %self.id, receiver = self.receiver, "tunnel ready");
            }
            // It takes nothing new, but its endpoint stays known until it is gone: a request waits
            // for the tunnel that follows it.
            Status::Opening | Status::Draining => return,
            Status::Closed => {
                if let Some(tunnels) = self.tunnels.upgrade() {
                    for endpoint in &self.endpoints {
                        tunnels.registry.leave(*endpoint, self.id);
                    }
                }
            }
        }
        self.queues.iter().for_each(|queue| queue.wake_all());
    }

    fn capacity(&self) {
        self.queues.iter().for_each(|queue| queue.wake_one());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Config, Endpoint},
        registry::Embedded,
    };

    fn tunnels(workers: usize, limit: usize) -> Arc<Tunnels> {
        let config = Config {
            endpoints: vec![Endpoint {
                name: "e".to_owned(),
                host: None,
                path: "/".to_owned(),
                receivers: vec!["a".to_owned(), "b".to_owned()],
                ..Endpoint::default()
            }],
            ..Config::default()
        };
        let routes = Arc::new(Routes::new(&config));
        Arc::new(Tunnels::new(
            routes,
            Arc::new(Embedded::new(1)),
            workers,
            limit,
        ))
    }

    #[test]
    fn tunnels_of_a_receiver_go_to_different_workers() {
        let tunnels = tunnels(2, 9);
        let a = [tunnels.admit("a").unwrap(), tunnels.admit("a").unwrap()];
        assert_eq!(a.each_ref().map(|t| t.worker), [0, 1]);
        let b = [tunnels.admit("b").unwrap(), tunnels.admit("b").unwrap()];
        assert_eq!(b.each_ref().map(|t| t.worker), [0, 1]);
        drop(a);
        assert_eq!(tunnels.admit("a").unwrap().worker, 0);
    }

    #[test]
    fn admission_ends() {
        let tunnels = tunnels(1, 1);
        assert_eq!(tunnels.admit("x").unwrap_err(), NotAdmitted::NotNamed);
        let first = tunnels.admit("a").unwrap();
        assert_eq!(tunnels.admit("a").unwrap_err(), NotAdmitted::TooMany);
        drop(first);
        tunnels.stop_admitting();
        assert_eq!(tunnels.admit("a").unwrap_err(), NotAdmitted::Stopping);
        assert_eq!(tunnels.totals(), (0, 0));
    }
}
