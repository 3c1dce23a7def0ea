//! What was found out about DIDs, with the failures, one flight for each.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use moka::{Expiry, future::Cache as Moka};

use super::ResolveError;
use crate::{did::Did, document::Document};

/// How long a failure is remembered.
const FAILURE: Duration = Duration::from_secs(30);

/// The same where we were the ones who had no time.
const BUSY: Duration = Duration::from_secs(1);

/// About how much memory documents may take, in bytes.
const CAPACITY: u64 = 32 << 20;

/// A document and how long it may be kept, or why there is none.
pub(super) type Found = Result<(Arc<Document>, Duration), ResolveError>;

/// Documents by DID, until they expire or memory is short.
pub(super) struct Cache(Moka<Did, Found>);

impl Cache {
    pub(super) fn new() -> Self {
        Self(
            Moka::builder()
                .max_capacity(CAPACITY)
                .weigher(|did: &Did, found| weight(did, found))
                .expire_after(AsFound)
                .build(),
        )
    }

    /// What is known of `did`, if anything is.
    pub(super) async fn kept(&self, did: &Did) -> Option<Result<Arc<Document>, ResolveError>> {
        let found = self.0.get(did).await?;
        Some(found.map(|(document, _)| document))
    }

    /// What is known of `did`; runs `fetch` if nothing is, however many ask at once.
    pub(super) async fn get(
        &self,
        did: &Did,
        fetch: impl Future<Output = Found>,
    ) -> Result<Arc<Document>, ResolveError> {
        let found = self.0.get_with_by_ref(did, fetch).await;
        found.map(|(document, _)| document)
    }
}

/// A parsed key takes less than 512 bytes.
fn weight(did: &Did, found: &Found) -> u32 {
    let keys = match found {
        Ok((document, _)) => document.fragments().count(),
        Err(_) => 0,
    };
    u32::try_from(did.as_str().len() + 512 * (keys + 1)).unwrap_or(u32::MAX)
}

struct AsFound;

impl Expiry<Did, Found> for AsFound {
    fn expire_after_create(&self, _: &Did, found: &Found, _: Instant) -> Option<Duration> {
        Some(match found {
            Ok((_, fresh_for)) => *fresh_for,
            Err(ResolveError::Busy) => BUSY,
            Err(_) => FAILURE,
        })
    }
}
