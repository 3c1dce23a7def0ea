//! Lines for people and scripts on standard output.

use std::{
    io::{self, ErrorKind, Write as _},
    sync::OnceLock,
};

use crate::{exit::Failure, lines::Lines};

/// Lines of commands that serve, once there are some; `None` where no thread could be started for them.
static MENTIONED: OnceLock<Option<Lines>> = OnceLock::new();

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
    let lines = MENTIONED.get_or_init(|| {
        let lost = |lines| tracing::warn!(lines, "standard output took lines too slowly");
        Lines::start("anp-stdout", Mentioned, lost).ok()
    });
    if let Some(lines) = lines {
        lines.push(format!("{line}\n").as_bytes());
    }
}

/// Waits until what was mentioned is written, but not long for a reader that does not read.
pub(crate) fn finish() {
    if let Some(lines) = MENTIONED.get().and_then(Option::as_ref) {
        lines.finish();
    }
}

fn write(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Standard output for lines that nobody must have: the log tells why they cannot be written.
struct Mentioned;

impl io::Write for Mentioned {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        io::stdout().write(text).inspect_err(tell)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush().inspect_err(tell)
    }
}

fn tell(error: &io::Error) {
    use ErrorKind::{BrokenPipe, Interrupted, WouldBlock};
    if !matches!(error.kind(), BrokenPipe | Interrupted | WouldBlock) {
        tracing::warn!(%error, "standard output cannot be written");
    }
}
