//! One line for each request, on the `tracing` target `access`.

use std::time::Duration;

use uuid::Uuid;

use crate::{callers::Known, error::Cause, members::TunnelId};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The caller left, or was too slow, before its answer was whole.
    Cancelled,
    /// The answer broke off behind the gateway.
    Broken,
    /// The answer is whole.
    Complete,
}

/// What a line holds. The path is without the query.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    /// The caller, `ip:port`.
    pub(crate) client: &'a [u8],
    /// Who the caller has shown to be.
    pub(crate) caller: Option<&'a Known>,
    pub(crate) method: &'a [u8],
    /// What the request is for, `host[:port]`, where its head could be read.
    pub(crate) host: Option<&'a [u8]>,
    pub(crate) path: &'a [u8],
    pub(crate) status: Option<u16>,
    /// Of the answer's body, sent.
    pub(crate) bytes: u64,
    /// Of the request's body, by the time of the line.
    pub(crate) received: u64,
    pub(crate) took: Duration,
    pub(crate) endpoint: Option<&'a str>,
    pub(crate) request_id: Uuid,
    pub(crate) tunnel: Option<TunnelId>,
    pub(crate) outcome: Outcome,
    pub(crate) cause: Option<Cause>,
}

/// True where a line would be written by someone.
pub(crate) fn enabled() -> bool {
    tracing::enabled!(target: "access", tracing::Level::INFO)
}

/// Writes a line.
pub(crate) fn write(line: &Line<'_>) {
    tracing::info!(
        target: "access",
        client = %line.client.escape_ascii(),
        caller = line.caller.map(tracing::field::display),
        method = %line.method.escape_ascii(),
        host = line.host.map(|host| tracing::field::display(host.escape_ascii())),
        path = %line.path.escape_ascii(),
        status = line.status,
        bytes = line.bytes,
        received = line.received,
        ms = line.took.as_micros() as f64 / 1e3,
        endpoint = line.endpoint,
        request_id = %line.request_id,
        tunnel = line.tunnel.map(tracing::field::display),
        outcome = match line.outcome {
            Outcome::Cancelled => "cancelled",
            Outcome::Broken => "broken",
            Outcome::Complete => "complete",
        },
        cause = line.cause.map(Cause::as_str),
        "request"
    );
}
