//! Every tunnel from its handshake to its end: who may come, which worker it goes to, and what it
//! tells the registry.

mod entry;
mod place;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use anp_auth::Proven;
use anp_tunnel::{Status, Tunnel};
use anpx::CloseCode;
use parking_lot::Mutex;
use tokio::time::Instant;

pub(crate) use entry::Seen;
use entry::{Entry, Pools};
pub(crate) use place::Admission;

use crate::{
    alive::Alive,
    auth::Fate,
    members::{Member, TunnelId},
    owner::Owner,
    registry::{Pool, Registry},
    route::{Routes, Table as Endpoints, place::Wishes},
};

/// Why a tunnel is closed whose owner has no endpoint any more.
const NAMED_NO_MORE: &str = "no endpoint names this receiver any more";

/// Every tunnel from its handshake to its end.
#[derive(Debug)]
pub(crate) struct Tunnels {
    routes: Arc<Routes>,
    registry: Arc<dyn Registry>,
    workers: usize,
    /// Until when requests wait for receivers that have not come yet.
    expects_until: Option<Instant>,
    /// Requests that wait so.
    pub(crate) awaiting: Alive,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    last: u64,
    entries: Vec<Entry>,
    closed: bool,
}

/// Why a tunnel was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAdmitted {
    /// No endpoint is this receiver's.
    #[error("no endpoint names this receiver")]
    NotNamed,
    /// As many as allowed are connected.
    #[error("as many tunnels as allowed are connected")]
    TooMany,
    /// The gateway stops.
    #[error("the gateway is stopping")]
    Stopping,
}

impl Tunnels {
    /// Without any yet. They are dealt to `workers`.
    pub(crate) fn new(routes: Arc<Routes>, registry: Arc<dyn Registry>, workers: usize) -> Self {
        Self {
            routes,
            registry,
            workers,
            expects_until: None,
            awaiting: Alive::default(),
            table: Mutex::default(),
        }
    }

    /// Receivers are on their way: a request for an endpoint without a tunnel waits until `until`.
    pub(crate) fn expecting(mut self, until: Instant) -> Self {
        self.expects_until = Some(until);
        self
    }

    /// How long receivers are still expected; nothing unless told so and not much later, nor once
    /// none are taken any more.
    pub(crate) fn expects_for(&self) -> Option<Duration> {
        if self.table.lock().closed {
            return None;
        }
        let left = self.expects_until?.checked_duration_since(Instant::now())?;
        (!left.is_zero()).then_some(left)
    }

    /// Gives a tunnel of `owner` a name, a place, and the worker that has the fewest of the owner's
    /// tunnels for the same `wishes`, then the fewest of all. There may be `limit` in all. `proven` is
    /// what the owner has shown to be one.
    ///
    /// # Errors
    /// It must be refused.
    pub(crate) fn admit(
        self: &Arc<Self>,
        owner: Owner,
        wishes: Wishes,
        proven: Option<Proven>,
        limit: usize,
    ) -> Result<Admission, NotAdmitted> {
        if !self.is_named(&owner) {
            return Err(NotAdmitted::NotNamed);
        }
        let mut table = self.table.lock();
        if table.closed {
            return Err(NotAdmitted::Stopping);
        }
        if table.entries.len() >= limit {
            return Err(NotAdmitted::TooMany);
        }
        let mut load = vec![(0, 0); self.workers];
        for entry in &table.entries {
            load[entry.worker].0 += usize::from(entry.owner == owner && entry.wishes == wishes);
            load[entry.worker].1 += 1;
        }
        let worker = (0..self.workers).min_by_key(|w| load[*w]).unwrap_or(0);
        table.last += 1;
        let id = TunnelId(table.last);
        let pools = Arc::<Pools>::default();
        table.entries.push(Entry {
            id,
            worker,
            owner: owner.clone(),
            proven,
            receiver: None,
            instance: None,
            wishes,
            pools: pools.clone(),
            connected: None,
        });
        Ok(Admission {
            id,
            worker,
            owner,
            tunnels: self.clone(),
            pools,
        })
    }

    /// True where there is an endpoint of this owner.
    fn is_named(&self, owner: &Owner) -> bool {
        self.routes.now().served_by(owner).next().is_some()
    }

    fn pools_of(&self, entry: &Entry) -> Vec<Arc<Pool>> {
        let endpoints = self.routes.now();
        let served = endpoints.served_to(&entry.owner, &entry.wishes);
        served.map(|served| served.pool.clone()).collect()
    }

    /// What those have proven who hold tunnels.
    pub(crate) fn all_proven(&self) -> Vec<Proven> {
        let table = self.table.lock();
        let entries = table.entries.iter();
        entries.filter_map(|entry| entry.proven.clone()).collect()
    }

    /// Shows who holds each tunnel, those that are not connected yet included.
    pub(crate) fn each_owner(&self, visit: &mut dyn FnMut(&Owner)) {
        let table = self.table.lock();
        table.entries.iter().for_each(|entry| visit(&entry.owner));
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

    /// How many endpoints have a tunnel that takes requests, or will again.
    pub(crate) fn served(&self) -> usize {
        let endpoints = self.routes.now();
        let is_served = |pool: &Pool| {
            let mut ready = false;
            self.registry.members(pool, &mut |members| {
                ready = members.iter().any(|m| m.tunnel.status() == Status::Ready);
            });
            ready
        };
        endpoints.iter().filter(|s| is_served(&s.pool)).count()
    }

    /// Admits no more: whoever waits for a first tunnel waits in vain.
    pub(crate) fn stop_admitting(&self) {
        self.table.lock().closed = true;
        for served in self.routes.now().iter() {
            served.pool.wake_all();
        }
    }

    /// Lets tunnels of these owners serve what will be theirs once `endpoints` are the ones that count:
    /// a request that finds one of them is to find its tunnels, too. Tunnels of the owner before leave
    /// with [`Tunnels::follow_routes`], before whoever asked for the change is answered.
    pub(crate) fn join_ahead(&self, endpoints: &Endpoints, concerned: impl Fn(&Owner) -> bool) {
        let table = self.table.lock();
        for entry in table.entries.iter().filter(|e| concerned(&e.owner)) {
            if let Some(tunnel) = entry.tunnel() {
                let mut pools = Vec::clone(&entry.pools.0.load());
                let served = endpoints.served_to(&entry.owner, &entry.wishes);
                pools.extend(served.map(|served| served.pool.clone()));
                pools.sort_unstable_by_key(Arc::as_ptr);
                pools.dedup_by_key(|pool| Arc::as_ptr(pool));
                self.enter(entry, tunnel, pools);
            }
        }
    }

    /// Lets every tunnel serve what is its owner's, as far as it asked for that, now that the endpoints
    /// have changed, and closes those of owners that have none left. What a tunnel asked for may come
    /// back.
    pub(crate) fn follow_routes(&self) {
        self.follow(|_| true);
    }

    /// As [`Tunnels::follow_routes`], where only endpoints of these owners have changed.
    pub(crate) fn follow_routes_of(&self, owners: &HashSet<Owner>) {
        self.follow(|owner| owners.contains(owner));
    }

    fn follow(&self, concerned: impl Fn(&Owner) -> bool) {
        let mut closed = Vec::new();
        {
            let table = self.table.lock();
            for entry in table.entries.iter().filter(|e| concerned(&e.owner)) {
                let Some(tunnel) = entry.tunnel() else {
                    continue;
                };
                if !self.is_named(&entry.owner) {
                    closed.push(tunnel.clone());
                }
                self.enter(entry, tunnel, self.pools_of(entry));
            }
        }
        // Outside the lock: their ends take it.
        for tunnel in closed {
            tunnel.close(CloseCode::NOT_PERMITTED, NAMED_NO_MORE);
        }
    }

    /// Asks about everybody who has proven something, and ends the tunnels that may not stay.
    pub(crate) fn review(&self, fate: impl Fn(&Proven) -> Fate) {
        let due: Vec<_> = {
            let table = self.table.lock();
            let known = table.entries.iter();
            known
                .filter_map(|entry| Some((entry.tunnel()?.clone(), fate(entry.proven.as_ref()?))))
                .filter(|(_, fate)| *fate != Fate::Stays)
                .collect()
        };
        // Outside the lock: their ends take it.
        for (tunnel, fate) in due {
            match fate {
                Fate::Stays => {}
                Fate::Drains if tunnel.status() != Status::Ready => {}
                Fate::Drains => tunnel.drain(),
                Fate::Expired => tunnel.close(CloseCode::GOING_AWAY, "its token has ended"),
                Fate::Removed => {
                    tunnel.close(CloseCode::NOT_PERMITTED, "it is not permitted any more");
                }
            }
        }
    }

    /// Makes a tunnel a member of these pools and of no others.
    fn enter(&self, entry: &Entry, tunnel: &Tunnel, now: Vec<Arc<Pool>>) {
        let before = entry.pools.0.swap(Arc::new(now.clone()));
        // One owner may have thousands.
        let set = |pools: &[Arc<Pool>]| pools.iter().map(Arc::as_ptr).collect::<HashSet<_>>();
        let (was_in, is_in) = (set(&before), set(&now));
        for pool in now.iter().filter(|p| !was_in.contains(&Arc::as_ptr(p))) {
            let member = Member {
                id: entry.id,
                receiver: entry.receiver_id(),
                worker: entry.worker,
                tunnel: tunnel.clone(),
            };
            self.registry.join(pool, member);
            pool.wake_all();
        }
        for pool in before.iter().filter(|p| !is_in.contains(&Arc::as_ptr(p))) {
            self.registry.leave(pool, entry.id);
            pool.wake_all();
        }
    }

    /// All tunnels but one of each receiver: the oldest that takes requests, or else the oldest. Where
    /// they drain, their receivers open others elsewhere, while what still comes here goes through
    /// those that stay.
    pub(crate) fn all_but_one_each(&self) -> Vec<Tunnel> {
        let table = self.table.lock();
        let connected = || {
            let entries = table.entries.iter();
            entries.filter_map(|entry| Some((entry, entry.tunnel()?)))
        };
        let mut stays = HashMap::new();
        for (entry, tunnel) in connected() {
            let takes = tunnel.status() == Status::Ready && tunnel.is_accepting();
            let rank = (!takes, entry.id);
            let first = stays.entry(entry.receiver_id()).or_insert(rank);
            *first = (*first).min(rank);
        }
        connected()
            .filter(|(entry, _)| {
                let stays = stays.get(&entry.receiver_id());
                stays.is_none_or(|(_, id)| *id != entry.id)
            })
            .map(|(_, tunnel)| tunnel.clone())
            .collect()
    }

    /// The tunnels that are connected. The caller may call them, since no lock is held.
    pub(crate) fn all(&self) -> Vec<Tunnel> {
        let table = self.table.lock();
        table
            .entries
            .iter()
            .filter_map(|e| e.tunnel().cloned())
            .collect()
    }

    /// The tunnels that are connected whose names are behind `after`, by name, `limit` at most; and
    /// how many are connected in all.
    pub(crate) fn seen_after(&self, after: u64, limit: usize) -> (Vec<Seen>, usize) {
        let table = self.table.lock();
        let connected = table.entries.iter().filter(|e| e.connected.is_some());
        let total = connected.clone().count();
        let mut behind: Vec<_> = connected.filter(|e| e.id.0 > after).collect();
        behind.sort_unstable_by_key(|e| e.id);
        let seen = behind.into_iter().take(limit).filter_map(Entry::seen);
        (seen.collect(), total)
    }

    /// The tunnel of this name, where it is connected.
    pub(crate) fn seen(&self, id: TunnelId) -> Option<Seen> {
        let table = self.table.lock();
        table.entries.iter().find(|e| e.id == id)?.seen()
    }
}

#[cfg(test)]
mod tests {
    use anp_tunnel::{TunnelConfig, Version};
    use anpx::session::Role;
    use bytes::Bytes;

    use super::*;
    use crate::{
        config::{Config, Endpoint},
        registry::Embedded,
    };

    fn named(name: &str) -> Owner {
        Owner::Name(name.to_owned())
    }

    /// With one endpoint of this name, which "a" and "b" serve.
    fn config(name: &str, path: &str) -> Config {
        Config {
            endpoints: vec![Endpoint {
                name: name.to_owned(),
                host: None,
                path: path.to_owned(),
                receivers: vec!["a".to_owned(), "b".to_owned()],
                ..Endpoint::default()
            }],
            ..Config::default()
        }
    }

    fn tunnels(workers: usize) -> Arc<Tunnels> {
        let routes = Arc::new(Routes::new(&config("e", "/")));
        Arc::new(Tunnels::new(routes, Arc::new(Embedded), workers))
    }

    #[test]
    fn tunnels_of_a_receiver_go_to_different_workers() {
        let tunnels = tunnels(2);
        let a = [
            tunnels
                .admit(named("a"), Wishes::default(), None, 9)
                .unwrap(),
            tunnels
                .admit(named("a"), Wishes::default(), None, 9)
                .unwrap(),
        ];
        assert_eq!(a.each_ref().map(|t| t.worker), [0, 1]);
        let b = [
            tunnels
                .admit(named("b"), Wishes::default(), None, 9)
                .unwrap(),
            tunnels
                .admit(named("b"), Wishes::default(), None, 9)
                .unwrap(),
        ];
        assert_eq!(b.each_ref().map(|t| t.worker), [0, 1]);
        drop(a);
        assert_eq!(
            tunnels
                .admit(named("a"), Wishes::default(), None, 9)
                .unwrap()
                .worker,
            0
        );
    }

    #[test]
    fn admission_ends() {
        let tunnels = tunnels(1);
        assert_eq!(
            tunnels
                .admit(named("x"), Wishes::default(), None, 9)
                .unwrap_err(),
            NotAdmitted::NotNamed
        );
        let first = tunnels
            .admit(named("a"), Wishes::default(), None, 9)
            .unwrap();
        assert_eq!(
            tunnels
                .admit(named("a"), Wishes::default(), None, 1)
                .unwrap_err(),
            NotAdmitted::TooMany
        );
        drop(first);
        tunnels.stop_admitting();
        assert_eq!(
            tunnels
                .admit(named("a"), Wishes::default(), None, 9)
                .unwrap_err(),
            NotAdmitted::Stopping
        );
        assert_eq!(tunnels.totals(), (0, 0));
    }

    #[tokio::test]
    async fn an_endpoint_has_its_tunnels_before_any_request_finds_it() {
        let tunnels = tunnels(1);
        let admission = tunnels
            .admit(named("a"), Wishes::default(), None, 9)
            .unwrap();
        let (io, _) = tokio::io::duplex(1);
        let settings = TunnelConfig::new(Role::Gateway);
        let (tunnel, _driver) = Tunnel::new(io, Bytes::new(), Version::V2, settings, None);
        admission.attach(&tunnel, ([127, 0, 0, 1], 1).into());
        let members = |pool: &Pool| {
            let mut count = 0;
            tunnels
                .registry()
                .members(pool, &mut |members| count = members.len());
            count
        };
        let old = tunnels.routes.now().named("e").unwrap().pool.clone();
        let routes = tunnels.routes.clone();
        routes.configure(&config("other", "/else"), |table| {
            tunnels.join_ahead(table, |_| true);
            assert_eq!(members(&table.named("other").unwrap().pool), 1);
            assert!(routes.now().named("other").is_none());
            assert_eq!(members(&old), 1);
        });
        tunnels.follow_routes();
        assert_eq!(members(&old), 0);
        let pool = |name: &str| routes.now().named(name).unwrap().pool.clone();
        let renamed = pool("other");
        assert_eq!(members(&renamed), 1);
        // One that has only another name has the same tunnels, and the same who wait.
        routes.configure(&config("again", "/else"), |_| {});
        assert!(Arc::ptr_eq(&renamed, &pool("again")));
    }
}
