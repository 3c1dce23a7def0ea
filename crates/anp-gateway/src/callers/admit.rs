//! Whether a request's caller may make it.

use std::{fmt, sync::Arc};

use anp_auth::{Did, Refusal};
use anp_http1::fields::parse_length;
use anpx::RequestHead;

use super::{
    denied::Denied,
    desk,
    proof::{Admitted, Asked},
    refused::Refused,
    rule::Callers,
};
use crate::{
    auth::TurnedAway,
    error::ProxyError,
    policy::Governed,
    proxy::{Downstream, Failure, Upload, request::client},
    trust,
    worker::Worker,
};

/// Who a request's caller is, by what it has shown.
#[derive(Debug)]
pub(crate) enum Known {
    /// Who has proven it.
    Did(Did),
    /// Who knows the secret of one of `callers.basic`.
    User(String),
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Did(did) => f.write_str(did.as_str()),
            Self::User(name) => f.write_str(name),
        }
    }
}

/// Tells the log why a caller was refused.
fn tell(worker: &Worker, head: &RequestHead, why: &dyn fmt::Display) {
    let peer = head.client_addr.as_deref().unwrap_or_default();
    let refusals = &worker.shared.refusals;
    refusals.tell(peer, Some(&head.request_id), why, "caller refused");
}

/// Lets a request through whose caller may make it. Who that is, where it has shown it, goes to
/// `governed`, and so does what the caller is told beside the answer, also where this fails.
///
/// # Errors
/// 401, 403 or 503 as [`Denied`] says, or the caller left.
pub(crate) async fn admit<D: Downstream>(
    worker: &Worker,
    governed: &mut Governed,
    head: &RequestHead,
    upload: &mut Upload,
    down: &mut D,
) -> Result<(), Failure> {
    let Some(rule) = governed.callers() else {
        return Ok(());
    };
    if !rule.networks.is_empty() && !trust::holds(&rule.networks, client(head)) {
        tell(worker, head, &"callers.networks does not hold its address");
        return Err(ProxyError::Caller(Denied::Address).into());
    }
    if rule.users.is_none() && rule.dids.is_empty() {
        return Ok(());
    }
    if let Some(user) = rule.user(head) {
        governed.knows(Known::User(user));
        return Ok(());
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
            governed.look_at(upload);
            governed.tell(told);
            governed.knows(Known::Did(did));
            Ok(())
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
    let has_body = !upload.is_empty() && head.protocol.is_none();
    let asked = Asked::new(rule, head, has_body);
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
                let length = head.headers.get("content-length").and_then(parse_length);
                upload.expect_digest(digest, length)?;
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
            Err(Refused::by(&refusal, rule, auth.realm(), has_body))
        }
    })
}
