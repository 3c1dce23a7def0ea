//! Endpoints that DIDs have by their names. One comes with the first tunnel of its DID, and goes some
//! time after the last: meanwhile its callers are told to come again, and nobody else gets its place.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anp_auth::Did;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

use crate::{
    alive::Alive,
    config::{Config, NoPlace},
    owner::Owner,
    route::{Routes, Served, Source, Taken},
};

/// The DIDs whose endpoints are there by their names.
#[derive(Debug)]
pub(crate) struct Places {
    routes: Arc<Routes>,
    config: ArcSwap<Config>,
    /// When a tunnel of each was last seen. Locked before what the routes lock.
    seen: Mutex<HashMap<Did, Instant>>,
    /// Changed by each that comes.
    opened: watch::Sender<()>,
    /// Requests that wait for one to come, or for one of the registry.
    pub(crate) expected: Alive,
}

/// Why a DID did not get the endpoint of its name. `Display` is for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotPlaced {
    /// There is none of this name.
    #[error(transparent)]
    Not(#[from] NoPlace),
    /// It is another's, in whole or in part.
    #[error(transparent)]
    Taken(#[from] Taken),
    /// As many DIDs as there may be tunnels have one.
    #[error("as many DIDs have endpoints as there may be tunnels")]
    Full,
}

impl NotPlaced {
    /// What the DID itself is told.
    pub(crate) fn public_text(&self) -> &'static str {
        match self {
            Self::Not(_) => "its name gives it no endpoint",
            Self::Taken(_) => "the endpoint of its name is another's",
            Self::Full => "too many identities have endpoints",
        }
    }
}

impl Places {
    /// Of the DIDs that a valid `config` gives endpoints.
    pub(crate) fn new(routes: Arc<Routes>, config: &Config) -> Self {
        Self {
            routes,
            config: ArcSwap::from_pointee(config.clone()),
            seen: Mutex::default(),
            opened: watch::Sender::new(()),
            expected: Alive::default(),
        }
    }

    /// Takes up another valid configuration, before the routes do.
    pub(crate) fn follow(&self, config: &Config) {
        self.config.store(Arc::new(config.clone()));
    }

    /// True if DIDs have endpoints by their names.
    pub(crate) fn are_given(&self) -> bool {
        let config = self.config.load();
        let auth = config.auth.as_ref();
        auth.is_some_and(|auth| auth.did_endpoints.is_some())
    }

    /// Tells of each that comes, and once at first.
    pub(crate) fn opened(&self) -> watch::Receiver<()> {
        let mut opened = self.opened.subscribe();
        // One may have come between the caller's look and this.
        opened.mark_changed();
        opened
    }

    /// Whether `did` may come for the sake of its name.
    ///
    /// # Errors
    /// Its name gives it no endpoint.
    pub(crate) fn allow(&self, did: &Did) -> Result<(), NoPlace> {
        self.config.load().endpoint_of(did).map(drop)
    }

    /// Gives `did`, which is proven, the endpoint of its name, or leaves it to it.
    ///
    /// # Errors
    /// It has none.
    pub(crate) fn open(&self, did: &Did) -> Result<(), NotPlaced> {
        let mut seen = self.seen.lock();
        let config = self.config.load();
        let endpoint = config.endpoint_of(did)?;
        if !seen.contains_key(did) && seen.len() >= config.max_tunnels {
            return Err(NotPlaced::Full);
        }
        let is_there = |name| {
            let now = self.routes.now();
            now.named(name).is_some_and(|s| s.source == Source::Did)
        };
        if !is_there(&endpoint.name) {
            self.routes.change(|table| {
                // Read in here: a reload tells of its configuration before it comes for the routes.
                let config = self.config.load();
                let endpoint = config.endpoint_of(did)?;
                table.insert_of_did(Arc::new(Served::of_did(&endpoint, &config)))?;
                tracing::info!(%did, place = %endpoint.path, host = endpoint.host, "a DID has an endpoint");
                Ok::<(), NotPlaced>(())
            })?;
        }
        seen.insert(did.clone(), Instant::now());
        self.opened.send_replace(());
        Ok(())
    }

    /// Takes out the endpoints whose last tunnel has gone long enough ago. `holders` shows who holds
    /// a tunnel now.
    pub(crate) fn sweep(&self, holders: impl FnOnce(&mut dyn FnMut(&Owner))) {
        let mut seen = self.seen.lock();
        if seen.is_empty() {
            return;
        }
        let now = Instant::now();
        holders(&mut |owner| {
            if let Owner::Did(text) = owner
                && let Ok(did) = text.parse::<Did>()
                && let Some(last) = seen.get_mut(&did)
            {
                *last = now;
            }
        });
        let grace = self.grace();
        let gone: Vec<Did> = seen
            .iter()
            .filter(|(_, last)| now.duration_since(**last) >= grace)
            .map(|(did, _)| did.clone())
            .collect();
        if gone.is_empty() {
            return;
        }
        self.take_out(gone.iter().map(Did::as_str));
        for did in gone {
            seen.remove(&did);
            tracing::info!(%did, "the endpoint of a DID has gone");
        }
    }

    /// Takes out the endpoint of a DID whose document was withdrawn here: nobody can prove to be it any
    /// more, and its name is free for another key.
    pub(crate) fn withdrawn(&self, did: &str) {
        let mut seen = self.seen.lock();
        if did
            .parse::<Did>()
            .is_ok_and(|did| seen.remove(&did).is_some())
        {
            self.take_out([did]);
            tracing::info!(did, "the endpoint of a DID has gone with its document");
        }
    }

    /// Takes out endpoints that DIDs have. One that the configuration has meanwhile is not taken out.
    fn take_out<'d>(&self, dids: impl IntoIterator<Item = &'d str>) {
        let _ = self.routes.change(|table| {
            for did in dids {
                if table.named(did).is_some_and(|s| s.source == Source::Did) {
                    table.remove(did);
                }
            }
            Ok::<(), std::convert::Infallible>(())
        });
    }

    fn grace(&self) -> Duration {
        let config = self.config.load();
        let rule = config.auth.as_ref().and_then(|a| a.did_endpoints.as_ref());
        rule.map_or(Duration::ZERO, |rule| rule.grace.0)
    }
}
