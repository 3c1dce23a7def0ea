//! The registry of endpoints: those that come and go by the admin listener, and are kept in a file.
//!
//! One thread makes all changes: to the file first, then to the routes. What comes while it writes
//! is written together with the next, so that many changes at once cost few waits for the disk.
//! Whoever asked is answered once its change is on the disk and in effect.

mod store;
mod version;

use std::{
    collections::HashSet,
    convert::Infallible,
    iter,
    sync::{Arc, OnceLock, Weak, mpsc},
    thread,
};

use tokio::sync::oneshot;

use crate::{
    config::{Config, Endpoint},
    owner::Owner,
    route::{self, Served, Source, Table, Taken},
    stop::Step,
    workers::Shared,
};

use store::Edit;
pub(crate) use store::Store;
pub use store::StoreError;
pub(crate) use version::{Expected, tag};

/// Changes that are written at once, at most.
const BATCH: usize = 1024;

/// Why an endpoint was not changed. `Display` says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChangeError {
    /// Another has its name or place.
    #[error("{0}")]
    Taken(#[from] Taken),
    /// There is none of this name.
    #[error("there is no endpoint {0:?}")]
    Unknown(String),
    /// It is not the registry's.
    #[error("endpoint {0:?} is of the configuration: change it there, then reload")]
    Configured(String),
    /// Its settings are not those that were expected.
    #[error("endpoint {0:?} was changed since it was looked at: look again")]
    Changed(String),
    /// This gateway has no registry.
    #[error("this gateway keeps no endpoints: set gateway.endpoint_store to a file for them")]
    NoStore,
    /// The gateway stops, and another may have taken its place.
    #[error("the gateway is stopping")]
    Stopping,
    /// The file could not be written.
    #[error("{0}")]
    Store(String),
}

/// A change to the registry.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// A new endpoint, which must be valid.
    Add(Arc<Endpoint>),
    /// Other settings, which must be valid, for the endpoint of this name.
    Replace(Arc<Endpoint>, Expected),
    /// The end of the endpoint of this name.
    Remove(String, Expected),
    /// Reads the file again: another process may have written it.
    CatchUp,
}

struct Order {
    change: Change,
    done: oneshot::Sender<Result<(), ChangeError>>,
}

/// The way to the thread that makes changes.
#[derive(Debug, Default)]
pub(crate) struct Endpoints(OnceLock<mpsc::Sender<Order>>);

impl Endpoints {
    /// Starts the thread that changes the endpoints of `gateway`.
    ///
    /// # Errors
    /// The system gave no thread.
    pub(crate) fn start(&self, gateway: Weak<Shared>, store: Store) -> std::io::Result<()> {
        let (sender, orders) = mpsc::channel();
        thread::Builder::new()
            .name("endpoints".to_owned())
            .spawn(move || run(&gateway, store, &orders))?;
        let _ = self.0.set(sender);
        Ok(())
    }

    /// Makes a change. It is on the disk and in effect when this returns.
    ///
    /// # Errors
    /// Nothing was changed.
    pub(crate) async fn change(&self, change: Change) -> Result<(), ChangeError> {
        let orders = self.0.get().ok_or(ChangeError::NoStore)?;
        let (done, answer) = oneshot::channel();
        let sent = orders.send(Order { change, done });
        let lost = || ChangeError::Store("the registry's thread has ended".to_owned());
        sent.map_err(|_| lost())?;
        answer.await.unwrap_or_else(|_| Err(lost()))
    }
}

fn run(gateway: &Weak<Shared>, mut store: Store, orders: &mpsc::Receiver<Order>) {
    while let Ok(first) = orders.recv() {
        let Some(shared) = gateway.upgrade() else {
            return;
        };
        let waiting = orders.try_iter().take(BATCH - 1);
        let (changes, askers): (Vec<_>, Vec<_>) = iter::once(first)
            .chain(waiting)
            .map(|order| (order.change, order.done))
            .unzip();
        let answers = change(&shared, &mut store, &changes);
        drop(shared);
        for (asker, answer) in askers.into_iter().zip(answers) {
            // Whoever left meanwhile finds the change made.
            let _ = asker.send(answer);
        }
    }
}

/// Makes changes in their order; an answer for each.
fn change(shared: &Shared, store: &mut Store, changes: &[Change]) -> Vec<Result<(), ChangeError>> {
    if changes.iter().any(|c| matches!(c, Change::CatchUp)) {
        catch_up(shared, store);
    }
    let mut owners = HashSet::new();
    let mut answers = Vec::with_capacity(changes.len());
    let written = shared.routes.change(|table| {
        // Read in here: a reload stores its settings before it comes for the routes.
        let settings = shared.settings.load();
        let mut edits = Vec::new();
        for change in changes {
            let answer = apply(change, table, &settings.config, &mut owners);
            answers.push(answer.map(|edit| edits.extend(edit)));
        }
        if edits.is_empty() {
            return Ok(());
        }
        // Once it drains another process may serve: that one catches up with what was written
        // before, and would miss what is written from then on.
        let serves = || !shared.stop.is(Step::Draining);
        match store.commit(&edits, serves) {
            Ok(true) => Ok(()),
            Ok(false) => Err(ChangeError::Stopping),
            Err(error) => {
                tracing::error!(%error, "the registry of endpoints could not be written");
                Err(ChangeError::Store(error.to_string()))
            }
        }
    });
    match written {
        Ok(()) => shared.tunnels.follow_routes_of(&owners),
        Err(error) => {
            for answer in answers.iter_mut().filter(|answer| answer.is_ok()) {
                *answer = Err(error.clone());
            }
        }
    }
    answers
}

fn catch_up(shared: &Shared, store: &mut Store) {
    match store.load_behind_others() {
        Ok(registered) => {
            let _ = shared.routes.change(|table| {
                let settings = shared.settings.load();
                *table = route::arranged(table, &settings.config, registered);
                Ok::<(), Infallible>(())
            });
            shared.tunnels.follow_routes();
            tracing::info!("the registry of endpoints was read again");
        }
        Err(error) => tracing::error!(%error, "the registry of endpoints could not be read again"),
    }
}

/// Makes a change to `table`, and says what is to be written. Adds to `owners` whom it concerns.
fn apply(
    change: &Change,
    table: &mut Table,
    config: &Config,
    owners: &mut HashSet<Owner>,
) -> Result<Option<Edit>, ChangeError> {
    match change {
        Change::Add(settings) => {
            if table.left_out(&settings.name).is_some() {
                let name = settings.name.clone();
                return Err(Taken::Name(name, Source::Registry).into());
            }
            table.insert(Arc::new(Served::registered(settings, config)))?;
            owners.extend(settings.owners());
            Ok(Some(Edit::Put(settings.clone())))
        }
        Change::Replace(settings, expected) => {
            let mut next = table.clone();
            let before = take(&mut next, &settings.name, expected)?;
            let mut served = Served::registered(settings, config);
            let mut concerned: HashSet<_> = settings.owners().collect();
            match before {
                Before::Served(before) => {
                    concerned.extend(before.settings.owners());
                    served.follow(&before);
                }
                Before::LeftOut => {}
            }
            next.insert(Arc::new(served))?;
            *table = next;
            owners.extend(concerned);
            Ok(Some(Edit::Put(settings.clone())))
        }
        Change::Remove(name, expected) => {
            if let Before::Served(before) = take(table, name, expected)? {
                owners.extend(before.settings.owners());
            }
            Ok(Some(Edit::Remove(name.clone())))
        }
        Change::CatchUp => Ok(None),
    }
}

/// What was taken out.
enum Before {
    Served(Arc<Served>),
    LeftOut,
}

/// Takes an entry of the registry out of the table, where its settings are as `expected`.
fn take(table: &mut Table, name: &str, expected: &Expected) -> Result<Before, ChangeError> {
    let left_out = table.left_out(name).map(|left_out| &left_out.settings);
    let known = left_out.or(table.named(name).map(|served| &served.settings));
    if known.is_some_and(|settings| !expected.holds(settings)) {
        return Err(ChangeError::Changed(name.to_owned()));
    }
    // One that is left out may share its name with one of the configuration.
    if table.forget(name) {
        return Ok(Before::LeftOut);
    }
    match table.named(name).map(|served| served.source) {
        None => Err(ChangeError::Unknown(name.to_owned())),
        Some(Source::Config) => Err(ChangeError::Configured(name.to_owned())),
        Some(Source::Registry) => match table.remove(name) {
            Some(served) => Ok(Before::Served(served)),
            None => Err(ChangeError::Unknown(name.to_owned())),
        },
    }
}
