//! What the tunnels to one gateway share.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use anp_tunnel::Version;
use tokio::sync::watch;

use crate::{
    address::GatewayUrl, addresses::Addresses, config::Config, error::Error,
    monitor::tunnels::Tunnels, proof::Given, stop::Stop,
};

/// One gateway, seen from every tunnel to it.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) url: GatewayUrl,
    /// Tells it which tunnels lead to this receiver.
    pub(crate) instance: String,
    pub(crate) addresses: Addresses,
    /// Its tunnels, for those who look at the receiver from outside.
    pub(crate) tunnels: Arc<Tunnels>,
    /// The indices of places beyond those that every gateway has.
    further: Mutex<BTreeSet<u16>>,
    /// The version its last tunnel turned out to speak.
    version: watch::Sender<Option<Version>>,
    /// How many tunnels to it became ready.
    opened: watch::Sender<u32>,
    /// How far the end of its tunnels is. Every place holds a receiver until it is over.
    stop: watch::Sender<Stop>,
    /// True once it was given up.
    given_up: watch::Sender<bool>,
    /// Why; the first reason counts.
    reason: Mutex<Option<Error>>,
    /// The token it gave.
    pub(crate) given: Given,
    /// The public URLs it gave last.
    urls: Mutex<Vec<String>>,
}

impl Gateway {
    pub(crate) fn new(url: GatewayUrl, config: &Config) -> Self {
        Self {
            addresses: Addresses::new(&url, config),
            tunnels: Arc::default(),
            url,
            instance: format!("{:016x}", rand::random::<u64>()),
            further: Mutex::default(),
            version: watch::Sender::new(None),
            opened: watch::Sender::new(0),
            stop: watch::Sender::new(Stop::No),
            given_up: watch::Sender::new(false),
            reason: Mutex::new(None),
            given: Given::default(),
            urls: Mutex::default(),
        }
    }

    /// In the place of `other`: what is counted of the tunnels to either is counted together.
    pub(crate) fn instead_of(mut self, other: &Self) -> Self {
        self.tunnels = Arc::clone(&other.tunnels);
        self
    }

    /// Gives it further places, so that there are `wanted` with the `first` ones. Their indices.
    pub(crate) fn extend(&self, first: u16, wanted: u16) -> Vec<u16> {
        let mut further = self.further();
        let missing = usize::from(wanted.saturating_sub(first)).saturating_sub(further.len());
        let free = (first..).filter(|index| !further.contains(index));
        let added: Vec<_> = free.take(missing).collect();
        further.extend(&added);
        added
    }

    /// A further place is no longer needed.
    pub(crate) fn loses(&self, index: u16) {
        self.further().remove(&index);
    }

    fn further(&self) -> std::sync::MutexGuard<'_, BTreeSet<u16>> {
        self.further.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A tunnel turned out to speak `version`.
    pub(crate) fn speaks(&self, version: Version) {
        self.version.send_replace(Some(version));
    }

    /// True where it turned out to speak version 1, with which there must not be a second tunnel to it.
    pub(crate) fn takes_one(&self) -> bool {
        *self.version.borrow() == Some(Version::V1)
    }

    /// A tunnel to it is ready.
    pub(crate) fn opens(&self) {
        self.opened
            .send_modify(|opened| *opened = opened.saturating_add(1));
    }

    /// How many tunnels to it became ready.
    pub(crate) fn opened(&self) -> watch::Receiver<u32> {
        self.opened.subscribe()
    }

    /// The end of its tunnels, as each place follows it.
    pub(crate) fn stop(&self) -> watch::Receiver<Stop> {
        self.stop.subscribe()
    }

    /// Has its tunnels end: `level` or what was reached before counts.
    pub(crate) fn stops(&self, level: Stop) {
        self.stop
            .send_if_modified(|stop| std::mem::replace(stop, level.max(*stop)) < level);
    }

    /// True once its tunnels are to end.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stop.borrow() > Stop::No
    }

    /// Waits until no place for a tunnel to it is left.
    pub(crate) async fn is_over(&self) {
        self.stop.closed().await;
    }

    /// True once a tunnel to it was taken and healthy.
    pub(crate) fn was_healthy(&self) -> bool {
        self.version.borrow().is_some()
    }

    /// Takes down the public URLs it gave; true if they are others than before.
    pub(crate) fn gives(&self, urls: &[String]) -> bool {
        let Ok(mut known) = self.urls.lock() else {
            return false;
        };
        let changed = *known != urls;
        *known = urls.to_vec();
        changed
    }

    /// Waits until the gateway is known to speak version 2. Another tunnel to a gateway of
    /// version 1 would do harm: some spread one request over all they have (ANPX 2.2).
    pub(crate) async fn takes_several(&self) {
        let mut version = self.version.subscribe();
        // The sender lives in self, so the wait cannot fail.
        let _ = version.wait_for(|v| *v == Some(Version::V2)).await;
    }

    /// No tunnel to this gateway shall be opened again.
    pub(crate) fn give_up(&self) {
        self.given_up.send_replace(true);
    }

    /// It was given up because of `error`.
    pub(crate) fn because(&self, error: Error) {
        if let Ok(mut reason) = self.reason.lock() {
            reason.get_or_insert(error);
        }
    }

    /// True once it was given up.
    pub(crate) fn was_given_up(&self) -> bool {
        *self.given_up.borrow()
    }

    /// Waits until the gateway is given up.
    pub(crate) async fn is_given_up(&self) {
        let mut given_up = self.given_up.subscribe();
        let _ = given_up.wait_for(|given_up| *given_up).await;
    }

    /// Why it was given up, once.
    pub(crate) fn take_reason(&self) -> Option<Error> {
        self.reason.lock().ok()?.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_places_come_and_go_and_no_index_is_given_twice() {
        let url = "ws://gw.example".parse().unwrap();
        let gateway = Gateway::new(url, &Config::default());
        assert_eq!(gateway.extend(2, 2), [0; 0]);
        assert_eq!(gateway.extend(2, 5), [2, 3, 4]);
        assert_eq!(gateway.extend(2, 4), [0; 0]);
        gateway.loses(3);
        assert_eq!(gateway.extend(2, 4), [0; 0]);
        assert_eq!(gateway.extend(2, 6), [3, 5]);
    }
}
