//! Logs: on standard error, for people at a terminal, as JSON otherwise.

use std::io::{self, IsTerminal as _};

use serde::{Deserialize, Serialize};
use tracing_subscriber::{EnvFilter, prelude::*};

use crate::exit::Failure;

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
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogConfig {
    /// How lines look. Default `auto`.
    pub(crate) format: Format,
    /// What is logged: `error`, `warn`, `info`, `debug` or `trace`, or several with the part of
    /// the program each is for, such as `info,anp_tunnel=debug`. Default `info`.
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
        EnvFilter::try_new(&self.level).map(|_| ()).map_err(|_| {
            format!(
                "expected a level such as \"info\" or \"info,anp_tunnel=debug\", found {:?}",
                self.level
            )
        })
    }

    /// Sends the program's log to standard error from now on.
    ///
    /// # Errors
    /// The level is none.
    pub(crate) fn start(&self) -> Result<(), Failure> {
        let filter = EnvFilter::try_new(&self.level)
            .map_err(|error| Failure::usage(format!("log.level: {error}")))?;
        let terminal = io::stderr().is_terminal();
        let json = match self.format {
            Format::Auto => !terminal,
            Format::Human => false,
            Format::Json => true,
        };
        let registry = tracing_subscriber::registry().with(filter);
        let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr);
        // Fails only where a log was started before, and then that one stays.
        let _ = if json {
            registry.with(layer.json().flatten_event(true)).try_init()
        } else {
            let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
            registry
                .with(layer.compact().with_ansi(colour).with_target(false))
                .try_init()
        };
        Ok(())
    }
}
