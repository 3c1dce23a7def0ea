//! Which tunnels serve which endpoint, now.

use std::{fmt, sync::Arc};

use anp_tunnel::Tunnel;
use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::{pick::Candidate, route::EndpointId};

/// Names a tunnel in logs; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TunnelId(pub(crate) u64);

impl fmt::Display for TunnelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}", self.0)
    }
}

/// A tunnel that serves an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// Its name.
    pub(crate) id: TunnelId,
    /// The worker that moves its bytes.
    pub(crate) worker: usize,
    /// The tunnel.
    pub(crate) tunnel: Tunnel,
}

impl Candidate for Member {
    fn pending(&self) -> usize {
        self.tunnel.open_streams()
    }
    fn capacity(&self) -> usize {
        self.tunnel.capacity()
    }
    fn worker(&self) -> usize {
        self.worker
    }
}

/// Who serves what. The seam where a directory that several gateways share will go.
pub(crate) trait Registry: fmt::Debug + Send + Sync {
    /// `member` serves `endpoint` from now on.
    fn join(&self, endpoint: EndpointId, member: Member);
    /// The tunnel serves `endpoint` no more.
    fn leave(&self, endpoint: EndpointId, tunnel: TunnelId);
    /// Shows the members of `endpoint` as they are now. Called for every request.
    fn members(&self, endpoint: EndpointId, visit: &mut dyn FnMut(&[Member]));
}

/// The registry of a gateway that stands alone: readers take a snapshot without a lock.
#[derive(Debug)]
pub(crate) struct Embedded {
    pools: Vec<Pool>,
}

#[derive(Debug, Default)]
struct Pool {
    members: ArcSwap<Vec<Member>>,
    changes: Mutex<()>,
}

impl Embedded {
    /// A registry of so many endpoints without members.
    pub(crate) fn new(endpoints: usize) -> Self {
        Self {
            pools: (0..endpoints).map(|_| Pool::default()).collect(),
        }
    }

    fn change(&self, endpoint: EndpointId, change: impl FnOnce(&mut Vec<Member>)) {
        let Some(pool) = self.pools.get(endpoint) else {
            return;
        };
        let _one_at_a_time = pool.changes.lock();
        let mut members = Vec::clone(&pool.members.load());
        change(&mut members);
        pool.members.store(Arc::new(members));
    }
}

impl Registry for Embedded {
    fn join(&self, endpoint: EndpointId, member: Member) {
        self.change(endpoint, |members| members.push(member));
    }

    fn leave(&self, endpoint: EndpointId, tunnel: TunnelId) {
        self.change(endpoint, |members| members.retain(|m| m.id != tunnel));
    }

    fn members(&self, endpoint: EndpointId, visit: &mut dyn FnMut(&[Member])) {
        if let Some(pool) = self.pools.get(endpoint) {
            visit(&pool.members.load());
        }
    }
}
