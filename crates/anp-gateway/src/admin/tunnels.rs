//! The tunnels: which there are, and the end of one.

use std::borrow::Cow;

use anp_tunnel::{Status, Version};
use anpx::CloseCode;
use http::StatusCode;
use serde_json::{Value, json};

use super::{
    Admin, Asked,
    query::{bad, limit, values},
    reply::{Problem, Reply, json as answer},
};
use crate::{admission::Seen, members::TunnelId};

/// Names of endpoints that are shown of one tunnel; it may serve thousands.
const SHOWN_ENDPOINTS: usize = 100;

/// Longest reason of a close frame, in bytes (RFC 6455 section 5.5).
const MAX_REASON: usize = 123;

impl Admin {
    pub(super) fn tunnels(&self, asked: &Asked) -> Result<Reply, Problem> {
        let [after, most] = values(&asked.query, ["after", "limit"])?;
        let after = match after {
            None => 0,
            Some(text) => {
                id(&text).ok_or_else(|| bad(format!("after: {text:?} names no tunnel")))?
            }
        };
        let most = limit(most.as_deref())?;
        let (seen, total) = self.shared.tunnels.seen_after(after, most + 1);
        let shown: Vec<_> = seen.iter().take(most).collect();
        let more = seen.len() > most;
        let next = shown
            .last()
            .filter(|_| more)
            .map(|last| last.id.to_string());
        let page = json!({
            "tunnels": shown.into_iter().map(|seen| self.shown(seen)).collect::<Vec<_>>(),
            "total": total,
            "next": next,
        });
        Ok(answer(StatusCode::OK, &page))
    }

    pub(super) fn tunnel(&self, asked: &Asked) -> Result<Reply, Problem> {
        let [] = values(&asked.query, [])?;
        let seen = self.seen(&asked.name)?;
        Ok(answer(StatusCode::OK, &self.shown(&seen)))
    }

    /// Drains a tunnel, or closes it at once. Its receiver may come back.
    pub(super) fn close_tunnel(&self, asked: &Asked) -> Result<Reply, Problem> {
        let [mode, reason] = values(&asked.query, ["mode", "reason"])?;
        let fits = |r: &str| r.len() <= MAX_REASON && r.bytes().all(|b| matches!(b, b' '..=b'~'));
        if !reason.as_deref().is_none_or(fits) {
            return Err(bad(format!(
                "reason: at most {MAX_REASON} characters of printable ASCII"
            )));
        }
        let seen = self.seen(&asked.name)?;
        let mode = mode.as_deref().unwrap_or("drain");
        if !matches!(mode, "drain" | "close") {
            return Err(bad(format!("mode: {mode:?} is neither drain nor close")));
        }
        let reason = reason.map_or(Cow::Borrowed("closed by the operator"), |r| {
            Cow::Owned(r.into_owned())
        });
        tracing::info!(
            tunnel = %seen.id,
            owner = %seen.owner,
            mode,
            reason = &*reason,
            "a tunnel is to end"
        );
        match mode {
            "close" => seen.tunnel.close(CloseCode::GOING_AWAY, reason),
            _ => seen.tunnel.drain(),
        }
        let done = json!({ "id": seen.id.to_string(), "mode": mode });
        Ok(answer(StatusCode::ACCEPTED, &done))
    }

    fn seen(&self, name: &str) -> Result<Seen, Problem> {
        let seen = id(name).and_then(|id| self.shared.tunnels.seen(TunnelId(id)));
        seen.ok_or_else(|| {
            let detail = format!("no tunnel {name:?} is connected");
            Problem::new(StatusCode::NOT_FOUND, detail)
        })
    }

    fn shown(&self, seen: &Seen) -> Value {
        let Seen {
            id,
            owner,
            receiver,
            wishes,
            peer,
            since,
            worker,
            tunnel,
        } = seen;
        let (received, sent) = tunnel.bytes();
        let table = self.shared.routes.now();
        let endpoints = table.served_to(owner, wishes).take(SHOWN_ENDPOINTS);
        json!({
            "id": id.to_string(),
            "owner": owner.to_string(),
            "receiver": receiver,
            "peer": peer.to_string(),
            "version": match tunnel.version() {
                Version::V1 => Some(1),
                Version::V2 => Some(2),
                Version::Undecided => None,
            },
            "state": match tunnel.status() {
                Status::Opening => "opening",
                Status::Ready if !tunnel.is_accepting() => "paused",
                Status::Ready => "ready",
                Status::Draining => "draining",
                Status::Closed => "closed",
            },
            "age_seconds": since.elapsed().as_secs(),
            "round_trip_ms": tunnel.round_trip().map(|trip| trip.as_secs_f64() * 1e3),
            "streams": tunnel.open_streams(),
            "worker": worker,
            "bytes": { "received": received, "sent": sent },
            "endpoints": endpoints.map(|served| served.name.clone()).collect::<Vec<_>>(),
            "endpoint_count": table.served_to(owner, wishes).count(),
        })
    }
}

/// The number in a tunnel's name.
fn id(name: &str) -> Option<u64> {
    let digits = name.strip_prefix('t')?;
    let plain = digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}
