//! Changes made: to the file first, then to what is served.

use std::{collections::HashSet, convert::Infallible, io, sync::Arc};

use super::{
    change::{Answer, Change, ChangeError},
    store::{Edit, Store},
    version::Expected,
};
use crate::{
    config::Config,
    documents::{Hosted, Published},
    owner::Owner,
    route::{self, Served, Source, Table, Taken},
    stop::Step,
    worker::Shared,
};

/// Starts the thread that changes the endpoints of `gateway`, which is `behind` where another one
/// still writes to the file of `store`. It ends with the gateway.
///
/// # Errors
/// The system gave no thread.
pub(crate) fn start(gateway: &Arc<Shared>, mut store: Store, behind: bool) -> io::Result<()> {
    let shared = Arc::downgrade(gateway);
    gateway.endpoints.start(behind, move |changes| {
        let shared = shared.upgrade()?;
        Some(change(&shared, &mut store, changes))
    })
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
                let concerned = |owner: &Owner| owners.contains(owner);
                shared.tunnels.join_ahead(table, concerned);
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
        Ok(()) => {
            for (change, answer) in changes.iter().zip(&answers) {
                if let (Change::Withdraw(did), Ok(())) = (change, answer) {
                    shared.places.withdrawn(did);
                    owners.insert(Owner::Did(did.clone()));
                }
            }
            shared.tunnels.follow_routes_of(&owners);
        }
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
                shared.tunnels.join_ahead(table, |_| true);
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
