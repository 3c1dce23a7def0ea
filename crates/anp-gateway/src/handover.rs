//! What a gateway must know of itself where another takes its place, or where it took another's.

use std::{
    fmt,
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use tokio::time::timeout;

use crate::{stop::Step, worker::Shared};

/// How often a gateway that is to be replaced at once looks whether receivers have come.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A running gateway, as whoever hands its listeners over sees it.
#[derive(Clone)]
pub struct Handover(Arc<OnceLock<Weak<Shared>>>);

impl Handover {
    pub(crate) fn new(gateway: &Arc<OnceLock<Weak<Shared>>>) -> Self {
        Self(gateway.clone())
    }

    fn gateway(&self) -> Option<Arc<Shared>> {
        self.0.get().and_then(Weak::upgrade)
    }

    /// Ready once the gateway drains, and so changes no endpoint any more; at once where none runs.
    pub async fn draining(&self) {
        if let Some(shared) = self.gateway() {
            shared.stop.reached(Step::Draining).await;
        }
    }

    /// How many endpoints have a receiver; none where no gateway runs.
    pub fn served(&self) -> usize {
        let shared = self.gateway();
        shared.map_or(0, |shared| shared.tunnels.served())
    }

    /// Ready once receivers of so many `endpoints` are here and no request waits for any that are on
    /// their way from a gateway that was replaced: they would go on to the next one, and leave it and
    /// what comes on connections that were taken already. At once where none are expected.
    pub async fn settled(&self, endpoints: usize) {
        let Some(shared) = self.gateway() else {
            return;
        };
        let Some(left) = shared.tunnels.expects_for() else {
            return;
        };
        let settled = async {
            while shared.tunnels.served() < endpoints {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            shared.tunnels.awaiting.none().await;
            shared.places.expected.none().await;
        };
        // Nobody waits any longer than that.
        let _ = timeout(left, settled).await;
    }

    /// Takes up the endpoints that another process wrote to the registry's file before this one
    /// came in its place.
    pub async fn catch_up(&self) {
        if let Some(shared) = self.gateway() {
            shared.endpoints.catch_up().await;
        }
    }
}

impl fmt::Debug for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handover")
    }
}
