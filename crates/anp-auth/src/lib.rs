//! Who is there: DID-WBA identities of receivers.
//!
//! [`Credentials`](header::Credentials) are what a request carries, [`Did`] whom they name,
//! [`Document`] what that identity publishes, and [`PublicKey`] what its signatures are checked with.
//! Each is a strict parser that takes any bytes and has no clock and no network. A [`Verifier`] puts
//! them together with a [`Policy`], a [`Resolver`](resolver::Resolver) and a
//! [`ReplayStore`](replay::ReplayStore), and says who made a request; a [`Signer`] is the other side.
//!
//! It knows nothing of tunnels: what an [`Subject`] may serve is decided elsewhere.
//!
//! ```
//! use anp_auth::Did;
//!
//! let did: Did = "did:wba:example.com:user:alice".parse()?;
//! assert_eq!(did.document_url(), "https://example.com/user/alice/did.json");
//! # Ok::<(), anp_auth::DidError>(())
//! ```
#![forbid(unsafe_code)]

mod audience;
mod challenge;
mod create;
mod did;
mod document;
mod encoding;
pub mod header;
mod key;
mod keyfile;
mod policy;
mod preshared;
mod refusal;
pub mod replay;
pub mod resolver;
mod signer;
mod subject;
mod target;
mod time;
mod tokens;
mod verifier;

pub use self::{
    audience::{PublicName, PublicNameError},
    create::{CreateError, Identity, KeyKind, NewIdentity, create},
    did::{Did, DidError, KeyBinding, MAX_DID_LEN},
    document::{Document, DocumentError, KeyMark, MAX_DOCUMENT_LEN, NoKey},
    key::{KeyError, PublicKey},
    keyfile::{KeyFileError, read_secret, write_secret},
    policy::{Also, Policy, Rule, RuleError},
    preshared::{PresharedError, PresharedTokens, TokenHash, TokenHashError, new_token},
    refusal::{Refusal, Unproven},
    signer::{AuthForm, DocumentProblem, SignError, Signer, SignerError, load_document},
    subject::{MAX_NAME_LEN, Subject, SubjectError},
    target::Target,
    tokens::{Claim, Issued, TokenError, TokenKeyError, Tokens},
    verifier::{
        MAX_AGE, MAX_AHEAD, NoRandomness, Proof, Proven, Request, Scope, Verifier, VerifierParts,
    },
};
