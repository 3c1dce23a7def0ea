//! From a request to who made it, in the order that gives strangers the least: nothing is fetched
//! before the DID is allowed and the header is young, and no nonce is spent before the signature is
//! good.

use std::{fmt, sync::Arc};

use http::HeaderMap;
use thiserror::Error;

use crate::{
    audience::PublicName,
    challenge::Challenges,
    did::Did,
    document::{Document, KeyMark, NoKey},
    header::{CONTENT_DIGEST, Component, Credentials, DidWba, HeaderError, MessageSignature},
    key::PublicKey,
    policy::Policy,
    preshared::{PREFIX, PresharedTokens, TokenHash},
    refusal::{Refusal, Unproven},
    replay::{Once, ReplayStore},
    resolver::{ResolveError, Resolver},
    subject::Subject,
    tokens::{Issued, Tokens},
};

/// How old a header may be, in seconds.
pub const MAX_AGE: i64 = 300;

/// How far ahead of ours the clock may be by which a header was made, in seconds.
pub const MAX_AHEAD: i64 = 60;

/// How many seconds longer than its header is good a nonce is remembered. The clock is read before the
/// document comes and the nonce is spent, and what has expired is forgotten by the clock of others.
const REMEMBERED: i64 = 60;

/// What a verifier works with.
pub struct VerifierParts {
    /// The names of this service: a signature must be meant for one of them.
    pub names: Vec<PublicName>,
    /// Which DIDs are allowed.
    pub policy: Policy,
    /// Where documents come from.
    pub resolver: Arc<dyn Resolver>,
    /// Where used nonces are kept.
    pub replay: Arc<dyn ReplayStore>,
    /// Tokens that prove an identity for a while.
    pub tokens: Arc<Tokens>,
    /// Tokens of those without an identity.
    pub preshared: PresharedTokens,
}

/// Decides who made a request.
pub struct Verifier {
    parts: VerifierParts,
    challenges: Challenges,
}

/// What of a request is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The method, such as `GET`.
    pub method: &'a str,
    /// The target as it was sent: path and query.
    pub target: &'a str,
    /// `Host` as it was sent. It chooses among the configured names, and is believed in nothing.
    pub host: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
}

/// What a request must be meant for and who may make it, where that is not what its verifier was
/// made for.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// True for a `Host`, as it was sent, that is a name of what was called.
    pub is_name: &'a (dyn Fn(&str) -> bool + Send + Sync),
    /// True for a DID that may make it. Asked before anything is fetched: it must be quick.
    pub allows: &'a (dyn Fn(&Did) -> bool + Send + Sync),
    /// Schemes that the URL may have had in the client, such as `https`.
    pub schemes: &'a [&'static str],
    /// What tokens must have been issued for.
    pub audience: &'a str,
    /// The request has a body: a message signature must cover its digest. Whether it is that of the
    /// body is for the caller to see.
    pub has_body: bool,
    /// Its nonces leave a share of the store to others ([`Once::leaving_room`]).
    pub leaves_room: bool,
}

/// Who made a request, and how long that is to be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// Who.
    pub subject: Subject,
    /// How it was proven.
    pub by: Proof,
    /// The key of the DID that signed, for this or for the token; `None` for tokens that do not say.
    pub key: Option<KeyMark>,
}

/// How somebody proved to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// By a signature with a key of the DID.
    Signature,
    /// By a token that was issued for one.
    Token {
        /// When it ends, in seconds since 1970.
        expires_at: i64,
    },
    /// By a pre-shared token.
    Preshared(TokenHash),
}

/// The system has no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the system has no randomness")]
pub struct NoRandomness;

impl Verifier {
    /// A verifier of `parts`.
    ///
    /// # Errors
    ///
    /// [`NoRandomness`].
    pub fn new(parts: VerifierParts) -> Result<Self, NoRandomness> {
        let challenges = Challenges::new().ok_or(NoRandomness)?;
        Ok(Self { parts, challenges })
    }

    /// Who made `request`, at `now` in seconds since 1970.
    ///
    /// # Errors
    ///
    /// [`Refusal`]. Dropping the future spends no nonce, or spends it and tells nobody.
    pub async fn verify(&self, request: Request<'_>, now: i64) -> Result<Proven, Refusal> {
        let VerifierParts { names, policy, .. } = &self.parts;
        let scope = Scope {
            is_name: &|host| names.iter().any(|name| name.is(host)),
            allows: &|did| policy.allows(did),
            // Nobody sends it.
            schemes: &["wss", "ws"],
            audience: self.parts.tokens.audience(),
            has_body: false,
            leaves_room: false,
        };
        match Credentials::read(request.headers).map_err(Unproven::from)? {
            Credentials::Bearer(token) if token.starts_with(PREFIX) => {
                let found = self.parts.preshared.verify(&token);
                let (name, hash) = found.ok_or(Unproven::UnknownToken)?;
                Ok(Proven {
                    subject: Subject::Token(name),
                    by: Proof::Preshared(hash),
                    key: None,
                })
            }
            shown => self.verify_shown(shown, request, &scope, now).await,
        }
    }

    /// Who made `request`, at `now` in seconds since 1970, where `scope` says what is asked. Only a
    /// DID is taken, by a signature or by a token of [`Verifier::token_within`]. A nonce is spent for
    /// [`Verifier::verify`] as well.
    ///
    /// # Errors
    ///
    /// As [`Verifier::verify`].
    pub async fn verify_within(
        &self,
        request: Request<'_>,
        scope: &Scope<'_>,
        now: i64,
    ) -> Result<Proven, Refusal> {
        let shown = Credentials::read(request.headers).map_err(Unproven::from)?;
        self.verify_shown(shown, request, scope, now).await
    }

    async fn verify_shown(
        &self,
        shown: Credentials,
        request: Request<'_>,
        scope: &Scope<'_>,
        now: i64,
    ) -> Result<Proven, Refusal> {
        match shown {
            Credentials::Bearer(token) => self.verify_bearer(&token, scope, now),
            Credentials::DidWba(header) => {
                let signed = Signed::DidWba(&header);
                self.verify_signed(&header.did, signed, request, scope, now)
                    .await
            }
            Credentials::Signature(signature) => {
                let signed = Signed::Message(&signature);
                self.verify_signed(&signature.did, signed, request, scope, now)
                    .await
            }
        }
    }

    /// True as long as who proved to be there may stay: the DID is allowed, the token has not
    /// expired and was not removed.
    pub fn permits(&self, proven: &Proven, now: i64) -> bool {
        let allowed = match &proven.subject {
            Subject::Did(did) => self.parts.policy.allows(did),
            Subject::Token(_) => true,
        };
        allowed
            && match (&proven.by, &proven.subject) {
                (Proof::Token { expires_at }, _) => now < *expires_at,
                (Proof::Preshared(hash), Subject::Token(name)) => {
                    self.parts.preshared.has(name, hash)
                }
                (Proof::Preshared(_), Subject::Did(_)) => false,
                (Proof::Signature, _) => true,
            }
    }

    /// A token for whoever has just signed; others keep the one they have.
    pub fn token_for(&self, proven: &Proven, now: i64) -> Option<Issued> {
        match (&proven.subject, proven.by) {
            (Subject::Did(did), Proof::Signature) => {
                self.parts.tokens.issue(did, proven.key.as_ref(), now)
            }
            _ => None,
        }
    }

    /// As [`Verifier::token_for`], for `audience` alone.
    pub fn token_within(&self, proven: &Proven, audience: &str, now: i64) -> Option<Issued> {
        match (&proven.subject, proven.by) {
            (Subject::Did(did), Proof::Signature) => {
                let key = proven.key.as_ref();
                self.parts.tokens.issue_for(audience, did, key, now)
            }
            _ => None,
        }
    }

    /// The name of this service in answers.
    pub fn realm(&self) -> &str {
        self.parts
            .names
            .first()
            .map_or("anp-proxy", PublicName::host)
    }

    fn verify_bearer(&self, token: &str, scope: &Scope<'_>, now: i64) -> Result<Proven, Refusal> {
        let claim = self.parts.tokens.verify_for(scope.audience, token, now);
        let claim = claim.map_err(Unproven::from)?;
        let allowed = (scope.allows)(&claim.did);
        let subject = Subject::Did(claim.did);
        if !allowed {
            return Err(Refusal::NotPermitted(subject));
        }
        Ok(Proven {
            subject,
            by: Proof::Token {
                expires_at: claim.expires_at,
            },
            key: claim.key,
        })
    }

    async fn verify_signed(
        &self,
        did: &Did,
        signed: Signed<'_>,
        request: Request<'_>,
        scope: &Scope<'_>,
        now: i64,
    ) -> Result<Proven, Refusal> {
        let VerifierParts {
            resolver, replay, ..
        } = &self.parts;
        if !(scope.allows)(did) {
            return Err(Unproven::NotAllowed(did.clone()).into());
        }
        let expires_at = signed.check_time(now)?;
        if !(scope.is_name)(request.host) {
            return Err(Unproven::Audience.into());
        }
        // Equal to a name of ours but for case and a default port, which clients sign as they write
        // them.
        let name = Audience(request.host);
        signed.check_body(request.headers, scope.has_body)?;

        let document = resolver.resolve(did).await.map_err(|error| {
            let did = did.clone();
            match error {
                // Who is not believed does not come again.
                ResolveError::Busy => Refusal::Busy { did },
                error => Unproven::Document { did, error }.into(),
            }
        })?;
        let key = signed.key(&document)?;
        if !signed.is_by(key, name, request, scope.schemes)? {
            return Err(Unproven::Signature(did.clone()).into());
        }

        let unavailable = |error| {
            let did = did.clone();
            Refusal::Unavailable { did, error }
        };
        let since = replay.complete_since().await.map_err(unavailable)?;
        let unknown = signed.made_at() < since;
        if unknown && !self.challenges.knows(signed.nonce()) {
            return Err(self.challenge(did, "it was signed before this gateway started"));
        }
        let until = expires_at.saturating_add(REMEMBERED);
        let mut once = Once::new(did, signed.nonce(), until, now);
        if scope.leaves_room {
            once = once.leaving_room();
        }
        match replay.spend(&once).await {
            Ok(()) => {}
            Err(crate::replay::SpendError::Used) => {
                return Err(self.challenge(did, "its nonce was used before"));
            }
            Err(error) => return Err(unavailable(error)),
        }
        let subject = Subject::Did(did.clone());
        // It may have been removed while its document came.
        if !(scope.allows)(did) {
            return Err(Refusal::NotPermitted(subject));
        }
        Ok(Proven {
            subject,
            by: Proof::Signature,
            key: document.mark(signed.fragment()),
        })
    }

    fn challenge(&self, did: &Did, why: &'static str) -> Refusal {
        match self.challenges.make() {
            Some(nonce) => Refusal::Challenge {
                did: did.clone(),
                nonce,
                why,
            },
            None => Refusal::from(Unproven::Nonce(did.clone())),
        }
    }
}

/// `host` or `host:port` of ours, as the client wrote it.
#[derive(Clone, Copy)]
struct Audience<'a>(&'a str);

impl<'a> Audience<'a> {
    /// Without a port, as DIDWba headers have it.
    fn host(self) -> &'a str {
        match self.0.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => self.0,
        }
    }
}

/// Either kind of signature.
#[derive(Clone, Copy)]
enum Signed<'a> {
    DidWba(&'a DidWba),
    Message(&'a MessageSignature),
}

impl Signed<'_> {
    fn made_at(self) -> i64 {
        match self {
            Self::DidWba(header) => header.signed_at,
            Self::Message(signature) => signature.created,
        }
    }

    fn fragment(&self) -> &str {
        match self {
            Self::DidWba(header) => &header.fragment,
            Self::Message(signature) => &signature.fragment,
        }
    }

    fn nonce(&self) -> &str {
        match self {
            Self::DidWba(header) => &header.nonce,
            Self::Message(signature) => &signature.nonce,
        }
    }

    /// Holds the time of signing against the window; gives the last second it is good in.
    fn check_time(self, now: i64) -> Result<i64, Unproven> {
        let made_at = self.made_at();
        let age = now.saturating_sub(made_at);
        if age > MAX_AGE {
            return Err(Unproven::Old(age));
        }
        if age < -MAX_AHEAD {
            return Err(Unproven::Ahead(age.saturating_neg()));
        }
        let end = made_at.saturating_add(MAX_AGE);
        let Self::Message(MessageSignature {
            expires: Some(expires),
            ..
        }) = self
        else {
            return Ok(end);
        };
        if *expires < now || *expires < made_at {
            return Err(Unproven::Expired);
        }
        Ok(end.min(*expires))
    }

    /// Without a body, as in a handshake, a digest that is covered must be that of nothing; of a
    /// body it must be covered (did:wba method specification, section 3.1.1).
    fn check_body(self, headers: &HeaderMap, has_body: bool) -> Result<(), HeaderError> {
        match self {
            Self::Message(signature) if has_body => {
                match signature.covers(&Component::Field(CONTENT_DIGEST)) {
                    true => Ok(()),
                    false => Err(HeaderError::Uncovered("content-digest")),
                }
            }
            Self::Message(signature) if signature.covers(&Component::Field(CONTENT_DIGEST)) => {
                signature.check_body(headers, b"")
            }
            _ => Ok(()),
        }
    }

    fn key<'d>(&self, document: &'d Document) -> Result<&'d PublicKey, NoKey> {
        document.key(self.fragment())
    }

    /// True if `key` made it for `audience`.
    fn is_by(
        self,
        key: &PublicKey,
        audience: Audience<'_>,
        request: Request<'_>,
        schemes: &[&'static str],
    ) -> Result<bool, Unproven> {
        match self {
            Self::DidWba(header) => {
                let mut fields = header.audience_fields().iter();
                Ok(fields.any(|field| {
                    let signed = header.signed_bytes(*field, audience.host());
                    key.verify(&signed, &header.signature)
                }))
            }
            Self::Message(signature) => {
                let named = signature.algorithm.as_deref();
                if named.is_some() && named != key.algorithm() {
                    return Err(Unproven::Algorithm);
                }
                for target_uri in target_uris(audience, request.target, schemes) {
                    let base =
                        signature.base(request.method, &target_uri, audience.0, request.headers)?;
                    if key.verify(base.as_bytes(), &signature.signature) {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }
}

/// What the URL may have been in the client: nobody sends its scheme, and clients write a URL without
/// a path that is sent as `/`.
fn target_uris(
    audience: Audience<'_>,
    target: &str,
    schemes: &[&'static str],
) -> impl Iterator<Item = String> {
    let authority = audience.0;
    let bare = target
        .strip_prefix('/')
        .filter(|rest| rest.is_empty() || rest.starts_with('?'));
    let targets = [Some(target), bare].into_iter().flatten();
    targets.flat_map(move |target| {
        let schemes = schemes.iter();
        schemes.map(move |scheme| format!("{scheme}://{authority}{target}"))
    })
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("names", &self.parts.names)
            .finish_non_exhaustive()
    }
}
