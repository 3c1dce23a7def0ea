//! Commands whose app is part of the program that calls [`main_with`](crate::main_with).

use std::path::PathBuf;

use crate::{
    cli::{AppArgs, Cli, Command},
    config::Loaded,
    exit::Failure,
    run,
};

/// A `receiver` or `dev` command for the caller to run: everything is checked, the log is started,
/// nothing is open yet.
#[derive(Debug)]
pub struct AppCommand {
    /// The app, as the command line names it.
    pub app: String,
    /// It names what makes the app.
    pub factory: bool,
    /// Where modules are looked for first.
    pub app_dir: Option<PathBuf>,
    /// It is a WSGI app.
    pub wsgi: bool,
    /// Where the app is told it is mounted.
    pub root_path: String,
    /// `dev`: the gateway to run, too. The receiver's `gateways` then only stand for it.
    pub gateway: Option<anp_gateway::Config>,
    /// The receiver to run.
    pub receiver: anp_receiver::Config,
}

/// Checks everything before the caller loads its app.
///
/// # Errors
/// A setting is wrong.
pub(crate) fn prepare(
    cli: &Cli,
    args: &AppArgs,
    mut loaded: Loaded,
) -> Result<AppCommand, Failure> {
    let dev = matches!(cli.command, Command::Dev(_));
    // Apps at URLs are for the same command without `--app`.
    loaded.config.receiver.to.clear();
    if dev {
        run::prepare_both(&mut loaded)?;
        loaded.check_gateway()?;
        loaded.check_gateway_files()?;
    }
    loaded.check_receiver_in_process()?;
    loaded.check_receiver_files()?;
    run::start_log(&loaded)?;
    Ok(AppCommand {
        app: args.app.clone().unwrap_or_default(),
        factory: args.factory,
        app_dir: args.app_dir.clone(),
        wsgi: args.wsgi,
        root_path: args.root_path.clone().unwrap_or_default(),
        gateway: dev.then_some(loaded.config.gateway),
        receiver: loaded.config.receiver,
    })
}
