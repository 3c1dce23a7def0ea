//! What may be changed, and why it may not.

use std::sync::Arc;

use super::version::Expected;
use crate::{
    config::Endpoint,
    documents::{PublishError, Published},
    route::Taken,
};

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

/// What became of a change.
pub(super) type Answer = Result<(), ChangeError>;
