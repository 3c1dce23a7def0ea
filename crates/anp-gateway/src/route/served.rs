//! An endpoint as a running gateway knows it.

use std::{fmt, sync::Arc};

use super::place::Place;
use crate::{
    alive::Life,
    config::{Config, Endpoint},
    error::ProxyError,
    owner::Owner,
    policy::Policy,
    registry::Pool,
};

/// An endpoint: its place, who serves it, and within which limits. Settings never change; a change
/// of them is another value over the same pool.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    /// Its name in logs and metrics.
    pub(crate) name: String,
    /// Where it was written.
    pub(crate) source: Source,
    /// As it was written there.
    pub(crate) settings: Arc<Endpoint>,
    /// Which requests are for it.
    pub(crate) place: Place,
    /// Who may serve it.
    pub(crate) owners: Owners,
    /// Largest body of a request, in bytes.
    pub(crate) max_body: Option<u64>,
    /// Requests at once.
    max_requests: Option<usize>,
    /// What is done beside carrying requests; `None` where nothing is.
    pub(crate) policy: Option<Arc<Policy>>,
    /// What outlives its settings.
    pub(crate) pool: Arc<Pool>,
}

/// Where an endpoint was written, and so where it is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The configuration: a reload replaces it.
    Config,
    /// The registry: it comes and goes by the admin listener.
    Registry,
    /// Nowhere: a DID has it by its name, and it comes and goes with that DID's tunnels.
    Did,
}

/// Who may serve an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owners {
    /// Whoever connects.
    Anyone,
    /// These.
    These(Vec<Owner>),
}

impl Served {
    /// The endpoint that a valid configuration describes, with a pool of its own.
    pub(crate) fn new(endpoint: &Endpoint, config: &Config) -> Self {
        Self {
            name: endpoint.name.clone(),
            source: Source::Config,
            settings: Arc::new(endpoint.clone()),
            place: Place::new(endpoint.host.as_deref(), &endpoint.path),
            owners: Owners::These(endpoint.owners().collect()),
            max_body: endpoint
                .max_body_size
                .or(config.max_body_size)
                .map(|size| size.0),
            max_requests: endpoint.max_requests.or(config.max_requests),
            policy: Policy::new(endpoint, config),
            pool: Arc::new(Pool::new(config.worker_count())),
        }
    }

    /// The endpoint that a valid entry of the registry describes, with a pool of its own.
    pub(crate) fn registered(endpoint: &Endpoint, config: &Config) -> Self {
        Self {
            source: Source::Registry,
            ..Self::new(endpoint, config)
        }
    }

    /// The endpoint that a DID has by its name, with a pool of its own.
    pub(crate) fn of_did(endpoint: &Endpoint, config: &Config) -> Self {
        Self {
            source: Source::Did,
            ..Self::new(endpoint, config)
        }
    }

    /// The endpoint of a gateway that is open: every request, whichever receiver.
    pub(crate) fn open(config: &Config) -> Self {
        Self {
            name: "open".to_owned(),
            owners: Owners::Anyone,
            ..Self::new(&Endpoint::default(), config)
        }
    }

    /// True where it has every path of its hosts that no other has.
    pub(crate) fn is_root(&self) -> bool {
        self.place.prefix.is_empty()
    }

    /// Takes the place of `before`, whose name it has, or whose place and owners: its tunnels, those who
    /// wait for them, and what was used of its limits.
    pub(crate) fn follow(&mut self, before: &Self) {
        // Tunnels are there for a place, and so are requests: those that wait go to no other's.
        self.pool = match self.place == before.place {
            true => before.pool.clone(),
            false => Arc::new(before.pool.elsewhere()),
        };
        let policy = self.policy.as_mut().and_then(Arc::get_mut);
        if let (Some(policy), Some(before)) = (policy, &before.policy) {
            policy.follow(before);
        }
    }

    /// Counts a request for as long as what is given lives; nothing where no limit is set.
    ///
    /// # Errors
    /// 503 where there are as many as may be.
    pub(crate) fn begin(&self) -> Result<Option<Life>, ProxyError> {
        match self.max_requests {
            None => Ok(None),
            Some(max) => match self.pool.requests.begin(max) {
                Some(life) => Ok(Some(life)),
                None => Err(ProxyError::EndpointFull),
            },
        }
    }
}

impl Source {
    /// The word for it in listings.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Registry => "registry",
            Self::Did => "did",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Config => "configuration",
            Self::Registry => "registry",
            Self::Did => "identities",
        })
    }
}
