//! Lines for people and scripts on standard output.

use std::io::{self, Write as _};

/// Writes `line`. That nobody reads it any more is no failure of the program.
pub(crate) fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
