//! One accepted connection: its socket, its deadlines, and the future that drives both.

mod drive;
mod io;
mod watch;

pub(crate) use drive::{Ended, drive, serve};
pub(crate) use io::Watched;
pub(crate) use watch::{Expired, Limits, Watch};
