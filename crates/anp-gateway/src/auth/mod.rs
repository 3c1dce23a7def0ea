//! Who is at the other end of a handshake, and for how long that is to be believed.

pub(crate) mod error;
pub(crate) mod permissions;
mod recheck;
mod replay;

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anp_auth::{
    Did, Issued, NoKey, Policy, PresharedTokens, Proof, Proven, PublicName, Refusal, Request,
    Scope, Subject, Tokens, Verifier, VerifierParts,
    replay::{MemoryReplay, ReplayStore},
    resolver::HttpsResolver,
};
use tokio::sync::Semaphore;

use self::{error::AuthError, recheck::Rechecks, replay::LateReplay};
use crate::{
    config::{Auth as Settings, Config},
    documents::{Documents, Hosting},
    owner::Owner,
    places::Places,
    private,
    route::Routes,
};

/// Handshakes that are verified at once; one more is told to come again. More than the resolver lets
/// wait for documents, 512: made-up DIDs must not be in the way of those who need no fetch.
const AT_ONCE: usize = 640;

/// How long before its end a tunnel that a token opened is drained, at most: its receiver signs and
/// opens another, and what is under way has this long to end.
const NOTICE: i64 = 300;

/// What verifying a proof may take: the fetch of a document has its own limit, the disk has this.
pub(crate) const VERIFY_TIMEOUT: Duration = Duration::from_secs(12);

/// How receivers are verified, and callers.
#[derive(Debug)]
pub(crate) struct Auth {
    verifier: Verifier,
    policy: Policy,
    preshared: PresharedTokens,
    tokens: Arc<Tokens>,
    replay: Option<Arc<LateReplay>>,
    pub(crate) rechecks: Rechecks,
    names: Vec<PublicName>,
    ports: [u16; 2],
    places: Semaphore,
}

/// Who may take a tunnel.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) owner: Owner,
    /// What has to stay true for as long as the tunnel lives.
    pub(crate) proven: Proven,
    /// For the next handshake.
    pub(crate) token: Option<Issued>,
}

/// What is to become of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It stays.
    Stays,
    /// It ends soon: another is due.
    Drains,
    /// The token that opened it has ended.
    Expired,
    /// Who holds it is no longer permitted.
    Removed,
}

/// Why a handshake is turned away.
#[derive(Debug)]
pub(crate) enum TurnedAway {
    /// By what it showed.
    Refused(Refusal),
    /// Too many are verified at once.
    Busy,
}

impl Auth {
    /// What `settings` say, for those who own endpoints or get them by their names, and whose
    /// documents are hosted here or elsewhere. Receivers may write one of `ports` behind a public
    /// name that has none. Where `late`, another process may still have the file of nonces. A store
    /// of nonces that is new knows those since `since`, in seconds since 1970.
    ///
    /// # Errors
    /// [`AuthError`].
    pub(crate) fn new(
        settings: &Settings,
        (owners, places, documents): (Arc<Routes>, Arc<Places>, Arc<Documents>),
        ports: [u16; 2],
        late: bool,
        since: i64,
    ) -> Result<Self, AuthError> {
        let name = settings.public_names.first();
        let name = name.map_or("anp-proxy", PublicName::host).to_owned();
        let lifetime = settings.token_lifetime.0;
        for file in [&settings.token_key, &settings.replay_store]
            .into_iter()
            .flatten()
        {
            make_directory(file)?;
        }
        let tokens = Arc::new(match &settings.token_key {
            Some(file) => Tokens::open(file, name.clone(), name, lifetime)?,
            None => Tokens::ephemeral(name.clone(), name, lifetime)?,
        });
        let late = match &settings.replay_store {
            Some(file) => Some(Arc::new(LateReplay::open(file, since, late)?)),
            None => None,
        };
        let replay: Arc<dyn ReplayStore> = match &late {
            Some(late) => late.clone(),
            None => Arc::new(MemoryReplay::new(since)),
        };
        let policy = Policy::new(settings.allow.clone()).or(Arc::new(move |did: &Did| {
            owners.now().is_owner(&Owner::Did(did.to_string())) || places.allow(did).is_ok()
        }));
        let preshared = PresharedTokens::default();
        // Validated with the configuration.
        let _ = preshared.replace(settings.preshared());
        let resolver = Arc::new(Hosting {
            documents: documents.clone(),
            elsewhere: HttpsResolver::new(&settings.resolver.config()?)?,
        });
        let names = names(settings, ports);
        let verifier = Verifier::new(VerifierParts {
            names: names.clone(),
            policy: policy.clone(),
            resolver: resolver.clone(),
            replay,
            tokens: tokens.clone(),
            preshared: preshared.clone(),
        })?;
        Ok(Self {
            verifier,
            policy,
            preshared,
            tokens,
            replay: late,
            rechecks: Rechecks::new(documents, resolver, lifetime),
            names,
            ports,
            places: Semaphore::new(AT_ONCE),
        })
    }

    /// Takes up who is allowed now.
    pub(crate) fn follow(&self, config: &Config) {
        if let Some(settings) = &config.auth {
            self.policy.replace(settings.allow.clone());
            let _ = self.preshared.replace(settings.preshared());
        }
    }

    /// Lets go of the file of nonces: another process follows, and nobody is admitted here.
    pub(crate) fn retire(&self) {
        if let Some(replay) = &self.replay {
            replay.retire();
        }
    }

    /// Who made `request`.
    ///
    /// # Errors
    /// Nobody who may come, or not now.
    pub(crate) async fn verify(&self, request: Request<'_>) -> Result<Seat, TurnedAway> {
        let Ok(_place) = self.places.try_acquire() else {
            return Err(TurnedAway::Busy);
        };
        let proven = self.verifier.verify(request, now()).await;
        let proven = proven.and_then(|proven| self.still_good(proven));
        let proven = proven.map_err(TurnedAway::Refused)?;
        Ok(Seat {
            owner: match &proven.subject {
                Subject::Did(did) => Owner::Did(did.to_string()),
                Subject::Token(name) => Owner::Token(name.clone()),
            },
            token: self.verifier.token_for(&proven, now()),
            proven,
        })
    }

    /// Who made `request`, where `scope` says what is asked, and a token for the next one.
    ///
    /// # Errors
    /// Nobody who may.
    pub(crate) async fn verify_within(
        &self,
        request: Request<'_>,
        scope: &Scope<'_>,
    ) -> Result<(Proven, Option<Issued>), Refusal> {
        let proven = self.verifier.verify_within(request, scope, now()).await?;
        let proven = self.still_good(proven)?;
        let token = self.verifier.token_within(&proven, scope.audience, now());
        Ok((proven, token))
    }

    /// A token may be good, while the key that got it is so no more.
    fn still_good(&self, proven: Proven) -> Result<Proven, Refusal> {
        match proven.by {
            Proof::Signature => self.rechecks.is_back(&proven),
            Proof::Token { .. } if self.rechecks.is_gone(&proven) => {
                return Err(NoKey::NotListed.into());
            }
            Proof::Token { .. } | Proof::Preshared(_) => {}
        }
        Ok(proven)
    }

    /// True for a `Host` that is a public name.
    pub(crate) fn is_name(&self, host: &str) -> bool {
        self.names.iter().any(|name| name.is(host))
    }

    /// The ports of our listeners.
    pub(crate) fn ports(&self) -> [u16; 2] {
        self.ports
    }

    /// This service, as refusals name it.
    pub(crate) fn realm(&self) -> &str {
        self.verifier.realm()
    }

    /// What is to become of the tunnel of who has proven this.
    pub(crate) fn fate(&self, proven: &Proven, lifetime: Duration) -> Fate {
        let now = now();
        if self.rechecks.is_gone(proven) {
            return Fate::Removed;
        }
        let Proof::Token { expires_at } = proven.by else {
            return match self.verifier.permits(proven, now) {
                true => Fate::Stays,
                false => Fate::Removed,
            };
        };
        // Not more than half of what a token lasts.
        let half = i64::try_from(lifetime.as_secs() / 2).unwrap_or(NOTICE);
        let notice = NOTICE.min(half);
        if now >= expires_at {
            Fate::Expired
        } else if !self.verifier.permits(proven, now) {
            Fate::Removed
        } else if now >= expires_at.saturating_sub(notice) {
            Fate::Drains
        } else {
            Fate::Stays
        }
    }

    /// Takes up a replaced key.
    pub(crate) fn refresh(&self) {
        match self.tokens.refresh(now()) {
            Ok(false) => {}
            Ok(true) => tracing::info!("the key of tokens was replaced"),
            Err(error) => tracing::warn!(%error, "the key of tokens was not taken up"),
        }
    }
}

/// The public names, with the ports of our listeners where they have none of their own.
fn names(settings: &Settings, ports: [u16; 2]) -> Vec<PublicName> {
    let mut names = settings.public_names.clone();
    for name in &settings.public_names {
        if name.port().is_none() {
            names.extend(ports.map(|port| name.with_port(port)));
        }
    }
    names
}

/// The fields of an answer that give a token (RFC 9110 section 11.6.3, RFC 6750). Old clients look
/// into one that no response has.
pub(crate) fn fields_of(issued: &Issued) -> [(&'static str, String); 2] {
    let Issued { token, expires_in } = issued;
    let info = format!(r#"access_token="{token}", token_type="Bearer", expires_in={expires_in}"#);
    [
        ("authentication-info", info),
        ("authorization", format!("Bearer {token}")),
    ]
}

fn make_directory(file: &std::path::Path) -> Result<(), AuthError> {
    private::directory_of(file).map_err(|source| AuthError::Directory {
        directory: file.parent().unwrap_or(file).to_owned(),
        source,
    })
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
}
