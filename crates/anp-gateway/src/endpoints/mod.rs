//! The registry: endpoints and DID documents that come and go by the admin listener, and are kept in a
//! file.
//!
//! One thread makes all changes: to the file first, then to what is served. What comes while it writes
//! is written together with the next, so that many changes at once cost few waits for the disk.
//! Whoever asked is answered once its change is on the disk and in effect.

mod store;
mod version;

use std::{
    collections::HashSet,
    convert::Infallible,
    iter,
    panic::{AssertUnwindSafe, catch_unwind},
    slice,
    sync::{Arc, OnceLock, Weak, mpsc},
    thread,
};

use tokio::sync::{oneshot, watch};

use crate::{
    config::{Config, Endpoint},
    documents::{Hosted, PublishError, Published},
    owner::Owner,
    route::{self, Served, Source, Table, Taken},
    stop::Step,
    workers::Shared,
};

use store::Edit;
pub use store::StoreError;
pub(crate) use store::{Kept, Store};
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
    /// A DID has it by its name.
    #[error("endpoint {0:?} is its DID's by name: it comes and goes with that DID's tunnels")]
    OfDid(String),
    /// The document cannot be hosted.
    #[error(transparent)]
    Document(#[from] PublishError),
    /// No document of this DID is hosted.
    #[error("there is no document of {0:?} here")]
    NotHosted(String),
    /// Its settings are not those that were expected.
    #[error("endpoint {0:?} was changed since it was looked at: look again")]
    Changed(String),
    /// This gateway has no registry.
    #[error("this gateway keeps no endpoints: set gateway.endpoint_store to a file for them")]
    NoStore,
    /// The gateway stops, and another may have taken its place.
    #[error("the gateway is stopping")]
    Stopping,
    /// A mistake in this program.
    #[error("the change failed inside the gateway; its log says where")]
    Panicked,
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
    /// A document to be hosted, or a new one of the same key.
    Publish(Arc<Published>),
    /// The end of the document of this DID.
    Withdraw(String),
    /// Reads the file again: another process may have written it.
    CatchUp,
}

struct Order {
    change: Change,
    done: oneshot::Sender<Result<(), ChangeError>>,
}

/// The way to the thread that makes changes.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    orders: OnceLock<mpsc::Sender<Order>>,
    /// True until the file, to which another gateway still writes, was read again.
    behind: watch::Sender<bool>,
}

impl Endpoints {
    /// Starts the thread that changes the endpoints of `gateway`, which is `behind` where another one
    /// still writes to the file.
    ///
    /// # Errors
    /// The system gave no thread.
    pub(crate) fn start(
        &self,
        gateway: Weak<Shared>,
        store: Store,
        behind: bool,
    ) -> std::io::Result<()> {
        self.behind.send_replace(behind);
        let (sender, orders) = mpsc::channel();
        thread::Builder::new()
            .name("endpoints".to_owned())
            .spawn(move || run(&gateway, store, &orders))?;
        let _ = self.orders.set(sender);
        Ok(())
    }

    /// Makes a change. It is on the disk and in effect when this returns.
    ///
    /// # Errors
    /// Nothing was changed.
    pub(crate) async fn change(&self, change: Change) -> Result<(), ChangeError> {
        let orders = self.orders.get().ok_or(ChangeError::NoStore)?;
        let (done, answer) = oneshot::channel();
        let sent = orders.send(Order { change, done });
        let lost = || ChangeError::Store("the registry's thread has ended".to_owned());
        sent.map_err(|_| lost())?;
        answer.await.unwrap_or_else(|_| Err(lost()))
    }

    /// Reads the file again, now that no other gateway writes to it any more.
    pub(crate) async fn catch_up(&self) {
        // A gateway without a registry has nothing to catch up with. One that cannot read its file has
        // told the log, and nobody need wait for it.
        let _ = self.change(Change::CatchUp).await;
        self.behind.send_replace(false);
    }

    /// True where what another gateway wrote may not be known here yet.
    pub(crate) fn are_behind(&self) -> bool {
        *self.behind.borrow()
    }

    /// Ready once they are not.
    pub(crate) async fn caught_up(&self) {
        // An error would mean that the sender is gone, and it is ours.
        let _ = self.behind.subscribe().wait_for(|behind| !behind).await;
    }
}

fn run(gateway: &Weak<Shared>, mut store: Store, orders: &mpsc::Receiver<Order>) {
    serve(orders, |changes| {
        let shared = gateway.upgrade()?;
        Some(change(&shared, &mut store, changes))
    });
}

type Answer = Result<(), ChangeError>;

/// Has `make` make the changes that are asked for, some at once, until it gives nothing.
fn serve(orders: &mpsc::Receiver<Order>, mut make: impl FnMut(&[Change]) -> Option<Vec<Answer>>) {
    while let Ok(first) = orders.recv() {
        let waiting = orders.try_iter().take(BATCH - 1);
        let (changes, askers): (Vec<_>, Vec<_>) = iter::once(first)
            .chain(waiting)
            .map(|order| (order.change, order.done))
            .unzip();
        let Some(answers) = surviving(&changes, &mut make) else {
            return;
        };
        for (asker, answer) in askers.into_iter().zip(answers) {
            // Whoever left meanwhile finds the change made.
            let _ = asker.send(answer);
        }
    }
}

/// Makes changes. Where that panics, what is served is as it was, but the file may be ahead of it: it
/// is read again, and each change is made by itself, so that one bad change costs no other.
fn surviving(
    changes: &[Change],
    make: &mut impl FnMut(&[Change]) -> Option<Vec<Answer>>,
) -> Option<Vec<Answer>> {
    let mut attempt = |changes: &[Change]| {
        // Nothing half made is looked at again: see above.
        catch_unwind(AssertUnwindSafe(|| make(changes))).inspect_err(|_| {
            tracing::error!(changes = changes.len(), "a change to the registry panicked");
        })
    };
    if let Ok(answers) = attempt(changes) {
        return answers;
    }
    let mut answers = Vec::with_capacity(changes.len());
    for change in changes {
        let _ = attempt(&[Change::CatchUp]);
        answers.extend(match attempt(slice::from_ref(change)) {
            Ok(answer) => answer?,
            Err(_) => vec![Err(ChangeError::Panicked)],
        });
    }
    Some(answers)
}

/// Makes changes in their order; an answer for each.
fn change(shared: &Shared, store: &mut Store, changes: &[Change]) -> Vec<Answer> {
    if changes.iter().any(|c| matches!(c, Change::CatchUp)) {
        catch_up(shared, store);
    }
    let mut owners = HashSet::new();
    let mut answers = Vec::with_capacity(changes.len());
    let written = shared.routes.change(|table| {
        // Read in here: a reload stores its settings before it comes for the routes.
        let settings = shared.settings.load();
        let mut edits = Vec::new();
        let mut hosted = Hosted::clone(&shared.documents.now());
        for change in changes {
            let answer = match change {
                Change::Publish(document) => publish(document, &mut hosted),
                Change::Withdraw(did) => withdraw(did, &mut hosted),
                change => apply(change, table, &settings.config, &mut owners),
            };
            answers.push(answer.map(|edit| edits.extend(edit)));
        }
        if edits.is_empty() {
            return Ok(());
        }
        // Once it drains another process may serve: that one catches up with what was written
        // before, and would miss what is written from then on.
        let serves = || !shared.stop.is(Step::Draining);
        match store.commit(&edits, serves) {
            Ok(true) => {
                shared.documents.host(hosted);
                Ok(())
            }
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
        Ok(kept) => {
            let _ = shared.routes.change(|table| {
                let settings = shared.settings.load();
                *table = route::arranged(table, &settings.config, kept.endpoints);
                Ok::<(), Infallible>(())
            });
            shared.documents.load(kept.documents);
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
            let served = Served::registered(settings, config);
            let mut next = table.clone();
            let place = served.place.clone();
            next.insert(Arc::new(served))?;
            let moved = next.make_room(&place);
            *table = next;
            owners.extend(moved.iter().flat_map(|moved| moved.settings.owners()));
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
            let place = served.place.clone();
            next.insert(Arc::new(served))?;
            let moved = next.make_room(&place);
            concerned.extend(moved.iter().flat_map(|moved| moved.settings.owners()));
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
        // Done already, or not about endpoints.
        Change::CatchUp | Change::Publish(_) | Change::Withdraw(_) => Ok(None),
    }
}

fn publish(document: &Arc<Published>, hosted: &mut Hosted) -> Result<Option<Edit>, ChangeError> {
    hosted.publish(document.clone())?;
    Ok(Some(Edit::PutDocument(document.clone())))
}

fn withdraw(did: &str, hosted: &mut Hosted) -> Result<Option<Edit>, ChangeError> {
    match hosted.withdraw(did) {
        true => Ok(Some(Edit::RemoveDocument(did.to_owned()))),
        false => Err(ChangeError::NotHosted(did.to_owned())),
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
        Some(Source::Did) => Err(ChangeError::OfDid(name.to_owned())),
        Some(Source::Registry) => match table.remove(name) {
            Some(served) => Ok(Before::Served(served)),
            None => Err(ChangeError::Unknown(name.to_owned())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes changes as the gateway does, as far as their names go: "bad" panics.
    fn make(changes: &[Change], done: &mut Vec<String>) -> Option<Vec<Answer>> {
        let answer = |change: &Change| match change {
            Change::Remove(name, _) if name == "bad" => panic!("a bad change"),
            Change::Remove(name, _) => {
                done.push(name.clone());
                Ok(())
            }
            _ => Ok(()),
        };
        Some(changes.iter().map(answer).collect())
    }

    #[tokio::test]
    async fn a_change_that_panics_is_answered_and_the_next_is_made() {
        let (sender, orders) = mpsc::channel();
        let endpoints = Endpoints {
            orders: OnceLock::from(sender),
            ..Endpoints::default()
        };
        let remove =
            |name: &str| endpoints.change(Change::Remove(name.to_owned(), Expected::Anything));
        // All three wait before the first is taken, and so are made at once.
        let (mut first, mut bad, mut last) = (
            Box::pin(remove("a")),
            Box::pin(remove("bad")),
            Box::pin(remove("b")),
        );
        for waiting in [&mut first, &mut bad, &mut last] {
            assert!(polled(waiting.as_mut()).is_none());
        }
        let thread = thread::spawn(move || {
            let mut done = Vec::new();
            serve(&orders, |changes| make(changes, &mut done));
            done
        });
        assert_eq!(first.await, Ok(()));
        assert_eq!(bad.await, Err(ChangeError::Panicked));
        assert_eq!(last.await, Ok(()));
        assert_eq!(remove("c").await, Ok(()));
        drop(endpoints);
        let done = thread.join().unwrap();
        assert_eq!(done.last().map(String::as_str), Some("c"));
    }

    fn polled<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        match future.poll(&mut cx) {
            std::task::Poll::Ready(done) => Some(done),
            std::task::Poll::Pending => None,
        }
    }
}
