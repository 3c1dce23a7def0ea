//! The ways to call an app. There is one so far: HTTP/1.1 over TCP or a Unix socket.

mod error;
pub(crate) mod http1;
mod pool;
mod socket;

pub(crate) use error::AppError;
pub(crate) use pool::{Apps, PoolConfig};
pub(crate) use socket::Socket;
