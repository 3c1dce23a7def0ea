//! One accepted connection: its socket, its deadline, and the HTTP spoken on it.

pub(crate) mod date;
mod deadline;
pub(crate) mod http1;
pub(crate) mod http2;
mod limits;
mod metered;

pub(crate) use deadline::Deadline;
pub(crate) use limits::{LINGER, LINGER_MOST, LINGER_PAUSE, Limits};
pub(crate) use metered::{Metered, Moved};
