//! Callers of endpoints that not everybody may call.
//!
//! In this order: the address; then the name and secret of basic authentication, which cost a hash;
//! then the proof of a DID, by the verifier that judges receivers. Tokens are verified where the
//! request is. Signatures are verified elsewhere ([`Desk`]), since the worker has others to serve.

mod basic;
mod called;
mod denied;
mod desk;
mod proof;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use anp_auth::{Did, PresharedTokens, Refusal};
use anpx::RequestHead;
use bytes::Bytes;

use crate::{
    auth::TurnedAway,
    config::{self, CallerDids, Config, Endpoint},
    error::ProxyError,
    policy::Governed,
    proxy::{Downstream, Failure, Upload},
    trust::{self, Network},
    workers::Worker,
};

use called::Called;
pub(crate) use denied::Denied;
pub(crate) use desk::Desk;
use proof::Asked;

/// In which apps find the DID that a caller has proven. Nobody else can set it.
pub(crate) const CALLER_DID: &str = "anp-caller-did";

/// Who may call an endpoint.
#[derive(Debug)]
pub(crate) struct Callers {
    /// Addresses that may; all where there are none.
    networks: Vec<Network>,
    /// Those with a secret, if anybody has one.
    users: Option<PresharedTokens>,
    /// Those with an identity, if anybody may come by one.
    dids: Vec<CallerDids>,
    /// What a signature must be meant for.
    called: Called,
    /// What the tokens of this endpoint's callers are good for: no other endpoint, no other owner's
    /// endpoint of this name, and no tunnel, since the app sees them.
    audience: String,
}

/// Fields of the response, and what else a caller was let in by.
struct Admitted {
    did: Option<Did>,
    told: Vec<(&'static str, Bytes)>,
}

/// Why a caller was not let in, and the fields that say what would help.
struct Refused {
    denied: Denied,
    told: Vec<(&'static str, Bytes)>,
}

impl Callers {
    /// The rule of an endpoint whose settings are valid.
    pub(crate) fn new(rule: &config::Callers, endpoint: &Endpoint, config: &Config) -> Self {
        // Validated with the settings; were it not, nobody would be let in.
        let users = || PresharedTokens::new(rule.users()).unwrap_or_default();
        let owners: Vec<_> = endpoint.owners().map(|owner| owner.to_string()).collect();
        Self {
            networks: rule.networks.clone(),
            users: (!rule.basic.is_empty()).then(users),
            dids: rule.dids.clone(),
            called: Called::new(endpoint, config),
            audience: format!("callers of {} {}", endpoint.name, owners.join(" ")),
        }
    }

    /// True for an identity that may call.
    fn allows(&self, did: &Did) -> bool {
        self.dids.iter().any(|rule| match rule {
            CallerDids::All => true,
            CallerDids::By(rule) => rule.allows(did),
        })
    }

    /// Why `head` is none of a user's.
    fn why_unknown(head: &RequestHead) -> &'static str {
        match basic::shown(&head.headers) {
            Some(_) => "no user of callers.basic has this name and secret",
            None => "it shows no name and secret",
        }
    }

    /// True where `head` shows the secret of one of the users.
    fn knows(&self, head: &RequestHead) -> bool {
        let shown = self.users.as_ref().zip(basic::shown(&head.headers));
        shown.is_some_and(|(users, (name, secret))| {
            users.verify(&secret).is_some_and(|(user, _)| user == name)
        })
    }
}

/// Tells the log why a caller was refused.
fn tell(worker: &Worker, head: &RequestHead, why: &dyn fmt::Display) {
    let peer = head.client_addr.as_deref().unwrap_or_default();
    worker.shared.refusals.tell(peer, why, "caller refused");
}

/// Lets a request through whose caller may make it; whoever is proven to be that. What the caller
/// is told beside the answer goes to `governed`, also where this fails.
///
/// # Errors
/// 401, 403 or 503 as [`Denied`] says, or the caller left.
pub(crate) async fn admit<D: Downstream>(
    worker: &Worker,
    governed: &mut Governed,
    head: &RequestHead,
    upload: &mut Upload,
    down: &mut D,
) -> Result<Option<Did>, Failure> {
    let Some(rule) = governed.callers() else {
        return Ok(None);
    };
    if !rule.networks.is_empty() && !trust::holds(&rule.networks, client(head)) {
        tell(worker, head, &"callers.networks does not hold its address");
        return Err(ProxyError::Caller(Denied::Address).into());
    }
    if rule.users.is_none() && rule.dids.is_empty() || rule.knows(head) {
        return Ok(None);
    }
    let judged = match rule.dids.is_empty() {
        true => {
            tell(worker, head, &Callers::why_unknown(head));
            Err(Refused::unproven(&rule))
        }
        false => prove(worker, &rule, head, upload, down).await?,
    };
    match judged {
        Ok(Admitted { did, told }) => {
            governed.tell(told);
            Ok(did)
        }
        Err(Refused { denied, told }) => {
            governed.tell(told);
            Err(ProxyError::Caller(denied).into())
        }
    }
}

/// Has the proof of a DID judged.
async fn prove<D: Downstream>(
    worker: &Worker,
    rule: &Arc<Callers>,
    head: &RequestHead,
    upload: &mut Upload,
    down: &mut D,
) -> Result<Result<Admitted, Refused>, Failure> {
    let shared = &worker.shared;
    let Some(auth) = &shared.auth else {
        // An entry of the registry from when there was one.
        tracing::warn!("gateway.auth is gone, so that callers cannot prove who they are");
        return Ok(Err(Refused::busy()));
    };
    let asked = Asked::new(rule, head, upload.is_empty() || head.protocol.is_some());
    let digest = asked.digest();
    let proven = match asked.shows_token() {
        true => asked.verify(auth, rule).await.map_err(TurnedAway::Refused),
        false => {
            let (shared, rule) = (shared.clone(), rule.clone());
            let verifying = worker.shared.desk.begin(async move {
                match &shared.auth {
                    Some(auth) => asked.verify(auth, &rule).await.map_err(TurnedAway::Refused),
                    None => Err(TurnedAway::Busy),
                }
            });
            desk::wait(verifying, down).await?
        }
    };
    Ok(match proven {
        Ok(proof) => {
            if let Some(digest) = digest.filter(|_| proof.is_signature) {
                upload.expect_digest(digest);
            }
            Ok(proof.admitted())
        }
        Err(TurnedAway::Busy) => Err(Refused::busy()),
        Err(TurnedAway::Refused(refusal)) => {
            match &refusal {
                Refusal::Unproven(_) if rule.users.is_some() => {
                    let unknown = Callers::why_unknown(head);
                    tell(worker, head, &format_args!("{unknown}; {refusal}"));
                }
                _ => tell(worker, head, &refusal),
            }
            Err(Refused::by(&refusal, rule, auth.realm()))
        }
    })
}

/// Whose request it is. The head was made here: its address is one.
pub(crate) fn client(head: &RequestHead) -> IpAddr {
    let text = head.client_addr.as_deref().unwrap_or_default();
    let address = std::str::from_utf8(text).ok();
    let address = address.and_then(|text| text.parse::<SocketAddr>().ok());
    address.map_or(IpAddr::from([0; 4]), |address| address.ip())
}
