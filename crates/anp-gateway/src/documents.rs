//! DID documents that the gateway hosts for one domain: serves to whoever asks, and finds without a
//! fetch. They come by the admin listener. A document says who is who, so none takes the place of
//! another key's.

use std::{ops::Bound, sync::Arc};

use anp_auth::{
    Did, DidError, Document, DocumentError, PublicName,
    resolver::{BoxFuture, HttpsResolver, ResolveError, Resolver},
};
use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use rpds::{HashTrieMapSync as Map, RedBlackTreeMapSync as Ordered};
use serde_json::Value;

use crate::{
    config::{RESERVED, is_of},
    route::path::host_of,
};

/// Most documents.
const MAX_DOCUMENTS: usize = 10_000;

/// Most bytes of all documents.
const MAX_BYTES: usize = 64 << 20;

/// The documents that are hosted, where any are.
#[derive(Debug)]
pub(crate) struct Documents {
    domain: Option<PublicName>,
    now: ArcSwap<Hosted>,
}

/// The documents of one moment. A clone shares what is not changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hosted {
    by_did: Ordered<String, Arc<Published>>,
    by_path: Map<String, Arc<Published>>,
    /// By the path of the DID without its key.
    by_name: Map<String, Arc<Published>>,
    bytes: usize,
}

/// A document that is hosted.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) document: Arc<Document>,
    /// As it came.
    pub(crate) bytes: Bytes,
}

/// Why a document is not hosted. `Display` says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PublishError {
    #[error("this gateway hosts no documents: set gateway.auth.hosted_domain")]
    Off,
    #[error("the document is no JSON object with an \"id\"")]
    NoId,
    #[error("the id of the document: {0}")]
    Did(#[from] DidError),
    #[error("{0} is not of {1}, the domain whose documents this gateway hosts")]
    Domain(Did, String),
    #[error("a path with \".well-known\" or \"did.json\" in it is reserved")]
    Reserved,
    #[error("{0}")]
    Document(#[from] DocumentError),
    #[error("no key in \"authentication\" can be used")]
    NoKey,
    #[error("{0} has this name: it has to be withdrawn first")]
    Taken(Did),
    #[error("there is another document of {0}, whose id names no key: withdraw it first")]
    There(Did),
    #[error("as many documents are hosted as may be")]
    Full,
}

impl Published {
    /// Reads a document that `domain` may host.
    ///
    /// # Errors
    /// It may not.
    fn read(domain: &PublicName, bytes: Bytes) -> Result<Self, PublishError> {
        let value: Value = serde_json::from_slice(&bytes).map_err(|_| PublishError::NoId)?;
        let id = value.get("id").and_then(Value::as_str);
        let did: Did = id.ok_or(PublishError::NoId)?.parse()?;
        if !is_of(&did, domain) {
            return Err(PublishError::Domain(did, domain.to_string()));
        }
        if did.segments().any(|segment| RESERVED.contains(&segment)) {
            return Err(PublishError::Reserved);
        }
        let document = Document::parse(&did, &bytes)?;
        if !document.fragments().any(|f| document.key(f).is_ok()) {
            return Err(PublishError::NoKey);
        }
        let document = Arc::new(document);
        Ok(Self { document, bytes })
    }

    pub(crate) fn did(&self) -> &Did {
        self.document.did()
    }

    /// What its DID is called, without the key.
    fn name(&self) -> String {
        self.did().owner_segments().collect::<Vec<_>>().join(":")
    }
}

impl Hosted {
    /// Adds a document, or a new one of the same key.
    ///
    /// # Errors
    /// It would take the place of another.
    pub(crate) fn publish(&mut self, new: Arc<Published>) -> Result<(), PublishError> {
        let mut gone = None;
        if let Some(other) = self.by_name.get(&new.name()) {
            if other.did() != new.did() {
                return Err(PublishError::Taken(other.did().clone()));
            }
            // What names its key is that key's, proof and all; of others anybody could say it.
            if new.did().binding().is_none() && other.bytes != new.bytes {
                return Err(PublishError::There(new.did().clone()));
            }
            gone = Some(other.bytes.len());
        }
        let bytes = self.bytes - gone.unwrap_or(0) + new.bytes.len();
        if bytes > MAX_BYTES || gone.is_none() && self.by_did.size() >= MAX_DOCUMENTS {
            return Err(PublishError::Full);
        }
        self.bytes = bytes;
        self.by_path
            .insert_mut(new.did().document_path(), new.clone());
        self.by_name.insert_mut(new.name(), new.clone());
        self.by_did.insert_mut(new.did().to_string(), new);
        Ok(())
    }

    /// Takes a document out. False where there is none.
    pub(crate) fn withdraw(&mut self, did: &str) -> bool {
        let Some(published) = self.by_did.get(did).cloned() else {
            return false;
        };
        self.by_did.remove_mut(did);
        self.by_path.remove_mut(&published.did().document_path());
        self.by_name.remove_mut(&published.name());
        self.bytes -= published.bytes.len();
        true
    }

    /// The document of a DID.
    pub(crate) fn of(&self, did: &str) -> Option<&Arc<Published>> {
        self.by_did.get(did)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_did.size()
    }

    /// The documents whose DIDs are behind `after`, by DID.
    pub(crate) fn after(&self, after: &str) -> impl Iterator<Item = &Arc<Published>> {
        let dids = (Bound::Excluded(after), Bound::Unbounded);
        self.by_did
            .range::<str, _>(dids)
            .map(|(_, document)| document)
    }
}

impl Documents {
    /// None yet, of this domain.
    pub(crate) fn new(domain: Option<PublicName>) -> Self {
        Self {
            domain,
            now: ArcSwap::default(),
        }
    }

    /// Reads a document that may be hosted here.
    ///
    /// # Errors
    /// It may not.
    pub(crate) fn read(&self, bytes: Bytes) -> Result<Arc<Published>, PublishError> {
        let domain = self.domain.as_ref().ok_or(PublishError::Off)?;
        Published::read(domain, bytes).map(Arc::new)
    }

    /// What is hosted now.
    pub(crate) fn now(&self) -> Guard<Arc<Hosted>> {
        self.now.load()
    }

    /// Hosts these. The registry's thread alone does so, once it runs.
    pub(crate) fn host(&self, hosted: Hosted) {
        self.now.store(Arc::new(hosted));
    }

    /// Hosts what a store has kept. What cannot be hosted is left out with a warning, and stays there.
    pub(crate) fn load(&self, kept: Vec<(String, Bytes)>) {
        if self.domain.is_none() {
            return;
        }
        let mut hosted = Hosted::default();
        for (did, bytes) in kept {
            let read = self.read(bytes);
            if let Err(why) = read.and_then(|document| hosted.publish(document)) {
                tracing::warn!(did, %why, "a document that was kept is not hosted");
            }
        }
        self.host(hosted);
    }

    /// True if documents of `did` are hosted here and nowhere else.
    pub(crate) fn is_ours(&self, did: &Did) -> bool {
        let domain = self.domain.as_ref();
        domain.is_some_and(|domain| is_of(did, domain))
    }

    /// What is hosted under a URL: `None` where that is none of a document of this domain, and
    /// `Some(None)` where it is, and there is no document.
    pub(crate) fn at(&self, authority: &str, target: &str) -> Option<Option<Arc<Published>>> {
        let domain = self.domain.as_ref()?;
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        if !path.ends_with("/did.json") || host_of(authority) != domain.host() {
            return None;
        }
        Some(self.now.load().by_path.get(path).cloned())
    }
}

/// Finds documents: those that are hosted here, and others by HTTPS.
pub(crate) struct Hosting {
    pub(crate) documents: Arc<Documents>,
    pub(crate) elsewhere: HttpsResolver,
}

impl Resolver for Hosting {
    fn resolve<'a>(&'a self, did: &'a Did) -> BoxFuture<'a, Result<Arc<Document>, ResolveError>> {
        if !self.documents.is_ours(did) {
            return self.elsewhere.resolve(did);
        }
        let hosted = self.documents.now();
        let found = hosted.of(did.as_str()).map(|p| p.document.clone());
        Box::pin(std::future::ready(found.ok_or(ResolveError::NotHosted)))
    }
}

#[cfg(test)]
mod tests {
    use anp_auth::{KeyKind, NewIdentity, create};

    use super::*;

    fn document(host: &str, path: &[&str], kind: KeyKind) -> Bytes {
        let new = NewIdentity {
            host: host.into(),
            port: None,
            path: path.iter().map(|&s| s.into()).collect(),
            kind,
        };
        create(&new).unwrap().document.to_string().into()
    }

    fn documents() -> Documents {
        Documents::new(Some("gw.example".parse().unwrap()))
    }

    fn publish(documents: &Documents, bytes: &Bytes) -> Result<Did, PublishError> {
        let mut hosted = Hosted::clone(&documents.now());
        let published = documents.read(bytes.clone())?;
        hosted.publish(published.clone())?;
        documents.host(hosted);
        Ok(published.did().clone())
    }

    #[test]
    fn a_document_is_where_its_did_says_and_nowhere_else() {
        let documents = documents();
        let alice = document("gw.example", &["team", "alice"], KeyKind::Ed25519);
        let did = publish(&documents, &alice).unwrap();
        let root = document("gw.example", &[], KeyKind::P256);
        publish(&documents, &root).unwrap();
        let bytes = |authority, target: &str| {
            let found = documents.at(authority, target);
            found.map(|found| found.map(|published| published.bytes.clone()))
        };
        let path = did.document_path();
        for authority in ["gw.example", "GW.example:8443", "gw.example."] {
            assert_eq!(bytes(authority, &path), Some(Some(alice.clone())));
        }
        assert_eq!(bytes("gw.example", &format!("{path}?x")), Some(Some(alice)));
        assert_eq!(
            bytes("gw.example", "/.well-known/did.json"),
            Some(Some(root))
        );
        // No app may say who is who in this domain.
        assert_eq!(bytes("gw.example", "/team/alice/did.json"), Some(None));
        assert_eq!(bytes("gw.example", "/did.json"), Some(None));
        for (authority, target) in [
            ("other.example", path.as_str()),
            ("x.gw.example", &path),
            ("gw.example", "/team/alice"),
            ("gw.example", &path.replace("did.json", "did%2ejson")),
        ] {
            assert_eq!(bytes(authority, target), None, "{authority} {target}");
        }
        assert!(documents.is_ours(&did));
        let mut hosted = Hosted::clone(&documents.now());
        assert!(hosted.withdraw(did.as_str()) && !hosted.withdraw(did.as_str()));
        documents.host(hosted);
        assert_eq!(bytes("gw.example", &path), Some(None));
    }

    #[test]
    fn nobody_takes_the_place_of_another_key() {
        let documents = documents();
        let alice = document("gw.example", &["alice"], KeyKind::Ed25519);
        let did = publish(&documents, &alice).unwrap();
        assert_eq!(publish(&documents, &alice), Ok(did.clone()));
        for kind in [KeyKind::Ed25519, KeyKind::Secp256k1, KeyKind::P256] {
            let other = document("gw.example", &["alice"], kind);
            assert_eq!(
                publish(&documents, &other),
                Err(PublishError::Taken(did.clone()))
            );
        }
        // Another key under the same id: the proof is not that key's.
        let mallory = document("gw.example", &["mallory"], KeyKind::Ed25519);
        let text = String::from_utf8(mallory.to_vec()).unwrap();
        let id: Value = serde_json::from_str(&text).unwrap();
        let forged = text.replace(id["id"].as_str().unwrap(), did.as_str());
        let unbound = Err(PublishError::Document(DocumentError::Unbound));
        assert_eq!(publish(&documents, &forged.into()), unbound);
        // Of a DID that names no key nothing proves whose the second is.
        let first = document("gw.example", &["p"], KeyKind::P256);
        let did = publish(&documents, &first).unwrap();
        assert_eq!(publish(&documents, &first), Ok(did.clone()));
        let second = document("gw.example", &["p"], KeyKind::P256);
        assert_eq!(publish(&documents, &second), Err(PublishError::There(did)));
        assert_eq!(documents.now().len(), 2);
    }

    #[test]
    fn what_is_not_of_the_domain_or_no_document_is_refused() {
        let documents = documents();
        let of = |host| document(host, &["alice"], KeyKind::Ed25519);
        for host in ["other.example", "x.gw.example"] {
            let error = publish(&documents, &of(host)).unwrap_err();
            assert!(matches!(error, PublishError::Domain(..)), "{error}");
        }
        let reserved = document("gw.example", &[".well-known"], KeyKind::P256);
        assert_eq!(publish(&documents, &reserved), Err(PublishError::Reserved));
        let reserved = document("gw.example", &["a", "did.json"], KeyKind::Ed25519);
        assert_eq!(publish(&documents, &reserved), Err(PublishError::Reserved));
        for (text, error) in [
            ("", PublishError::NoId),
            ("[]", PublishError::NoId),
            ("{\"id\": 1}", PublishError::NoId),
            (
                "{\"id\": \"did:wba:gw.example:..\"}",
                PublishError::Did(DidError::Segment),
            ),
            ("{\"id\": \"did:wba:gw.example:a\"}", PublishError::NoKey),
        ] {
            assert_eq!(publish(&documents, &text.into()), Err(error), "{text}");
        }
        let none = Documents::new(None);
        assert_eq!(none.read(of("gw.example")).unwrap_err(), PublishError::Off);
        assert!(none.at("gw.example", "/did.json").is_none());
    }
}
