//! Host and path to endpoint.
//!
//! A request is routed by the bytes it came with and again by a decoded copy of its path without
//! dot segments, empty segments and backslashes, which is how an app may read it. Where the two
//! disagree the request is refused, and so is what apps would read in more ways than these, so that
//! no spelling of a path reaches an endpoint other than the one its plain spelling reaches. The bytes
//! forwarded are those received.

pub(crate) mod path;
pub(crate) mod place;
mod served;
mod table;
mod tree;

use std::{collections::HashSet, convert::Infallible, sync::Arc};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;

use crate::config::{Config, Endpoint};

pub(crate) use served::{Owners, Served, Source};
pub(crate) use table::{LeftOut, Table, Taken};

/// The endpoints, which come and go while requests are routed: readers take a snapshot without a
/// lock, changes follow one another.
#[derive(Debug)]
pub(crate) struct Routes {
    now: ArcSwap<Table>,
    changing: Mutex<()>,
}

impl Routes {
    /// The routes of a valid configuration.
    pub(crate) fn new(config: &Config) -> Self {
        let routes = Self {
            now: ArcSwap::default(),
            changing: Mutex::new(()),
        };
        routes.configure(config, |_| {});
        routes
    }

    /// Replaces the endpoints of the configuration by those of another valid one. One that keeps
    /// its name, or its place and owners, keeps its tunnels, and those who wait for them. `prepare`
    /// sees them before any request does.
    pub(crate) fn configure(&self, config: &Config, prepare: impl FnOnce(&Table)) {
        let _ = self.change(|table| {
            *table = arranged(table, config, table.registered());
            prepare(table);
            Ok::<(), Infallible>(())
        });
    }

    /// Replaces the entries of the registry, as [`Routes::configure`] those of the configuration.
    pub(crate) fn register(&self, config: &Config, registered: Vec<Arc<Endpoint>>) {
        let _ = self.change(|table| {
            *table = arranged(table, config, registered);
            Ok::<(), Infallible>(())
        });
    }

    /// The endpoints as they are now.
    pub(crate) fn now(&self) -> Guard<Arc<Table>> {
        self.now.load()
    }

    /// Changes the endpoints; nothing where `change` fails.
    ///
    /// # Errors
    /// Those of `change`.
    pub(crate) fn change<E>(
        &self,
        change: impl FnOnce(&mut Table) -> Result<(), E>,
    ) -> Result<(), E> {
        let _one_at_a_time = self.changing.lock();
        let mut table = Table::clone(&self.now.load());
        change(&mut table)?;
        self.now.store(Arc::new(table));
        Ok(())
    }
}

/// The endpoints of a valid configuration, and those of the registry and of DIDs that do not collide
/// with them.
pub(crate) fn arranged(before: &Table, config: &Config, registered: Vec<Arc<Endpoint>>) -> Table {
    let mut table = Table::default();
    let written = config.endpoints.iter();
    let written = written.chain(registered.iter().map(|endpoint| &**endpoint));
    let names: HashSet<String> = written.map(|endpoint| endpoint.name.clone()).collect();
    let put = |mut served: Served, table: &mut Table| {
        let renamed = || {
            let there = before.at(&served.place)?;
            // Whoever has the name still has the tunnels.
            let is_gone = !names.contains(&there.name);
            (is_gone && there.owners == served.owners).then_some(there)
        };
        if let Some(same) = before.named(&served.name).or_else(renamed) {
            served.follow(same);
        }
        table.insert(Arc::new(served))
    };
    for served in configured(config) {
        if let Err(taken) = put(served, &mut table) {
            // Validation found it first.
            tracing::error!(%taken, "an endpoint of the configuration is left out");
        }
    }
    for settings in registered {
        if let Err(taken) = put(Served::registered(&settings, config), &mut table) {
            if before.left_out(&settings.name).is_none() {
                tracing::warn!(endpoint = settings.name, %taken, "an endpoint of the registry is left out");
            }
            table.leave_out(settings, taken);
        }
    }
    for served in before.iter().filter(|s| s.source == Source::Did) {
        let did = served.name.parse().ok();
        let endpoint = did.and_then(|did| config.endpoint_of(&did).ok());
        let Some(mut now) = endpoint.map(|e| Served::of_did(&e, config)) else {
            continue;
        };
        now.follow(served);
        if let Err(taken) = table.insert_of_did(Arc::new(now)) {
            tracing::warn!(did = served.name, %taken, "a DID has lost its endpoint");
        }
    }
    table
}

/// The endpoints of a valid configuration.
fn configured(config: &Config) -> impl Iterator<Item = Served> {
    let open = config.is_open().then(|| Served::open(config));
    let named = config.endpoints.iter().map(|e| Served::new(e, config));
    named.chain(open)
}

#[cfg(test)]
mod tests;
