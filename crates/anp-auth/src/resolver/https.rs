//! The resolver for the open internet: HTTPS, hardened, cached.

use std::{collections::HashMap, fmt, sync::Arc, time::Instant};

use super::{
    BoxFuture, Names, ResolveError, Resolver, Step, SystemNames, TlsError, cache::Cache,
    config::ResolverConfig, fetch::Fetch, share::Shares, tls,
};
use crate::{did::Did, document::Document};

/// Fetches documents over HTTPS and keeps them.
///
/// No redirect is followed, no compression accepted; 64 KiB and the timeout are the most that a
/// document may take; the name is looked up once, and only an address that is allowed is connected
/// to. A document is kept for as long as its server says, from 1 minute to 1 day, 5 minutes if it
/// says nothing, a failure for 30 s. However many ask for one DID at once, it is fetched once. Of
/// those who wait for a fetch, 256 may name DIDs without a document in the last day, and 256 others.
pub struct HttpsResolver {
    fetch: Fetch,
    fixed: HashMap<Did, Arc<Document>>,
    cache: Cache,
    shares: Shares,
}

impl HttpsResolver {
    /// A resolver that asks the name service of the system.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if there is no certificate to believe.
    pub fn new(config: &ResolverConfig) -> Result<Self, TlsError> {
        Self::with_names(config, Arc::new(SystemNames))
    }

    /// A resolver that asks `names`.
    ///
    /// # Errors
    ///
    /// As [`HttpsResolver::new`].
    pub fn with_names(config: &ResolverConfig, names: Arc<dyn Names>) -> Result<Self, TlsError> {
        let tls = tls::client(config.ca_file.as_ref())?;
        let documents = config.documents.iter();
        Ok(Self {
            fetch: Fetch::new(names, config, tls),
            fixed: documents
                .map(|document| (document.did().clone(), Arc::new(document.clone())))
                .collect(),
            cache: Cache::new(),
            shares: Shares::default(),
        })
    }

    /// Fetches once, past the cache, and tells of every step that was made.
    ///
    /// # Errors
    ///
    /// As [`Resolver::resolve`].
    pub async fn explain(
        &self,
        did: &Did,
        mut observe: impl FnMut(Step<'_>) + Send,
    ) -> Result<Arc<Document>, ResolveError> {
        if let Some(document) = self.fixed.get(did) {
            observe(Step::Known);
            return Ok(document.clone());
        }
        let found = self
            .fetch
            .document(did, &self.shares.of(did).places, &mut observe)
            .await;
        found.map(|(document, _)| document)
    }
}

impl Resolver for HttpsResolver {
    fn resolve<'a>(&'a self, did: &'a Did) -> BoxFuture<'a, Result<Arc<Document>, ResolveError>> {
        Box::pin(async move {
            if let Some(document) = self.fixed.get(did) {
                return Ok(document.clone());
            }
            if let Some(found) = self.cache.kept(did).await {
                return found;
            }
            let share = self.shares.of(did);
            let Ok(_waiting) = share.waiting.try_acquire() else {
                return Err(ResolveError::Busy);
            };
            let fetch = async {
                if !share.budget.take(did.host(), Instant::now()) {
                    return Err(ResolveError::Busy);
                }
                let found = self.fetch.document(did, &share.places, &mut |_| {}).await;
                if found.is_ok() {
                    self.shares.had_a_document(did);
                }
                found
            };
            self.cache.get(did, fetch).await
        })
    }
}

impl fmt::Debug for HttpsResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpsResolver").finish_non_exhaustive()
    }
}
