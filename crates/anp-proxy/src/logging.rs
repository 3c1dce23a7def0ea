//! Logs: on standard error, for people at a terminal, as JSON otherwise.

use std::{
    fmt,
    io::{self, IsTerminal as _},
    sync::OnceLock,
};

use anp_gateway::config::nearest;
use serde::{Deserialize, Serialize};
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt::MakeWriter, prelude::*, registry::LookupSpan, reload,
};

use crate::{exit::Failure, stderr};

/// The levels, from the one that shows least; `off` shows nothing.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The log, once it was started.
static STARTED: OnceLock<Started> = OnceLock::new();

#[derive(Debug)]
struct Started {
    /// What passes.
    filter: reload::Handle<EnvFilter, Registry>,
    json: bool,
}

/// Says on standard error why the program ends, behind what was logged: as a line of the log where that
/// is JSON, at any level.
pub(crate) fn report(why: &dyn fmt::Display) {
    if STARTED.get().is_some_and(|started| started.json) {
        let all = tracing_subscriber::registry().with(json(|| stderr::Last));
        tracing::subscriber::with_default(all, || tracing::error!("{why}"));
    } else {
        stderr::say(&format!("error: {why}"));
    }
}

/// One object a line.
fn json<S, W>(writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    layer.json().flatten_event(true)
}

/// What an app in this process logs, as the program's own log has it: `--log-level info,app=warn`.
#[cfg(feature = "app")]
pub mod app {
    pub use tracing::Level;

    /// The target of its events: what a part of the program is called in `log.level`.
    const TARGET: &str = "app";

    /// Logs `message` of the app's `logger`.
    pub fn log(level: Level, logger: &str, message: &str) {
        macro_rules! at {
            ($($level:ident)*) => {
                match level {
                    $(Level::$level => {
                        tracing::event!(target: TARGET, Level::$level, logger, "{message}");
                    })*
                }
            };
        }
        at!(ERROR WARN INFO DEBUG TRACE);
    }

    /// Says why the program ends, as the command does of itself.
    pub fn report(why: &str) {
        super::report(&why);
    }

    /// The least that is logged; `None` where nothing is.
    pub fn level() -> Option<Level> {
        macro_rules! first_of {
            ($($level:ident)*) => {
                match () {
                    $(() if tracing::enabled!(target: TARGET, Level::$level) => Some(Level::$level),)*
                    () => None,
                }
            };
        }
        first_of!(TRACE DEBUG INFO WARN ERROR)
    }

    /// Waits until everything is written, a second at most for a reader that does not read: the last that
    /// a program does whose app was logged here.
    pub fn finish() {
        crate::stderr::finish();
    }
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogConfig {
    /// How lines look. Default `auto`.
    pub(crate) format: Format,
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace` or `off`, or several with the part
    /// of the program each is for, such as `info,anp_tunnel=debug`; what is not named is at `info`.
    /// Default `info`.
    pub(crate) level: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Human on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// One readable line each.
    Human,
    /// One JSON object a line.
    Json,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: Format::Auto,
            level: "info".to_owned(),
        }
    }
}

impl LogConfig {
    /// Checks the level.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn validate(&self) -> Result<(), String> {
        self.filter().map(drop)
    }

    /// Sends the program's log to standard error from now on.
    ///
    /// # Errors
    /// The level is none, or there is no thread for the log.
    pub(crate) fn start(&self) -> Result<(), Failure> {
        let filter = self
            .filter()
            .map_err(|error| Failure::usage(format!("log.level: {error}")))?;
        let terminal = io::stderr().is_terminal();
        let json = match self.format {
            Format::Auto => !terminal,
            Format::Human => false,
            Format::Json => true,
        };
        let log = stderr::start().map_err(|error| {
            Failure::runtime(format!("cannot start a thread for the log: {error}"))
        })?;
        let (filter, handle) = reload::Layer::new(filter);
        let registry = tracing_subscriber::registry().with(filter);
        // Fails only where a log was started before, and then that one stays.
        let started = if json {
            registry.with(self::json(log)).try_init()
        } else {
            let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
            let layer = tracing_subscriber::fmt::layer().with_writer(log);
            registry
                .with(layer.compact().with_ansi(colour).with_target(false))
                .try_init()
        };
        if started.is_ok() {
            let _ = STARTED.set(Started {
                filter: handle,
                json,
            });
        }
        Ok(())
    }

    /// Has the log that was started with `running` follow these settings, which are valid, as far as it
    /// can.
    pub(crate) fn follow(&self, running: &mut Self) {
        if self.level != running.level
            && let (Some(started), Ok(filter)) = (STARTED.get(), self.filter())
            && started.filter.reload(filter).is_ok()
        {
            running.level.clone_from(&self.level);
            tracing::info!(level = self.level, "log.level changed");
        }
        if self.format != running.format {
            tracing::warn!("log.format changes only with a restart or --replace");
        }
    }

    /// What passes. The filter itself takes every word for the name of a part of the program, and one
    /// that is none silences everything.
    fn filter(&self) -> Result<EnvFilter, String> {
        let parts: Vec<&str> = self.level.split(',').map(str::trim).collect();
        for part in &parts {
            let level = part.rsplit_once('=').map_or(*part, |(_, level)| level);
            if !LEVELS.iter().any(|known| level.eq_ignore_ascii_case(known)) {
                return Err(self.mistaken(level));
            }
        }
        // Parts that are named leave the rest as it is by default; the filter itself turns it off.
        let rest = parts
            .iter()
            .all(|part| part.contains('='))
            .then_some("info");
        let directives: Vec<&str> = rest.into_iter().chain(parts).collect();
        EnvFilter::try_new(directives.join(",")).map_err(|_| self.mistaken(""))
    }

    /// What is wrong, where `level` is none.
    fn mistaken(&self, level: &str) -> String {
        let lower = level.to_ascii_lowercase();
        // "warning" and "errors" are longer than slips of the finger.
        let longer = || LEVELS.into_iter().find(|known| lower.starts_with(known));
        let hint = match nearest(&lower, LEVELS).or_else(longer) {
            Some(meant) => format!("; did you mean \"{meant}\"?"),
            None => String::new(),
        };
        format!(
            "expected error, warn, info, debug, trace or off, or with parts of the program such as \
             \"info,anp_tunnel=debug\", found {:?}{hint}",
            self.level
        )
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    fn judged(level: &str) -> Result<(), String> {
        let config = LogConfig {
            level: level.to_owned(),
            ..LogConfig::default()
        };
        config.validate()
    }

    #[test]
    fn the_rest_is_info_where_only_parts_are_named() {
        for (level, rest) in [
            ("access=off", Some(Level::INFO)),
            ("access=off,anp_tunnel=warn", Some(Level::INFO)),
            ("anp_gateway[request]=trace", Some(Level::INFO)),
            ("warn,access=off", Some(Level::WARN)),
            ("access=info,debug", Some(Level::DEBUG)),
            ("off,access=info", None),
        ] {
            let config = LogConfig {
                level: level.to_owned(),
                ..LogConfig::default()
            };
            let registry = tracing_subscriber::registry().with(config.filter().unwrap());
            tracing::subscriber::with_default(registry, || {
                let passes = [
                    tracing::enabled!(target: "other", Level::ERROR),
                    tracing::enabled!(target: "other", Level::WARN),
                    tracing::enabled!(target: "other", Level::INFO),
                    tracing::enabled!(target: "other", Level::DEBUG),
                    tracing::enabled!(target: "other", Level::TRACE),
                ];
                let least = [
                    Level::ERROR,
                    Level::WARN,
                    Level::INFO,
                    Level::DEBUG,
                    Level::TRACE,
                ];
                let expected = least.map(|level| rest.is_some_and(|rest| level <= rest));
                assert_eq!(passes, expected, "{level}");
            });
        }
    }

    #[test]
    fn a_level_is_one_that_there_is() {
        for level in [
            "info",
            "WARN",
            "off",
            "info,anp_tunnel=debug",
            "warn, access=off",
            "anp_gateway[request]=trace",
        ] {
            judged(level).unwrap();
        }
        for (level, meant) in [
            ("warning", Some("warn")),
            ("inof", Some("info")),
            ("info,anp_tunnel=debgu", Some("debug")),
            ("verbose", None),
            ("loud", None),
            ("", None),
            ("info,", None),
            ("anp_tunnel", None),
            ("anp_tunnel=", None),
            ("[=info", None),
        ] {
            let error = judged(level).unwrap_err();
            let hint = error.split("did you mean ").nth(1);
            let expected = meant.map(|meant| format!("\"{meant}\"?"));
            assert_eq!(hint, expected.as_deref(), "{level:?}: {error}");
        }
    }
}
