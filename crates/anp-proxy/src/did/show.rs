//! `did show`: what a DID and its document say, without asking anybody.

use anp_auth::{Did, Document, KeyBinding};

use super::{args::ShowArgs, subject::Subject};
use crate::{exit::Failure, stdout};

/// Prints what is in a DID or a document.
///
/// # Errors
/// It is none.
pub(super) fn run(args: &ShowArgs) -> Result<(), Failure> {
    let subject = Subject::read(&args.subject)?;
    let mut text = about(subject.did());
    if let Subject::Document(document) = &subject {
        text.push_str(&keys(document));
    }
    stdout::say(text.trim_end())
}

fn about(did: &Did) -> String {
    let owner: Vec<_> = did.owner_segments().collect();
    let bound = match did.binding() {
        None => "no: whoever can change the document can change its keys",
        Some(KeyBinding::E1) => "yes (e1, Ed25519): the document must be signed with that key",
        Some(KeyBinding::K1) => "yes (k1, secp256k1): the document must be signed with that key",
    };
    format!(
        "{did}\nhost            {}\nname            {}\ndocument        {}\nbound to a key  {bound}\n",
        did.authority(),
        if owner.is_empty() {
            "(the whole host)".to_owned()
        } else {
            owner.join("/")
        },
        did.document_url(),
    )
}

/// The keys that may sign, each with its kind.
pub(super) fn keys(document: &Document) -> String {
    let mut text = String::new();
    for fragment in document.fragments() {
        let kind = match document.key(fragment) {
            Ok(key) => format!("{key:?}"),
            Err(error) => error.to_string(),
        };
        text.push_str(&format!("may sign        #{fragment}: {kind}\n"));
    }
    if text.is_empty() {
        text.push_str("may sign        no key: \"authentication\" is empty\n");
    }
    text
}
