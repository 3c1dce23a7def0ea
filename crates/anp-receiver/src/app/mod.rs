//! The ways to call an app: HTTP/1.1 over TCP or a Unix socket, and HTTP/2 over TCP.

mod error;
pub(crate) mod h2;
pub(crate) mod http1;
mod interim;
mod pool;
mod socket;

pub(crate) use error::AppError;
pub(crate) use interim::Interim;
pub(crate) use pool::{Apps, PoolConfig};
pub(crate) use socket::Socket;
