//! Standard error: the lines of the log, and the last word of a program that failed.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    fmt::Write as _,
    io::{self, Write as _},
    panic,
    sync::OnceLock,
    thread,
};

use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use crate::lines::Lines;

/// The target of the line that says how many others were dropped.
const TARGET: &str = "log";

/// Once the log was started.
static LINES: OnceLock<Lines> = OnceLock::new();

/// Where the log is written.
#[derive(Clone, Debug)]
pub(crate) struct Log(Lines);

/// Writes one line of the log.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    lines: &'a Lines,
    /// It says that others were lost.
    loss: bool,
}

/// Writes a whole line behind what was logged, however much of that was dropped.
#[derive(Debug)]
pub(crate) struct Last;

/// Starts the thread that writes the log, which writes what a panic says, too.
///
/// # Errors
/// It cannot be started.
pub(crate) fn start() -> io::Result<Log> {
    let lines = Lines::start("anp-log", io::stderr(), |lines| {
        tracing::error!(
            target: TARGET,
            lines,
            "standard error took lines too slowly: {lines} are missing here"
        );
    })?;
    if LINES.set(lines.clone()).is_ok() {
        panic::set_hook(Box::new(|panic| {
            let thread = thread::current();
            let name = thread.name().unwrap_or("<unnamed>");
            let mut text = format!("thread '{name}' {panic}\n");
            let backtrace = Backtrace::capture();
            if backtrace.status() == BacktraceStatus::Captured {
                let _ = write!(text, "{backtrace}");
            }
            write(text.as_bytes(), Lines::push);
            // It may be the last that this process does.
            finish();
        }));
    }
    Ok(Log(lines))
}

/// Writes `line` behind what was logged.
pub(crate) fn say(line: &str) {
    write(format!("{line}\n").as_bytes(), Lines::insert);
}

/// Waits until everything is written, but not long for a reader that does not read.
pub(crate) fn finish() {
    if let Some(lines) = LINES.get() {
        lines.finish();
    }
}

/// How many lines of the log were dropped.
pub(crate) fn dropped() -> u64 {
    LINES.get().map_or(0, Lines::dropped)
}

fn write(text: &[u8], leave: fn(&Lines, &[u8])) {
    match LINES.get().filter(|lines| lines.has_thread()) {
        Some(lines) => leave(lines, text),
        None => drop(io::stderr().write_all(text)),
    }
}

impl io::Write for Last {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        write(line, Lines::insert);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            lines: &self.0,
            loss: false,
        }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Line<'a> {
        Line {
            loss: event.target() == TARGET,
            ..self.make_writer()
        }
    }
}

impl io::Write for Line<'_> {
    /// Takes a whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self {
            Self { lines, .. } if !lines.has_thread() => return io::stderr().write(line),
            Self { lines, loss: true } => lines.insert(line),
            Self { lines, loss: false } => lines.push(line),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
