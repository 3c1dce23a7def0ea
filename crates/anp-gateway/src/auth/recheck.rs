//! Looks again at documents while tunnels live: whoever holds one by a key must still have that key.
//!
//! Documents that are hosted here are looked at whenever tunnels are. Others are asked for every five
//! minutes, which costs a fetch where the one that is kept has expired. What answers that the key or
//! the document is gone ends the tunnels, and the tokens that the key got; what does not answer, does
//! not, for as long as a document may be kept at all.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use anp_auth::{
    Did, KeyMark, Proven, Subject,
    resolver::{ResolveError, Resolver},
};
use parking_lot::Mutex;
use tokio::{task::JoinSet, time::Instant};

use crate::documents::Documents;

/// Between two looks at a document that is kept elsewhere.
const EVERY: Duration = Duration::from_secs(300);

/// How long a key is believed in that nobody answers for: as long as a document may be kept.
const AT_MOST: Duration = Duration::from_secs(24 * 3600);

/// Documents asked for at once.
const AT_ONCE: usize = 32;

/// The keys by which tunnels are held, and those that are known to be gone.
pub(crate) struct Rechecks {
    documents: Arc<Documents>,
    resolver: Arc<dyn Resolver>,
    /// How long tokens last that a key got.
    lifetime: Duration,
    keys: Mutex<HashMap<Holder, State>>,
}

/// A DID, and its key where it is known which.
type Holder = (Did, Option<KeyMark>);

#[derive(Debug)]
struct State {
    /// When it is to be looked at next.
    next: Instant,
    /// When it was last seen to be good.
    good: Instant,
    /// Until when it is known to be gone.
    gone: Option<Instant>,
}

/// What a look at a document has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Good,
    Gone,
    Nothing,
}

impl Rechecks {
    pub(crate) fn new(
        documents: Arc<Documents>,
        resolver: Arc<dyn Resolver>,
        lifetime: Duration,
    ) -> Self {
        Self {
            documents,
            resolver,
            lifetime,
            keys: Mutex::default(),
        }
    }

    /// True if what `proven` was proven by is known to be gone.
    pub(crate) fn is_gone(&self, proven: &Proven) -> bool {
        let Some(holder) = holder(proven) else {
            return false;
        };
        if self.documents.is_ours(&holder.0) {
            let hosted = self.documents.now();
            let document = hosted.of(holder.0.as_str());
            return document.is_none_or(|published| !has(&published.document, &holder.1));
        }
        let now = Instant::now();
        let keys = self.keys.lock();
        let gone = keys.get(&holder).and_then(|state| state.gone);
        gone.is_some_and(|until| now < until)
    }

    /// Its key has just been seen in its document.
    pub(crate) fn is_back(&self, proven: &Proven) {
        if let Some(holder) = holder(proven) {
            self.keys.lock().remove(&holder);
        }
    }

    /// Looks at the documents that are due, of those by whom tunnels are held now.
    pub(crate) async fn look(&self, held: Vec<Proven>) {
        let mut looks = JoinSet::new();
        for (did, key) in self.due(held) {
            if looks.len() >= AT_ONCE
                && let Some(Ok((holder, seen))) = looks.join_next().await
            {
                self.note(holder, seen);
            }
            let resolver = self.resolver.clone();
            looks.spawn(async move {
                let seen = judge(resolver.resolve(&did).await.as_deref(), &key);
                ((did, key), seen)
            });
        }
        while let Some(look) = looks.join_next().await {
            if let Ok((holder, seen)) = look {
                self.note(holder, seen);
            }
        }
    }

    /// Who is to be looked at now. Those who hold a tunnel no more are forgotten, unless tokens of
    /// theirs must not come back.
    fn due(&self, held: Vec<Proven>) -> Vec<Holder> {
        let now = Instant::now();
        let mut keys = self.keys.lock();
        let mut holders = HashSet::new();
        for proven in held {
            let by_signature = matches!(proven.by, anp_auth::Proof::Signature);
            let Some(holder) = holder(&proven).filter(|(did, _)| !self.documents.is_ours(did))
            else {
                continue;
            };
            keys.entry(holder.clone()).or_insert_with(|| State {
                // A signature was held against the document just now, a token an hour ago perhaps.
                next: if by_signature { now + EVERY } else { now },
                good: now,
                gone: None,
            });
            holders.insert(holder);
        }
        keys.retain(|holder, state| {
            holders.contains(holder) || state.gone.is_some_and(|until| now < until)
        });
        let mut due = Vec::new();
        for (holder, state) in keys.iter_mut() {
            if state.next <= now && holders.contains(holder) {
                state.next = now + EVERY;
                due.push(holder.clone());
            }
        }
        due
    }

    fn note(&self, holder: Holder, seen: Seen) {
        let now = Instant::now();
        let mut keys = self.keys.lock();
        let Some(state) = keys.get_mut(&holder) else {
            return;
        };
        let is_gone = match seen {
            Seen::Good => {
                state.good = now;
                false
            }
            Seen::Gone => true,
            Seen::Nothing => now.duration_since(state.good) >= AT_MOST,
        };
        state.gone = is_gone.then(|| now + self.lifetime);
        if is_gone {
            tracing::info!(did = %holder.0, "a key by which a tunnel is held is gone from its document");
        }
    }
}

/// Whose document, and which key of it, a proof stands on.
fn holder(proven: &Proven) -> Option<Holder> {
    match &proven.subject {
        Subject::Did(did) => Some((did.clone(), proven.key.clone())),
        Subject::Token(_) => None,
    }
}

fn has(document: &anp_auth::Document, key: &Option<KeyMark>) -> bool {
    key.as_ref().is_none_or(|key| document.has(key))
}

/// What an answer says of a key. A server that does not answer, or not now, says nothing.
fn judge(found: Result<&anp_auth::Document, &ResolveError>, key: &Option<KeyMark>) -> Seen {
    match found {
        Ok(document) if has(document, key) => Seen::Good,
        Ok(_)
        | Err(
            ResolveError::Status(404 | 410) | ResolveError::Document(_) | ResolveError::NotHosted,
        ) => Seen::Gone,
        Err(_) => Seen::Nothing,
    }
}

impl std::fmt::Debug for Rechecks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rechecks").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use anp_auth::{
        Document, KeyKind, NewIdentity, Proof, create,
        resolver::{BoxFuture, ResolveError},
    };
    use tokio::time::advance;

    use super::*;

    /// A web server whose document can change.
    #[derive(Default)]
    struct Server {
        document: Mutex<Option<Result<Arc<Document>, ResolveError>>>,
        asked: Mutex<usize>,
    }

    impl Resolver for Server {
        fn resolve<'a>(&'a self, _: &'a Did) -> BoxFuture<'a, Result<Arc<Document>, ResolveError>> {
            *self.asked.lock() += 1;
            let answer = self.document.lock().clone();
            Box::pin(std::future::ready(
                answer.unwrap_or(Err(ResolveError::Busy)),
            ))
        }
    }

    fn document(keys: usize) -> Arc<Document> {
        let new = NewIdentity {
            host: "did.example".into(),
            port: None,
            path: vec!["alice".into()],
            kind: KeyKind::P256,
        };
        let mut document = create(&new).unwrap().document;
        if keys == 0 {
            document["authentication"] = serde_json::json!([]);
        }
        let did = "did:wba:did.example:alice".parse().unwrap();
        Arc::new(Document::parse(&did, document.to_string().as_bytes()).unwrap())
    }

    fn proven(document: &Document, by: Proof) -> Proven {
        Proven {
            subject: Subject::Did(document.did().clone()),
            by,
            key: document.mark("key-1"),
        }
    }

    fn rechecks(server: &Arc<Server>) -> Rechecks {
        let hosted = Arc::new(Documents::new(None));
        Rechecks::new(hosted, server.clone(), Duration::from_secs(3600))
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_is_removed_is_gone_at_the_next_look() {
        let server = Arc::new(Server::default());
        let first = document(1);
        for gone in [
            Ok(document(0)),
            // The same name, and another key behind it.
            Ok(document(1)),
            Err(ResolveError::Status(404)),
            Err(ResolveError::Document(anp_auth::DocumentError::Json)),
        ] {
            let checks = rechecks(&server);
            *server.document.lock() = Some(Ok(first.clone()));
            *server.asked.lock() = 0;
            let held = || vec![proven(&first, Proof::Signature)];
            checks.look(held()).await;
            assert_eq!(*server.asked.lock(), 0);
            advance(EVERY).await;
            checks.look(held()).await;
            assert_eq!(*server.asked.lock(), 1);
            assert!(!checks.is_gone(&held()[0]));

            *server.document.lock() = Some(gone.clone());
            checks.look(held()).await;
            assert!(!checks.is_gone(&held()[0]), "nothing was due");
            advance(EVERY).await;
            checks.look(held()).await;
            assert!(checks.is_gone(&held()[0]), "{gone:?}");
            // The tokens that it got do not come back, unless the key does, as long as they last.
            let by_token = proven(&first, Proof::Token { expires_at: 0 });
            checks.look(Vec::new()).await;
            assert!(checks.is_gone(&by_token));
            checks.is_back(&proven(&first, Proof::Signature));
            assert!(!checks.is_gone(&by_token));
            checks.look(vec![by_token.clone()]).await;
            assert!(checks.is_gone(&by_token));
            advance(Duration::from_secs(3600)).await;
            checks.look(Vec::new()).await;
            assert!(checks.keys.lock().is_empty());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_away_ends_nothing_for_a_day() {
        let server = Arc::new(Server::default());
        let first = document(1);
        let checks = rechecks(&server);
        let held = || vec![proven(&first, Proof::Token { expires_at: 0 })];
        let end = Instant::now() + AT_MOST;
        while Instant::now() < end {
            // A token is looked at at once.
            checks.look(held()).await;
            assert!(*server.asked.lock() > 0);
            assert!(!checks.is_gone(&held()[0]));
            advance(EVERY).await;
        }
        checks.look(held()).await;
        assert!(checks.is_gone(&held()[0]));
    }
}
