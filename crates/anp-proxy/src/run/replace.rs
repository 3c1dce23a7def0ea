//! What `--replace` asks for.

use std::path::PathBuf;

/// The gateway that is to be replaced.
#[derive(Debug)]
pub(crate) struct Replace {
    /// Its control socket, where that is not this gateway's own.
    pub(crate) at: Option<PathBuf>,
}
