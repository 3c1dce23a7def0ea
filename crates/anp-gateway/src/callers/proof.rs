//! A request as the verifier of identities looks at it.

use anp_auth::{
    Did, Issued, Proof, Refusal, Request, Scope, Subject,
    header::{CONTENT_DIGEST, HeaderError, SIGNATURE_INPUT},
};
use anpx::RequestHead;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{AUTHORIZATION, HOST},
};

use super::rule::Callers;
use crate::auth::{self, Auth};

/// What of a request is looked at: of its own, since it is looked at elsewhere.
pub(super) struct Asked {
    method: String,
    target: String,
    host: String,
    headers: HeaderMap,
    schemes: Vec<&'static str>,
    has_body: bool,
}

/// Fields of the response, and what else a caller was let in by.
pub(super) struct Admitted {
    pub(super) did: Did,
    pub(super) told: Vec<(&'static str, Bytes)>,
}

/// A DID that was proven.
pub(super) struct Proven {
    did: Did,
    /// By a signature that covers what message signatures cover.
    pub(super) is_signature: bool,
    /// For the next request.
    token: Option<Issued>,
}

impl Asked {
    /// Of the request with this head.
    pub(super) fn new(rule: &Callers, head: &RequestHead, has_body: bool) -> Self {
        // Both are ASCII by their grammar.
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let host = text(&head.authority);
        Self {
            method: text(&head.method),
            target: text(&head.target),
            schemes: rule.called.schemes(head, &host),
            headers: headers(head),
            has_body,
            host,
        }
    }

    /// True where it shows a token, which is verified in no time.
    pub(super) fn shows_token(&self) -> bool {
        let value = self.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let scheme = value.and_then(|value| value.get(..7));
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "))
    }

    /// What its body must have as its digest, where it is signed with one.
    pub(super) fn digest(&self) -> Option<String> {
        let signed = self.has_body && self.headers.contains_key(SIGNATURE_INPUT);
        let digest = self.headers.get(CONTENT_DIGEST).filter(|_| signed)?;
        Some(digest.to_str().ok()?.to_owned())
    }

    /// Who made it, where `rule` asks.
    ///
    /// # Errors
    /// Nobody who may.
    pub(super) async fn verify(&self, auth: &Auth, rule: &Callers) -> Result<Proven, Refusal> {
        let request = Request {
            method: &self.method,
            target: &self.target,
            host: &self.host,
            headers: &self.headers,
        };
        let scope = Scope {
            is_name: &|host| auth.is_name(host) || rule.called.is_name(host, auth.ports()),
            allows: &|did| rule.allows(did),
            schemes: &self.schemes,
            audience: &rule.audience,
            has_body: self.has_body,
            leaves_room: true,
        };
        let (proven, token) = auth.verify_within(request, &scope).await?;
        let Subject::Did(did) = proven.subject else {
            // Of tokens only those of DIDs are taken.
            return Err(HeaderError::Missing.into());
        };
        Ok(Proven {
            did,
            is_signature: proven.by == Proof::Signature,
            token,
        })
    }
}

impl Proven {
    /// Lets its request in.
    pub(super) fn admitted(self) -> Admitted {
        let mut told = Vec::new();
        if let Some(issued) = self.token {
            let fields = auth::fields_of(&issued).map(|(name, value)| (name, value.into()));
            told.extend(fields);
            // A cache would give the token, and what it opens, to anybody (RFC 9111 section 5.2.2.5).
            told.push(("cache-control", Bytes::from_static(b"no-store")));
        }
        Admitted {
            did: self.did,
            told,
        }
    }
}

/// Every header, as signatures may cover any.
fn headers(head: &RequestHead) -> HeaderMap {
    let host = (&b"host"[..], &head.authority[..]);
    let mut headers = HeaderMap::new();
    for (name, value) in head.headers.iter().chain([host]) {
        let field = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value));
        if let (Ok(name), Ok(value)) = field {
            headers.append(name, value);
        }
    }
    debug_assert!(headers.get_all(HOST).iter().count() <= 1, "it stands apart");
    headers
}
