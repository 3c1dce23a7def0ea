//! The step from a host name to addresses, apart from everything else so that what it said is what
//! is connected to.

use std::{io, net::IpAddr};

use super::BoxFuture;

/// A name service.
pub trait Names: Send + Sync {
    /// Every address of `host`, in the order they should be tried.
    fn lookup(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The name service of the system (`getaddrinfo`).
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemNames;

impl Names for SystemNames {
    fn lookup(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(found.map(|socket| socket.ip()).collect())
        })
    }
}
