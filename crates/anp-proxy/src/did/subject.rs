//! What a command is about.

use std::path::Path;

use anp_auth::{Did, Document, load_document};

use crate::exit::Failure;

/// What a command is about: a DID, or the document of one.
pub(super) enum Subject {
    Did(Did),
    Document(Document),
}

impl Subject {
    /// Takes text that begins with `did:` for a DID, any other for a file.
    pub(super) fn read(text: &str) -> Result<Self, Failure> {
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

    pub(super) fn did(&self) -> &Did {
        match self {
            Self::Did(did) => did,
            Self::Document(document) => document.did(),
        }
    }
}
