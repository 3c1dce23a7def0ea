//! The ways to call an app: HTTP/1.1 over TCP or a Unix socket, HTTP/2 over TCP, a service in this
//! process, or whoever takes the streams as they are.

mod error;
pub(crate) mod h2;
pub(crate) mod http1;
mod interim;
mod pool;
pub(crate) mod service;
mod socket;

use std::{fmt, rc::Rc, sync::Arc};

use anp_tunnel::{Incoming, SendStream};
use anpx::RequestHead;
use tracing::{debug, warn};

pub(crate) use error::AppError;
pub(crate) use interim::Interim;
pub(crate) use pool::{Apps, PoolConfig};
pub(crate) use socket::Socket;

use crate::dispatch::Tasks;

/// The app as one worker calls it.
pub(crate) enum App {
    /// At one or several URLs.
    Http(Rc<Tasks>),
    /// A service in this process.
    Service(Rc<dyn service::Serve>),
    /// Whoever takes the streams.
    Streams(Arc<dyn TakeStreams>),
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

/// Sees to the end of an exchange: one that failed is reset with the code that says why.
pub(crate) fn conclude(
    result: Result<(), AppError>,
    head: &RequestHead,
    response: &mut SendStream,
) {
    let Err(error) = result else {
        return;
    };
    let request = head.request_id.escape_ascii();
    match error.reset_code() {
        Some(code) => {
            warn!(request_id = %request, %error, "request failed");
            response.reset(code);
        }
        None => debug!(request_id = %request, %error, "request abandoned"),
    }
}
