//! The answer to a handshake.

use std::{fmt, sync::Arc};

use anp_auth::{Did, Request, Subject};
use anp_tunnel::{Version, handshake as ws};
use anpx::CloseCode;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE},
};
use tokio::time::timeout;

use super::{
    hello::{Hello, public_urls},
    refusal::Refusal,
};
use crate::{
    admission::{Admission, NotAdmitted},
    auth::{self, TurnedAway, VERIFY_TIMEOUT},
    config::NoPlace,
    listener::Listener,
    owner::Owner,
    places::NotPlaced,
    proxy::request::path_of,
    worker::{Caller, Shared},
};

/// The URLs that a receiver is reached under, each in a header of its own.
const PUBLIC_URL: HeaderName = HeaderName::from_static("anpx-public-url");

/// The places that a receiver asked for and that are not its owner's, each in a header of its own.
const NO_ENDPOINT: HeaderName = HeaderName::from_static("anpx-no-endpoint");

/// What a connection becomes after 101.
#[derive(Debug)]
pub(crate) enum Becomes {
    /// A tunnel.
    Tunnel(Version, Admission),
    /// Closed with a code, for a receiver that understands no other refusal (ANPX 3.10).
    Closed(CloseCode, String),
}

/// True for requests that are handshakes of tunnels: all on the tunnel listener, and those for the
/// path of the public listener that takes tunnels.
pub(crate) fn is_for_us(caller: &Caller, target: &str) -> bool {
    match caller.listener {
        Listener::Tunnel => true,
        Listener::Redirect => false,
        Listener::Public => {
            let settings = caller.worker.shared.settings.load();
            let path = settings.config.tunnel_path.as_deref();
            path.is_some_and(|path| path == path_of(target))
        }
    }
}

/// Answers a handshake: with 101, and what the connection becomes, or with a refusal. A proof that
/// is shown is verified here, which may take a fetch.
pub(crate) async fn answer(
    caller: &Caller,
    hello: Result<Hello, Refusal>,
) -> (Response<Bytes>, Option<Becomes>) {
    let accepted = match hello {
        Ok(hello) => accept(caller, &hello).await,
        Err(refusal) => counted(caller, Err(refusal)),
    };
    match accepted {
        Ok((response, becomes)) => (response, Some(becomes)),
        Err(refusal) => (refusal.into_response(), None),
    }
}

/// Counts a handshake by its outcome, whichever way the receiver is told of it.
fn counted<T>(caller: &Caller, outcome: Result<T, Refusal>) -> Result<T, Refusal> {
    let status = match &outcome {
        Ok(_) => StatusCode::SWITCHING_PROTOCOLS,
        Err(refusal) => refusal.status,
    };
    caller
        .worker
        .shared
        .handshake_outcomes
        .count(status.as_u16());
    outcome
}

async fn accept(caller: &Caller, hello: &Hello) -> Result<(Response<Bytes>, Becomes), Refusal> {
    let shared = &caller.worker.shared;
    let choice = &hello.choice;
    let mut response = Response::new(Bytes::new());
    let admitted = admit(caller, hello, response.headers_mut()).await;
    let becomes = match counted(caller, admitted) {
        Ok(admission) => Becomes::Tunnel(choice.version, admission),
        Err(refusal) if choice.offered_v2 => return Err(refusal),
        Err(refusal) => Becomes::Closed(refusal.code, refusal.text),
    };
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::try_from(ws::accept_key(&hello.key)) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(version) = choice.answer {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(version));
    }
    if let (Becomes::Tunnel(_, admission), Some(url)) =
        (&becomes, &shared.settings.load().config.public_url)
    {
        for url in public_urls(&shared.routes, &admission.owner, &hello.wishes, url) {
            headers.append(PUBLIC_URL, url);
        }
    }
    Ok((response, becomes))
}

/// Gives a place to who may have one. The token for the next handshake goes into `headers`.
async fn admit(
    caller: &Caller,
    hello: &Hello,
    headers: &mut HeaderMap,
) -> Result<Admission, Refusal> {
    let shared = &caller.worker.shared;
    let peer = caller.origin.peer();
    // Before anything is verified: the endpoint that it comes for, or its DID's document, may be among
    // what a gateway that was replaced wrote at last.
    shared.caught_up().await;
    let tell = |why: &dyn fmt::Display| shared.refusals.tell(peer, None, why, "tunnel refused");
    let asked = shared
        .settings
        .load()
        .config
        .auth
        .as_ref()
        .map(|auth| auth.required);
    let (owner, proven, token) = match &shared.auth {
        Some(auth) if asked == Some(true) || hello.shows_proof() => {
            let request = Request {
                method: "GET",
                target: &hello.target,
                host: &hello.host,
                headers: &hello.headers,
            };
            let verified = timeout(VERIFY_TIMEOUT, auth.verify(request)).await;
            let seat = match verified.unwrap_or(Err(TurnedAway::Busy)) {
                Ok(seat) => seat,
                Err(TurnedAway::Busy) => {
                    tell(&"too many handshakes at once");
                    return Err(Refusal::busy());
                }
                Err(TurnedAway::Refused(refusal)) => {
                    tell(&refusal);
                    return Err(Refusal::unproven(&refusal, auth.realm()));
                }
            };
            (seat.owner, Some(seat.proven), seat.token)
        }
        _ => (Owner::Name(hello.name.clone()), None, None),
    };
    let placed = match proven.as_ref().map(|proven| &proven.subject) {
        Some(Subject::Did(did)) => open(shared, did).await,
        _ => Err(NoPlace::Off.into()),
    };
    let refused = |error| match (&placed, error) {
        // It is a DID of the domain whose names count here: why not this one?
        (Err(why), NotAdmitted::NotNamed) if !matches!(why, NotPlaced::Not(NoPlace::Off)) => {
            tell(&format_args!("no endpoint for {owner}: {why}"));
            let error = format!("{error}: {}", why.public_text());
            Refusal::not_permitted(&error, &owner)
        }
        (_, error) => {
            tell(&format_args!("{error}: receiver \"{owner}\""));
            Refusal::not_admitted(error, &owner)
        }
    };
    let beyond = hello.asks_beyond(&shared.routes, &owner);
    let beyond = beyond.map_err(|place| {
        let error = format!("{place} was asked for, and is no endpoint of this receiver");
        tell(&format_args!("{error}: \"{owner}\""));
        Refusal::not_permitted(&error, &owner)
    })?;
    let limit = shared.settings.load().config.max_tunnels;
    let wishes = hello.wishes.clone();
    let admitted = shared.tunnels.admit(owner.clone(), wishes, proven, limit);
    let admission = admitted.map_err(refused)?;
    let admission = admission.called(&hello.name, hello.instance.as_deref());
    for place in beyond {
        if let Ok(place) = HeaderValue::try_from(place.to_string()) {
            headers.append(NO_ENDPOINT, place);
        }
    }
    if let Some(issued) = token {
        for (name, value) in auth::fields_of(&issued) {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
    }
    Ok(admission)
}

/// Gives a DID the endpoint of its name, off the event loop: a change to the registry of endpoints,
/// which is written to the disk, may be in the way.
async fn open(shared: &Arc<Shared>, did: &Did) -> Result<(), NotPlaced> {
    shared.places.allow(did)?;
    let (shared, did) = (shared.clone(), did.clone());
    let opened = tokio::task::spawn_blocking(move || shared.places.open(&did));
    // A mistake in this program is in the log, and gives the DID nothing.
    opened.await.unwrap_or(Err(NoPlace::Off.into()))
}
