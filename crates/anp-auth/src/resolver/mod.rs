//! From a DID to its document.

mod address;
mod budget;
mod cache;
mod config;
mod fetch;
mod freshness;
mod https;
mod names;
mod share;
mod tls;

use std::{future::Future, net::IpAddr, pin::Pin, sync::Arc, time::Duration};

use thiserror::Error;

pub use self::{
    address::{Place, PlaceError, is_public},
    config::{AllowAddress, ResolverConfig},
    fetch::Step,
    https::HttpsResolver,
    names::{Names, SystemNames},
    tls::TlsError,
};
use crate::{did::Did, document::Document, document::DocumentError};

/// A future that can be kept in a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Finds documents. The caller has checked that the DID is one it wants to hear of.
pub trait Resolver: Send + Sync {
    /// The document of `did`, its key binding checked.
    fn resolve<'a>(&'a self, did: &'a Did) -> BoxFuture<'a, Result<Arc<Document>, ResolveError>>;
}

/// Why there is no document.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ResolveError {
    /// The DID has a port that is not among those configured.
    #[error("port {0} is not one that documents are fetched from")]
    Port(u16),
    /// The host name has no address, or the name service failed.
    #[error("{host} cannot be looked up: {reason}")]
    Lookup {
        /// The host of the DID.
        host: Arc<str>,
        /// What the system says.
        reason: Arc<str>,
    },
    /// The host has no address that may be connected to; this is one that it has.
    #[error("{0} is not a public address, nor in a network that is allowed")]
    Address(IpAddr),
    /// No address took a connection.
    #[error("cannot connect: {0}")]
    Connect(Arc<str>),
    /// The TLS handshake failed, or the certificate is not valid for the host.
    #[error("no secure connection: {0}")]
    Tls(Arc<str>),
    /// A redirect, which is never followed.
    #[error("answered with a redirect (HTTP {0}), which is not followed")]
    Redirect(u16),
    /// Another status than 200.
    #[error("answered HTTP {0}")]
    Status(u16),
    /// A compressed answer, which nobody asked for.
    #[error("answered with a content coding, although none is accepted")]
    Coded,
    /// The connection broke, or what came is no HTTP.
    #[error("the answer broke off: {0}")]
    Broken(Arc<str>),
    /// Everything together took too long.
    #[error("no document within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// Too many documents of this host were fetched lately, or too many requests wait for documents.
    #[error("too many documents were asked for")]
    Busy,
    /// Documents of this domain are kept here, and this is none of them.
    #[error("documents of its domain are hosted here, and there is none of it")]
    NotHosted,
    /// What came cannot be used.
    #[error(transparent)]
    Document(#[from] DocumentError),
}
