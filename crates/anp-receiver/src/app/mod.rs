//! The ways to call an app: HTTP/1.1 over TCP or a Unix socket, HTTP/2 over TCP, a service in this
//! process, or whoever takes the streams as they are.

mod conclude;
pub(crate) mod error;
pub(crate) mod h2;
pub(crate) mod http1;
mod interim;
mod pipe;
mod pool;
pub(crate) mod service;
mod socket;
pub(crate) mod sparing;
pub(crate) mod tasks;

use std::{fmt, rc::Rc, sync::Arc};

use anp_tunnel::Incoming;

pub(crate) use pool::{Apps, PoolConfig, is_short_of_descriptors};
pub(crate) use socket::Socket;
pub(crate) use tasks::Tasks;

/// The app as one worker calls it.
pub(crate) enum App {
    /// At one or several URLs.
    Http(Rc<Tasks>),
    /// A service in this process.
    Service(Rc<dyn service::Serve>),
    /// Whoever takes the streams.
    Streams(Arc<dyn TakeStreams>),
}

impl App {
    /// Has a request answered. Must run where `spawn_local` works.
    pub(crate) fn take(&self, incoming: Incoming) {
        match self {
            Self::Http(tasks) => tasks.answer(incoming),
            Self::Service(service) => service.serve(incoming),
            Self::Streams(taker) => taker.take(incoming),
        }
    }
}

/// The app as all workers are given it.
#[derive(Clone)]
pub(crate) enum Source {
    /// At the URLs of the configuration.
    Http,
    /// What makes each worker its service.
    Service(service::Make),
    /// Whoever takes the streams.
    Streams(Arc<dyn TakeStreams>),
}

/// Takes requests as the tunnel has them, for apps that no other way of calling one fits.
///
/// Both halves of an [`Incoming`] may be used from any thread. What is dropped unanswered is reset.
pub trait TakeStreams: Send + Sync {
    /// Takes a request, on the thread that carries its tunnel: must be quick, and not panic.
    fn take(&self, incoming: Incoming);
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "Http",
            Self::Service(_) => "Service",
            Self::Streams(_) => "Streams",
        })
    }
}
