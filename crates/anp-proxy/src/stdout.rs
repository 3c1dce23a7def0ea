//! Lines for people and scripts on standard output.

use std::io::{self, ErrorKind, Write as _};

use crate::exit::Failure;

/// Writes `line`, for which the command was called. That nobody reads it any more is no failure of the
/// program.
///
/// # Errors
/// It cannot be written: a secret that is shown once would be lost.
pub(crate) fn say(line: &str) -> Result<(), Failure> {
    write(line).map_err(|error| Failure::runtime(format!("cannot write standard output: {error}")))
}

/// Writes `line` of a command that serves, and goes on serving without it.
pub(crate) fn mention(line: &str) {
    if let Err(error) = write(line) {
        tracing::warn!(%error, line, "standard output cannot be written");
    }
}

fn write(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
