//! `anp-proxy`: gateway, receiver and tools of the ANP reverse tunnel in one binary.
#![forbid(unsafe_code)]

mod cli;
mod config;
mod demo;
mod did;
mod exit;
mod inspect;
mod logging;
mod run;
mod signals;
mod stdout;
mod token;

use std::{
    env,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;

use cli::{Cli, Command, ConfigCommand, TokenCommand};
use exit::Failure;

// Small, short-lived buffers of many sizes on every core: what this allocator is made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match execute(&cli) {
        Ok(code) => code,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "error: {failure}");
            failure.code()
        }
    }
}

fn execute(cli: &Cli) -> Result<ExitCode, Failure> {
    let loaded = || {
        let file = cli.common.config.as_deref().map(config::File::read);
        config::load(cli.sources(file.transpose()?, env::vars_os().collect()))
    };
    match &cli.command {
        Command::Inspect(args) => {
            let good = inspect::run(&args.file, &mut io::stdout().lock())?;
            Ok(if good {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        Command::Config(ConfigCommand::Check) => Ok(check(loaded())),
        Command::Config(ConfigCommand::Show) => {
            let text = loaded()?.show().map_err(Failure::runtime)?;
            stdout::say(text.trim_end());
            Ok(ExitCode::SUCCESS)
        }
        Command::Did(command) => did::run(command),
        Command::Token(TokenCommand::New { name }) => token::new(name).map(|()| ExitCode::SUCCESS),
        Command::Gateway(args) => run::gateway(&loaded()?, args.replace),
        Command::Receiver(_) => run::receiver(&loaded()?),
        Command::Dev(_) => run::dev(loaded()?),
        Command::Demo(_) => run::demo(loaded()?),
    }
}

/// Says whether the configuration is valid; a section that no layer mentions is not judged.
fn check(loaded: Result<config::Loaded, config::Problems>) -> ExitCode {
    let problems = match loaded {
        Ok(loaded) => loaded.problems(),
        Err(config::Problems(problems)) => problems,
    };
    for problem in &problems {
        let _ = writeln!(io::stderr(), "{problem}");
    }
    if problems.is_empty() {
        stdout::say("configuration is valid");
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
