//! The tunnels to one gateway, as they are seen from outside.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Release},
        },
    },
    time::{Duration, Instant},
};

use anp_tunnel::{Status, Tunnel};
use parking_lot::Mutex;

use super::snapshot::{GatewaySnapshot, Trouble};

/// Tunnels to one gateway, and what is to be counted of those that were.
#[derive(Debug, Default)]
pub(crate) struct Tunnels {
    /// Became ready.
    opened: AtomicU64,
    /// Ended although they had been ready.
    lost: AtomicU64,
    /// Did not become ready.
    failed: AtomicU64,
    held: Arc<Mutex<Held>>,
    /// The places without a tunnel, by their index, and why.
    without: Mutex<BTreeMap<u16, Without>>,
}

#[derive(Debug, Default)]
struct Held {
    tunnels: BTreeMap<u64, Tunnel>,
    next: u64,
    /// Bytes read and written by tunnels that are gone.
    past: (u64, u64),
}

/// Why there is no tunnel in a place.
#[derive(Debug)]
struct Without {
    reason: String,
    /// When another is opened; `None` for never.
    next_try: Option<Instant>,
}

/// A tunnel that can be seen, until this is dropped.
#[derive(Debug)]
pub(crate) struct Listed {
    held: Arc<Mutex<Held>>,
    key: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut held = self.held.lock();
        if let Some(tunnel) = held.tunnels.remove(&self.key) {
            // Under one lock with the rest: sums must not fall.
            let (received, sent) = tunnel.bytes();
            held.past.0 += received;
            held.past.1 += sent;
        }
    }
}

impl Tunnels {
    /// Lets a tunnel be seen.
    pub(crate) fn list(&self, tunnel: Tunnel) -> Listed {
        let mut held = self.held.lock();
        let key = held.next;
        held.next += 1;
        held.tunnels.insert(key, tunnel);
        let held = Arc::clone(&self.held);
        Listed { held, key }
    }

    /// The tunnel in a place is ready.
    pub(crate) fn opens(&self, place: u16) {
        self.without.lock().remove(&place);
        self.opened.fetch_add(1, Release);
    }

    /// There is no tunnel in a place, and none is opened before `retry_in`, or ever.
    pub(crate) fn fails(&self, place: u16, reason: &impl fmt::Display, retry_in: Option<Duration>) {
        let next_try = retry_in.and_then(|after| Instant::now().checked_add(after));
        let reason = reason.to_string();
        let without = Without { reason, next_try };
        self.without.lock().insert(place, without);
    }

    /// Nothing is said any more of places without a tunnel: they are not to have one.
    pub(crate) fn forget_trouble(&self) {
        self.without.lock().clear();
    }

    /// Counts a tunnel that ended although it had been ready.
    pub(crate) fn count_lost(&self) {
        self.lost.fetch_add(1, Release);
    }

    /// Counts an attempt that came to nothing.
    pub(crate) fn count_failed(&self) {
        self.failed.fetch_add(1, Release);
    }

    /// How many are ready.
    pub(crate) fn ready(&self) -> usize {
        let held = self.held.lock();
        let ready = held
            .tunnels
            .values()
            .filter(|t| t.status() == Status::Ready);
        ready.count()
    }

    /// Everything at once; `url` is what the gateway is called, `given_up` whether it was.
    pub(super) fn snapshot(&self, url: String, given_up: bool) -> GatewaySnapshot {
        // Whoever sees one counted sees what became of it.
        let [opened, lost, failed] =
            [&self.opened, &self.lost, &self.failed].map(|count| count.load(Acquire));
        let held = self.held.lock();
        let (mut received, mut sent) = held.past;
        let (mut ready, mut in_flight) = (0, 0);
        for tunnel in held.tunnels.values() {
            let bytes = tunnel.bytes();
            received += bytes.0;
            sent += bytes.1;
            in_flight += tunnel.open_streams();
            ready += usize::from(tunnel.status() == Status::Ready);
        }
        drop(held);
        GatewaySnapshot {
            url,
            ready,
            in_flight,
            opened,
            lost,
            failed,
            received,
            sent,
            given_up,
            leaving: false,
            trouble: self.trouble(),
        }
    }

    /// Of the places without a tunnel the one that gets one first.
    fn trouble(&self) -> Option<Trouble> {
        let without = self.without.lock();
        let never = |w: &&Without| (w.next_try.is_none(), w.next_try);
        without.values().min_by_key(never).map(|first| Trouble {
            reason: first.reason.clone(),
            retry_in: first
                .next_try
                .map(|at| at.saturating_duration_since(Instant::now())),
        })
    }
}

#[cfg(test)]
mod tests {
    use anp_tunnel::{TunnelConfig, Version};
    use anpx::session::Role;
    use bytes::Bytes;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn a_tunnel_that_is_gone_leaves_its_bytes_and_nothing_else() {
        let tunnels = Tunnels::default();
        let mut moved = Vec::new();
        for _ in 0..2 {
            let (ours, mut theirs) = tokio::io::duplex(4096);
            let config = TunnelConfig::new(Role::Receiver);
            let (tunnel, driver) = Tunnel::new(ours, Bytes::new(), Version::V2, config, None);
            let listed = tunnels.list(tunnel);
            // It says its SETTINGS, and then finds the connection ended.
            let driver = tokio::spawn(driver);
            theirs.read_u8().await.unwrap();
            drop(theirs);
            driver.await.unwrap();
            let seen = tunnels.snapshot(String::new(), false);
            assert_eq!((seen.ready, tunnels.held.lock().tunnels.len()), (0, 1));
            drop(listed);
            assert_eq!(tunnels.held.lock().tunnels.len(), 0);
            let after = tunnels.snapshot(String::new(), false);
            assert_eq!((after.received, after.sent), (seen.received, seen.sent));
            moved.push(after.sent);
        }
        assert!(0 < moved[0] && moved[0] < moved[1], "{moved:?}");
    }

    #[test]
    fn of_several_places_the_first_to_be_tried_is_told() {
        let tunnels = Tunnels::default();
        let told = || tunnels.trouble().map(|t| (t.reason, t.retry_in.is_some()));
        assert_eq!(told(), None);
        tunnels.fails(0, &"never", None);
        assert_eq!(told(), Some(("never".to_owned(), false)));
        tunnels.fails(1, &"late", Some(Duration::from_secs(3600)));
        tunnels.fails(2, &"soon", Some(Duration::from_secs(60)));
        assert_eq!(told(), Some(("soon".to_owned(), true)));
        tunnels.opens(2);
        assert_eq!(told(), Some(("late".to_owned(), true)));
        tunnels.fails(1, &"now", Some(Duration::ZERO));
        let now = tunnels.trouble().unwrap();
        assert_eq!(now.retry_in, Some(Duration::ZERO));
        let seen = tunnels.snapshot("ws://a".to_owned(), false);
        assert_eq!((seen.opened, seen.lost, seen.failed), (1, 0, 0));
    }
}
