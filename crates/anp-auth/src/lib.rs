//! Who is there: DID-WBA identities of receivers.
//!
//! [`Credentials`](header::Credentials) are what a request carries, [`Did`] whom they name,
//! [`Document`] what that identity publishes, and [`PublicKey`] what its signatures are checked with.
//! Each is a strict parser that takes any bytes and has no clock and no network.
//!
//! ```
//! use anp_auth::Did;
//!
//! let did: Did = "did:wba:example.com:user:alice".parse()?;
//! assert_eq!(did.document_url(), "https://example.com/user/alice/did.json");
//! # Ok::<(), anp_auth::DidError>(())
//! ```
#![forbid(unsafe_code)]

mod did;
mod document;
mod encoding;
pub mod header;
mod key;
mod time;

pub use self::{
    did::{Did, DidError, KeyBinding, MAX_DID_LEN},
    document::{Document, DocumentError, MAX_DOCUMENT_LEN, NoKey},
    key::{KeyError, PublicKey},
};
