//! What a receiver says in its handshake, taken out of the head that it came in.

use anp_tunnel::handshake::{self as ws, Choice};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::refusal::Refusal;
use crate::{
    config::{Config, PublicUrl},
    conn::http1::Head,
    owner::{Owner, is_name},
    route::{
        Routes,
        place::{HostRule, Place, Wishes},
    },
};

/// The header in which a receiver names itself; `receiver` in the query does as well.
const RECEIVER: &str = "anp-receiver";

/// The header that all its tunnels have alike, and no other receiver's.
const INSTANCE: &str = "anpx-instance";

/// The header in which it asks for an endpoint.
const ENDPOINT: &str = "anpx-endpoint";

/// Most endpoints asked for.
const MAX_WISHES: usize = 32;

/// What a receiver is called that gives no name.
const UNNAMED: &str = "unnamed";

/// A well-formed handshake.
#[derive(Debug)]
pub(crate) struct Hello {
    /// Its `Sec-WebSocket-Key`.
    pub(crate) key: Vec<u8>,
    /// The version that was chosen.
    pub(crate) choice: Choice,
    /// What the receiver calls itself.
    pub(crate) name: String,
    /// What its tunnels have in common with no other receiver's.
    pub(crate) instance: Option<String>,
    pub(crate) target: String,
    pub(crate) host: String,
    /// Empty where nobody asks for proof.
    pub(crate) headers: HeaderMap,
    /// Which of its owner's endpoints it comes for.
    pub(crate) wishes: Wishes,
}

impl Hello {
    /// Reads a handshake.
    ///
    /// # Errors
    /// It is none of ours.
    pub(crate) fn read(head: &Head<'_>, config: &Config) -> Result<Self, Refusal> {
        let key = check(head)?.to_vec();
        let offer = head.values("sec-websocket-protocol");
        let offer = offer.filter_map(|v| std::str::from_utf8(v).ok());
        let Some(choice) = ws::choose(offer, config.min_version) else {
            let text = match config.min_version {
                2 => "this gateway speaks anpx.v2 only; offer it in Sec-WebSocket-Protocol",
                _ => "this gateway speaks anpx.v2 and anpx.v1; offer one in Sec-WebSocket-Protocol",
            };
            return Err(Refusal::new(StatusCode::BAD_REQUEST, text));
        };
        let host = head.values("host").next().unwrap_or_default();
        Ok(Self {
            key,
            choice,
            name: receiver_name(head)?,
            instance: instance(head),
            target: head.target.to_owned(),
            host: String::from_utf8_lossy(host).into_owned(),
            headers: match config.auth {
                Some(_) => headers(head),
                None => HeaderMap::new(),
            },
            wishes: wishes(head)?,
        })
    }

    /// True where it shows any proof.
    pub(crate) fn shows_proof(&self) -> bool {
        ["authorization", "signature", "signature-input"]
            .iter()
            .any(|name| self.headers.contains_key(*name))
    }

    /// The places that it asks for and that are not the owner's.
    ///
    /// # Errors
    /// It asks for nothing else; the first of them.
    pub(super) fn asks_beyond(
        &self,
        routes: &Routes,
        owner: &Owner,
    ) -> Result<Vec<&Place>, &Place> {
        let endpoints = routes.now();
        let own = |wish: &&Place| {
            endpoints
                .served_by(owner)
                .any(|served| served.place == **wish)
        };
        let (own, beyond): (Vec<_>, Vec<_>) = self.wishes.iter().partition(own);
        match beyond.first() {
            Some(first) if own.is_empty() => Err(first),
            _ => Ok(beyond),
        }
    }
}

/// The URLs under which callers reach what the receiver serves.
pub(crate) fn public_urls(
    routes: &Routes,
    owner: &Owner,
    wishes: &Wishes,
    public_url: &PublicUrl,
) -> Vec<HeaderValue> {
    let (scheme, name) = (public_url.scheme(), public_url.name());
    let port = name.port().map(|port| format!(":{port}"));
    let port = port.unwrap_or_default();
    let endpoints = routes.now();
    let urls = endpoints.served_to(owner, wishes).filter_map(|served| {
        let host = match &served.place.host {
            HostRule::Any => name.to_string(),
            HostRule::Exact(host) => format!("{host}{port}"),
            // Which of them is for the receiver to know.
            HostRule::Below(_) => return None,
        };
        let prefix = &served.place.prefix;
        format!("{scheme}://{host}{prefix}/").try_into().ok()
    });
    urls.take(MAX_WISHES).collect()
}

/// Every header, as signatures may cover any.
fn headers(head: &Head<'_>) -> HeaderMap {
    let fields = head.fields.iter().filter_map(|field| {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(field.value).ok()?))
    });
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(name, value);
    }
    headers
}

/// Host, path or both, each in a header of its own.
fn wishes(head: &Head<'_>) -> Result<Wishes, Refusal> {
    let refuse = || {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            "ANPX-Endpoint is not a host, a path or both, or is there too often",
        )
    };
    let mut wishes = Vec::new();
    for value in head.values(ENDPOINT) {
        let text = std::str::from_utf8(value).map_err(|_| refuse())?.trim();
        let (host, path) = match text.find('/') {
            Some(at) => text.split_at(at),
            None => (text, "/"),
        };
        if text.is_empty() || wishes.len() == MAX_WISHES {
            return Err(refuse());
        }
        wishes.push(Place::new((!host.is_empty()).then_some(host), path));
    }
    Ok(wishes.into_iter().collect())
}

/// The key of a well-formed handshake.
fn check<'a>(head: &'a Head<'_>) -> Result<&'a [u8], Refusal> {
    let upgrade = head.has_token("upgrade", "websocket") && head.has_token("connection", "upgrade");
    if head.method != "GET" || !upgrade || head.is_old {
        return Err(Refusal::new(
            StatusCode::UPGRADE_REQUIRED,
            "this place takes tunnels of ANP receivers, by WebSocket only, and serves no app",
        ));
    }
    if head.values("sec-websocket-version").next() != Some(b"13") {
        return Err(Refusal::new(
            StatusCode::UPGRADE_REQUIRED,
            "Sec-WebSocket-Version is not 13",
        ));
    }
    match head.values("sec-websocket-key").next() {
        // Base64 of 16 bytes.
        Some(key) if key.len() == 24 && key.ends_with(b"==") => Ok(key),
        _ => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "Sec-WebSocket-Key is not 16 bytes in base64",
        )),
    }
}

/// What the receiver's tunnels have in common; what is no name is as good as none.
fn instance(head: &Head<'_>) -> Option<String> {
    let sent = std::str::from_utf8(head.values(INSTANCE).next()?).ok()?;
    is_name(sent).then(|| sent.to_owned())
}

/// What the receiver calls itself.
fn receiver_name(head: &Head<'_>) -> Result<String, Refusal> {
    let header = head
        .values(RECEIVER)
        .next()
        .map(|v| std::str::from_utf8(v).unwrap_or_default());
    let query = head.target.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('&').find_map(|p| p.strip_prefix("receiver="));
    let name = header.or(query).unwrap_or(UNNAMED);
    if is_name(name) {
        Ok(name.to_owned())
    } else {
        Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "the receiver's name is not 1 to 64 of 0-9 A-Z a-z . _ -",
        ))
    }
}
