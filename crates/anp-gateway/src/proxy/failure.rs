//! Why a request is not answered by its app.

use std::sync::Arc;

use anpx::StreamError;

use crate::{documents::Published, error::ProxyError};

/// Why a request got no answer from behind the gateway.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// The caller left: there is nobody to answer.
    Gone,
    /// The caller is told.
    Refused(ProxyError),
    /// The caller asked about CORS, and is told.
    Preflight,
    /// The caller asked for a DID document that is hosted here, and gets it; `None` where the method
    /// is not one that documents have.
    Document(Option<Arc<Published>>),
}

impl From<ProxyError> for Failure {
    fn from(error: ProxyError) -> Self {
        Self::Refused(error)
    }
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Self {
        Self::Refused(error.into())
    }
}
