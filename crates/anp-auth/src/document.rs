//! DID documents: bounded, parsed once, and reduced to the keys that may authenticate.

use std::sync::Arc;

use anp::authentication::validate_did_document_binding;
use base64::Engine;
use k256::ecdsa::Signature;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::{
    did::{Did, KeyBinding},
    encoding::BASE64URL,
    header::is_fragment,
    key::{KeyError, MAX_KEY_TEXT, PublicKey},
};

/// Largest document read, in bytes.
pub const MAX_DOCUMENT_LEN: usize = 64 * 1024;

/// Most verification methods and most entries of `authentication`.
const MAX_METHODS: usize = 64;

/// What of a DID document is needed to check its owner's signatures.
#[derive(Debug, Clone)]
pub struct Document {
    did: Did,
    /// Keys in `authentication`, by fragment.
    keys: Vec<Key>,
}

/// Why a document cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DocumentError {
    /// Larger than [`MAX_DOCUMENT_LEN`].
    #[error("the DID document is larger than {MAX_DOCUMENT_LEN} bytes")]
    TooLarge,
    /// No JSON object, or nested too deeply.
    #[error("the DID document is no JSON object, or nested too deeply")]
    Json,
    /// The document is of somebody else.
    #[error("the id of the DID document is not the DID asked for")]
    OtherDid,
    /// Methods are missing, too many, repeated, or a relation names one that is not there.
    #[error("the verification methods of the DID document are missing, repeated or too many")]
    Methods,
    /// The DID names a key in its last segment, and the document has no valid proof by that key.
    #[error("the DID document has no valid proof by the key that the DID names")]
    Unbound,
}

/// Why a document has no key for a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NoKey {
    /// `authentication` does not list it.
    #[error("the key is not in \"authentication\" of the DID document")]
    NotListed,
    /// It is listed and unusable.
    #[error(transparent)]
    Unusable(#[from] KeyError),
}

/// Which key of a document it was, to be known again: its fragment and a digest of the key. Cloning is
/// cheap.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyMark(Arc<str>);

impl KeyMark {
    /// As it can be written down.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What was written down. Text that is no mark is that of no key.
    pub(crate) fn from_text(text: &str) -> Self {
        Self(text.into())
    }
}

impl Document {
    /// Parses the document of `did`. Where the DID names a key (`e1_`, `k1_`), the proof of the whole
    /// document by that key is checked, so that nobody else can have added a key to it.
    ///
    /// # Errors
    ///
    /// [`DocumentError`] tells what is wrong.
    pub fn parse(did: &Did, bytes: &[u8]) -> Result<Self, DocumentError> {
        if bytes.len() > MAX_DOCUMENT_LEN {
            return Err(DocumentError::TooLarge);
        }
        // serde_json gives up at a depth of 128.
        let document: Value = serde_json::from_slice(bytes).map_err(|_| DocumentError::Json)?;
        let object = document.as_object().ok_or(DocumentError::Json)?;
        if object.get("id").and_then(Value::as_str) != Some(did.as_str()) {
            return Err(DocumentError::OtherDid);
        }
        let methods = methods(did, object)?;
        if let Some(binding) = did.binding() {
            check_binding(binding, &document)?;
        }
        let keys = keys(did, object, &methods)?;
        Ok(Self {
            did: did.clone(),
            keys,
        })
    }

    /// Whose document it is.
    pub fn did(&self) -> &Did {
        &self.did
    }

    /// The fragments of the keys in `authentication`, in order.
    pub fn fragments(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|(fragment, _)| fragment.as_str())
    }

    /// True if every key that may authenticate for `other` may do so here, under the same name.
    pub fn has_the_keys_of(&self, other: &Self) -> bool {
        let keys = other.keys.iter();
        keys.filter_map(|(fragment, key)| Some((fragment, key.as_ref().ok()?)))
            .all(|(fragment, key)| self.key(fragment).is_ok_and(|own| own.is_same(key)))
    }

    /// The mark of the key of that fragment, if it may authenticate.
    pub fn mark(&self, fragment: &str) -> Option<KeyMark> {
        let digest = BASE64URL.encode(self.key(fragment).ok()?.digest());
        Some(KeyMark(format!("{digest}#{fragment}").into()))
    }

    /// True if the key of that mark may authenticate.
    pub fn has(&self, mark: &KeyMark) -> bool {
        let fragment = mark.0.split_once('#').map(|(_, fragment)| fragment);
        let own = fragment.and_then(|fragment| self.mark(fragment));
        own.as_ref() == Some(mark)
    }

    /// The key of that fragment, if it may authenticate.
    ///
    /// # Errors
    ///
    /// [`NoKey`] tells why there is none.
    pub fn key(&self, fragment: &str) -> Result<&PublicKey, NoKey> {
        let found = self.keys.iter().find(|(name, _)| name == fragment);
        let (_, key) = found.ok_or(NoKey::NotListed)?;
        key.as_ref().map_err(|error| NoKey::Unusable(*error))
    }
}

/// A key by its fragment, or why it cannot be used.
type Key = (String, Result<PublicKey, KeyError>);

type Method<'a> = (&'a str, &'a Map<String, Value>);

/// An array of at most [`MAX_METHODS`] entries; an empty one if it is not there.
fn entries<'a>(object: &'a Map<String, Value>, name: &str) -> Result<&'a [Value], DocumentError> {
    match object.get(name) {
        None => Ok(&[]),
        Some(Value::Array(entries)) if entries.len() <= MAX_METHODS => Ok(entries),
        Some(_) => Err(DocumentError::Methods),
    }
}

/// The fragment of an id that is this DID's, written in full or relative.
fn own_fragment<'a>(did: &Did, id: &'a str) -> Option<&'a str> {
    let fragment = id
        .strip_prefix(did.as_str())
        .unwrap_or(id)
        .strip_prefix('#')?;
    is_fragment(fragment).then_some(fragment)
}

/// The methods with an id of this DID, each id once.
fn methods<'a>(
    did: &Did,
    object: &'a Map<String, Value>,
) -> Result<Vec<Method<'a>>, DocumentError> {
    let mut methods: Vec<Method<'a>> = Vec::new();
    for entry in entries(object, "verificationMethod")? {
        let method = entry.as_object().ok_or(DocumentError::Methods)?;
        let id = method
            .get("id")
            .and_then(Value::as_str)
            .ok_or(DocumentError::Methods)?;
        let Some(fragment) = own_fragment(did, id) else {
            continue;
        };
        if methods.iter().any(|(known, _)| *known == fragment) {
            return Err(DocumentError::Methods);
        }
        methods.push((fragment, method));
    }
    Ok(methods)
}

/// The keys that `authentication` names or contains.
fn keys(
    did: &Did,
    object: &Map<String, Value>,
    methods: &[Method<'_>],
) -> Result<Vec<Key>, DocumentError> {
    let mut keys: Vec<Key> = Vec::new();
    for entry in entries(object, "authentication")? {
        let embedded = entry.as_object();
        let id = match embedded {
            Some(method) => method.get("id").and_then(Value::as_str),
            None => entry.as_str(),
        };
        let Some(fragment) = own_fragment(did, id.ok_or(DocumentError::Methods)?) else {
            continue;
        };
        let listed = methods.iter().find(|(known, _)| *known == fragment);
        let method = match (embedded, listed) {
            (Some(method), None) => method,
            (None, Some((_, method))) => *method,
            _ => return Err(DocumentError::Methods),
        };
        if keys.iter().any(|(known, _)| known == fragment) {
            return Err(DocumentError::Methods);
        }
        let controller = method.get("controller").and_then(Value::as_str);
        let key = if controller.is_none_or(|controller| controller == did.as_str()) {
            PublicKey::from_method(method)
        } else {
            Err(KeyError::Unsupported)
        };
        keys.push((fragment.to_owned(), key));
    }
    Ok(keys)
}

/// Checks proof and thumbprint with the SDK, after taking out what it cannot take: base58 of any
/// length, decoded in quadratic time, and ECDSA signatures with values above the order of the curve,
/// on which its arithmetic panics.
fn check_binding(binding: KeyBinding, document: &Value) -> Result<(), DocumentError> {
    let proof_value = document
        .get("proof")
        .and_then(|proof| proof.get("proofValue"))
        .and_then(Value::as_str)
        .filter(|value| value.len() <= MAX_KEY_TEXT)
        .ok_or(DocumentError::Unbound)?;
    if binding == KeyBinding::K1 {
        let bytes = BASE64URL
            .decode(proof_value)
            .map_err(|_| DocumentError::Unbound)?;
        Signature::from_slice(&bytes).map_err(|_| DocumentError::Unbound)?;
    }
    let text_is_short = |method: &Value| {
        ["publicKeyMultibase", "publicKeyBase58"]
            .iter()
            .all(|name| {
                let text = method.get(*name).and_then(Value::as_str);
                text.is_none_or(|text| text.len() <= MAX_KEY_TEXT)
            })
    };
    let bounded = ["verificationMethod", "authentication", "assertionMethod"]
        .iter()
        .filter_map(|name| document.get(*name).and_then(Value::as_array))
        .flatten()
        .all(text_is_short);
    if bounded && validate_did_document_binding(document, true) {
        Ok(())
    } else {
        Err(DocumentError::Unbound)
    }
}
