//! `anp-proxy did`: identities, from the first key to why a gateway does not accept one.

mod args;
mod check;
mod header;
mod new;
mod show;

use std::path::Path;

use anp_auth::{Did, Document, load_document};

pub(crate) use args::DidCommand;

use crate::{SUCCESS, admin, config::Loaded, exit::Failure};

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

/// What a command is about: a DID, or the document of one.
enum Subject {
    Did(Did),
    Document(Document),
}

impl Subject {
    /// Takes text that begins with `did:` for a DID, any other for a file.
    fn read(text: &str) -> Result<Self, Failure> {
        if text.starts_with("did:") {
            let did = text.parse();
            let did = did.map_err(|error| Failure::usage(format!("{text}: {error}")))?;
            return Ok(Self::Did(did));
        }
        let document = load_document(Path::new(text));
        Ok(Self::Document(
            document.map_err(|error| Failure::usage(error.to_string()))?,
        ))
    }

    fn did(&self) -> &Did {
        match self {
            Self::Did(did) => did,
            Self::Document(document) => document.did(),
        }
    }
}
