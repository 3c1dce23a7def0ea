//! The parts of `anp-proxy did` that speak to a gateway which hosts documents.

use std::path::Path;

use anp_auth::{Did, Document};
use serde_json::Value;

use super::{
    args::Target,
    client::Client,
    list::{all, items, path_of, say},
    table::{number, table, text},
};
use crate::{config::Loaded, exit::Failure};

/// Has a gateway host the document in `file`, and says so.
///
/// # Errors
/// The file cannot be read, or the gateway cannot be asked, or refused.
pub(crate) fn publish(target: &Target, file: &Path, loaded: &Loaded) -> Result<u8, Failure> {
    let (client, document) = (Client::new(target, loaded)?, read(file)?);
    crate::run::serve(async {
        let published = client.ask("POST", "/documents", Some(&document)).await?;
        say(target.json, &published, || {
            let did = text(&published, "/did");
            format!("{did} is hosted, for {}", text(&published, "/url"))
        })?;
        Ok(())
    })
}

/// As [`publish`], and says nothing.
///
/// # Errors
/// As [`publish`].
pub(crate) fn publish_quietly(
    target: &Target,
    file: &Path,
    loaded: &Loaded,
) -> Result<u8, Failure> {
    let (client, document) = (Client::new(target, loaded)?, read(file)?);
    crate::run::serve(async {
        let published = client.ask("POST", "/documents", Some(&document)).await;
        published.map(drop)
    })
}

/// Lists what a gateway hosts.
///
/// # Errors
/// The gateway cannot be asked, or refused.
pub(crate) fn list_documents(target: &Target, loaded: &Loaded) -> Result<u8, Failure> {
    let client = Client::new(target, loaded)?;
    crate::run::serve(async {
        let documents = all(&client, "documents").await?;
        say(target.json, &documents, || {
            let rows: Vec<_> = items(&documents, "documents")
                .map(|d| {
                    [
                        text(d, "/did"),
                        number(d, "/bytes").to_string(),
                        text(d, "/url"),
                    ]
                })
                .collect();
            match rows.is_empty() {
                true => "no document is hosted; anp-proxy did publish --help".to_owned(),
                false => table(["DID", "BYTES", "URL"], &rows),
            }
        })?;
        Ok(())
    })
}

/// Has a gateway host the document of `did` no more.
///
/// # Errors
/// The gateway cannot be asked, or refused.
pub(crate) fn withdraw(target: &Target, did: &str, loaded: &Loaded) -> Result<u8, Failure> {
    let client = Client::new(target, loaded)?;
    crate::run::serve(async {
        let path = path_of("documents", did)?;
        let nothing = client.ask("DELETE", &path, None).await?;
        say(target.json, &nothing, || {
            format!("{did} is not hosted any more")
        })?;
        Ok(())
    })
}

/// The document of `did` that the gateway of a configuration hosts.
///
/// # Errors
/// It has none, or cannot be asked.
pub(crate) fn hosted(did: &Did, loaded: &Loaded) -> Result<Document, Failure> {
    let client = Client::new(&Target::default(), loaded)?;
    let path = path_of("documents", did.as_str())?;
    let mut found = Value::Null;
    crate::run::serve(async {
        found = client.ask("GET", &path, None).await?;
        Ok(())
    })?;
    let document = Document::parse(did, found.to_string().as_bytes());
    document.map_err(|error| Failure::runtime(error.to_string()))
}

/// A document as JSON. What else it must be is for the gateway to say.
fn read(file: &Path) -> Result<Value, Failure> {
    let wrong = |why: &dyn std::fmt::Display| Failure::usage(format!("{}: {why}", file.display()));
    let text = std::fs::read(file).map_err(|error| wrong(&error))?;
    serde_json::from_slice(&text).map_err(|error| wrong(&error))
}
