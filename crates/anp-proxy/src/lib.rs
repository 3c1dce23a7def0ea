//! `anp-proxy`: gateway, receiver and tools of the ANP reverse tunnel behind one command line.
//!
//! The binary is [`main_with`] and nothing else. The Python package calls it, too, with the feature
//! `app`: flags that name an app of the calling program (`Outcome::App`).
//!
//! ```
//! use anp_proxy::{Outcome, main_with};
//!
//! // As `anp-proxy gatway`: says what is wrong on standard error.
//! assert!(matches!(main_with(["anp-proxy", "gatway"]), Outcome::Ended(2)));
//! ```
#![forbid(unsafe_code)]

#[cfg(feature = "app")]
mod app;

mod admin;
mod cli;
mod config;
mod demo;
mod did;
mod exit;
mod flags;
mod inspect;
mod lines;
mod logging;
mod manager;
mod run;
mod signals;
mod status;
mod stderr;
mod stdout;
mod token;

use std::{
    env,
    ffi::OsString,
    io::{self, Write as _},
    path::PathBuf,
};

use clap::{CommandFactory as _, Parser as _};

use cli::{Cli, Command, ConfigCommand, TokenCommand};
use exit::{FAILURE, Failure, SUCCESS};

#[cfg(feature = "app")]
pub use app::AppCommand;
#[cfg(any(feature = "app", test))]
pub use config::{Names, settings};
#[cfg(feature = "app")]
pub use logging::app as app_log;

/// What a command line came to.
#[derive(Debug)]
pub enum Outcome {
    /// It did its work or could not: the exit code.
    Ended(u8),
    /// The calling program is to run an app of its own.
    #[cfg(feature = "app")]
    App(Box<AppCommand>),
}

/// Does what `args`, the first of which is the program's name, ask for; returns when it is done. It
/// writes to standard output and error and takes over SIGINT and SIGTERM while it serves.
pub fn main_with<A: Into<OsString> + Clone>(args: impl IntoIterator<Item = A>) -> Outcome {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(said) => {
            // `--help` and `--version` come here, too.
            let _ = said.print();
            if cli::asks_for_app(&said) {
                let _ = writeln!(io::stderr(), "\n{}", cli::NO_APP);
            }
            return Outcome::Ended(u8::try_from(said.exit_code()).unwrap_or(2));
        }
    };
    let outcome = execute(&cli).unwrap_or_else(|failure| {
        logging::report(&failure);
        Outcome::Ended(failure.code())
    });
    stdout::finish();
    stderr::finish();
    outcome
}

fn execute(cli: &Cli) -> Result<Outcome, Failure> {
    let loaded = || {
        let file = config_file(cli).map(|(path, origin)| config::File::read(&path, origin));
        config::load(cli.sources(file.transpose()?, env::vars_os().collect()))
    };
    #[cfg(feature = "app")]
    if let Some(args) = cli.command.app() {
        return Ok(Outcome::App(Box::new(app::prepare(cli, args, loaded()?)?)));
    }
    let code = match &cli.command {
        Command::Inspect(args) => match inspect::run(&args.file, &mut io::stdout().lock())? {
            true => SUCCESS,
            false => FAILURE,
        },
        Command::Config(ConfigCommand::Check) => check(loaded())?,
        Command::Config(ConfigCommand::Show) => {
            let text = run::in_effect(loaded()?).show().map_err(Failure::runtime)?;
            stdout::say(text.trim_end())?;
            SUCCESS
        }
        Command::Did(command) => did::run(command, || loaded().map_err(Failure::from))?,
        Command::Token(TokenCommand::New { name, caller }) => {
            token::new(name, *caller)?;
            SUCCESS
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "anp-proxy", &mut script);
            stdout::say(String::from_utf8_lossy(&script).trim_end())?;
            SUCCESS
        }
        Command::Gateway(args) => run::gateway(loaded()?, args.replace())?,
        Command::Admin(args) => admin::admin(args, &loaded()?)?,
        Command::Endpoint(args) => admin::endpoint(args, &loaded()?)?,
        Command::Receiver(args) if args.check => run::check_receiver(&loaded()?)?,
        Command::Receiver(_) => run::receiver(loaded()?)?,
        Command::Dev(_) => run::dev(loaded()?)?,
        Command::Demo(_) => run::demo(loaded()?)?,
    };
    Ok(Outcome::Ended(code))
}

/// The configuration file and what names it. A variable that is empty names none.
fn config_file(cli: &Cli) -> Option<(PathBuf, config::Origin)> {
    if let Some(path) = &cli.common.config {
        return Some((path.clone(), config::Origin::Flag("--config")));
    }
    let path = env::var_os("ANP_CONFIG").filter(|path| !path.is_empty())?;
    Some((path.into(), config::Origin::Env("ANP_CONFIG".into())))
}

/// Says whether the configuration is valid; a section that no layer mentions is not judged.
///
/// # Errors
/// It cannot be said.
fn check(loaded: Result<config::Loaded, config::Problems>) -> Result<u8, Failure> {
    let (problems, warnings) = match loaded {
        Ok(loaded) => {
            let loaded = run::with_state(loaded);
            match loaded.problems() {
                problems if problems.is_empty() => (problems, loaded.warnings()),
                problems => (problems, Vec::new()),
            }
        }
        Err(config::Problems(problems)) => (problems, Vec::new()),
    };
    for problem in &problems {
        let _ = writeln!(io::stderr(), "{problem}");
    }
    if !problems.is_empty() {
        return Ok(FAILURE);
    }
    for warning in &warnings {
        // A certificate may hold anything.
        let warning = anp_receiver::printable(&warning.to_string());
        let _ = writeln!(io::stderr(), "warning: {warning}");
    }
    stdout::say("configuration is valid")?;
    Ok(SUCCESS)
}
