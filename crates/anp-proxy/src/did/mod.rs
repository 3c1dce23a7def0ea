//! `anp-proxy did`: identities, from the first key to why a gateway does not accept one.

mod args;
mod check;
mod header;
mod new;
mod show;
mod subject;

pub(crate) use args::DidCommand;

use crate::{
    admin,
    config::Loaded,
    exit::{Failure, SUCCESS},
};

/// Runs one of the commands. Those that speak to a gateway, or as one, look into the configuration.
///
/// # Errors
/// What it was given cannot be used, or files cannot be read or written.
pub(crate) fn run(
    command: &DidCommand,
    loaded: impl FnOnce() -> Result<Loaded, Failure>,
) -> Result<u8, Failure> {
    match command {
        DidCommand::New(args) if args.publish => new::run(args, Some(&loaded()?)),
        DidCommand::New(args) => new::run(args, None),
        DidCommand::Show(args) => show::run(args).map(|()| SUCCESS),
        DidCommand::Check(args) => check::run(args, &loaded()?),
        DidCommand::Publish(args) => admin::publish(&args.target, &args.document, &loaded()?),
        DidCommand::List(args) => admin::list_documents(&args.target, &loaded()?),
        DidCommand::Withdraw(args) => admin::withdraw(&args.target, &args.did, &loaded()?),
        DidCommand::Header(args) => header::run(args).map(|()| SUCCESS),
    }
}
