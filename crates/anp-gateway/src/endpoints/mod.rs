//! The registry: endpoints and DID documents that come and go by the admin listener, and are kept in a
//! file.
//!
//! One thread makes all changes: to the file first, then to what is served. What comes while it writes
//! is written together with the next, so that many changes at once cost few waits for the disk.
//! Whoever asked is answered once its change is on the disk and in effect.

mod apply;
mod change;
mod orders;
mod store;
mod version;

pub(crate) use apply::start;
pub(crate) use change::{Change, ChangeError};
pub(crate) use orders::Endpoints;
pub use store::StoreError;
pub(crate) use store::{Kept, Store};
pub(crate) use version::{Expected, tag};
