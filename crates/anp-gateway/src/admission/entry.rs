//! What is known of one tunnel.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::SocketAddr,
    sync::Arc,
};

use anp_auth::Proven;
use anp_tunnel::Tunnel;
use arc_swap::ArcSwap;
use tokio::time::Instant;

use crate::{
    members::{ReceiverId, TunnelId},
    owner::Owner,
    registry::Pool,
    route::place::Wishes,
};

/// A tunnel, connected or about to be.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: TunnelId,
    pub(super) worker: usize,
    pub(super) owner: Owner,
    /// What was proven, and has to stay true.
    pub(super) proven: Option<Proven>,
    pub(super) receiver: Option<String>,
    pub(super) instance: Option<String>,
    pub(super) wishes: Wishes,
    pub(super) pools: Arc<Pools>,
    pub(super) connected: Option<Connected>,
}

/// What is known of a tunnel once it is connected.
#[derive(Clone, Debug)]
pub(super) struct Connected {
    pub(super) tunnel: Tunnel,
    pub(super) peer: SocketAddr,
    pub(super) since: Instant,
}

impl Entry {
    /// Whose tunnel it is. Without an instance, those of one name at one address pass for one.
    pub(super) fn receiver_id(&self) -> ReceiverId {
        let peer = self.connected.as_ref().map(|c| c.peer.ip());
        let mut hasher = DefaultHasher::new();
        match &self.instance {
            Some(instance) => (&self.owner, instance).hash(&mut hasher),
            None => (&self.owner, &self.receiver, peer).hash(&mut hasher),
        }
        ReceiverId(hasher.finish())
    }

    pub(super) fn seen(&self) -> Option<Seen> {
        let Connected {
            tunnel,
            peer,
            since,
        } = self.connected.clone()?;
        Some(Seen {
            id: self.id,
            owner: self.owner.clone(),
            receiver: self.receiver.clone(),
            wishes: self.wishes.clone(),
            peer,
            since,
            worker: self.worker,
            tunnel,
        })
    }

    pub(super) fn tunnel(&self) -> Option<&Tunnel> {
        self.connected.as_ref().map(|c| &c.tunnel)
    }
}

/// A tunnel that is connected, as whoever runs the gateway sees it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Its name.
    pub(crate) id: TunnelId,
    /// Who holds it.
    pub(crate) owner: Owner,
    /// What its receiver calls itself.
    pub(crate) receiver: Option<String>,
    /// Which of its owner's endpoints it came for.
    pub(crate) wishes: Wishes,
    /// The other end of its connection.
    pub(crate) peer: SocketAddr,
    /// When it was connected.
    pub(crate) since: Instant,
    /// The worker that moves its bytes.
    pub(crate) worker: usize,
    /// The tunnel.
    pub(crate) tunnel: Tunnel,
}

/// The pools that a tunnel is a member of. They change with the endpoints.
#[derive(Debug, Default)]
pub(super) struct Pools(pub(super) ArcSwap<Vec<Arc<Pool>>>);

impl Pools {
    pub(super) fn wake_all(&self) {
        self.0.load().iter().for_each(|pool| pool.wake_all());
    }
}
