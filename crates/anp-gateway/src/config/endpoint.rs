//! `[[gateway.endpoints]]`: what an endpoint is, and what it may be.

use std::time::Duration;

use anp_tunnel::units::{Size, Span};
use serde::{Deserialize, Serialize};

use super::{
    callers::Callers,
    error::{ConfigError, fail},
    policy::{self, Cors, RateLimit, SecurityHeaders},
    switch::Switch,
};
use crate::owner::{Owner, is_name};

/// Longest path of an endpoint, in bytes.
const MAX_PATH: usize = 1024;

/// A host and path prefix, and who serves it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Names the endpoint in logs and metrics: 1 to 64 of `[0-9A-Za-z._-]`.
    pub name: String,
    /// A host name, or `*.` and a host name for every name below it. Default: every host that no
    /// other endpoint names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// A path prefix of whole segments. The longest that matches wins. Default `/`.
    #[serde(default = "root")]
    pub path: String,
    /// Who serves it and proves it: a DID, or the name of a token. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// Names of the receivers that serve it, as they give themselves; a name proves nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub receivers: Vec<String>,
    /// Largest body of a request, in bytes. Default: that of the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_body_size: Option<Size>,
    /// Requests at once, those that wait for a place included; one more is answered 503. Default
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_requests: Option<usize>,
    /// Who may call it. Default: that of the gateway; `false` lets everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callers: Option<Switch<Callers>>,
    /// Default: that of the gateway; `false` leaves CORS to the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<Switch<Cors>>,
    /// Default: that of the gateway; `false` adds none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_headers: Option<Switch<SecurityHeaders>>,
    /// What one client address may use of this endpoint. Default: that of the gateway, and counted
    /// with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_rate: Option<Switch<RateLimit>>,
    /// What the endpoint may be used. Default: that of the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_rate: Option<Switch<RateLimit>>,
    /// How long the app may take for the head of its response. Default: that of the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_timeout: Option<Span>,
    /// How long a body may stand still in either direction. Default: that of the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Span>,
    /// A comment is added to an event stream after each such silence. Default: that of the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sse_keepalive: Option<Switch<Span>>,
    /// The app gets targets without `path`, which `X-Forwarded-Prefix` names. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strip_prefix: bool,
}

impl Default for Endpoint {
    /// No name, nobody who serves it: every host and path, without limits.
    fn default() -> Self {
        Self {
            name: String::new(),
            host: None,
            path: root(),
            owner: None,
            receivers: Vec::new(),
            max_body_size: None,
            max_requests: None,
            callers: None,
            cors: None,
            security_headers: None,
            client_rate: None,
            endpoint_rate: None,
            response_timeout: None,
            idle_timeout: None,
            sse_keepalive: None,
            strip_prefix: false,
        }
    }
}

fn root() -> String {
    "/".to_owned()
}

impl Endpoint {
    /// Checks every value by itself.
    ///
    /// # Errors
    /// The first that cannot be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !is_name(&self.name) {
            return fail("name", "must be 1 to 64 of 0-9 A-Z a-z . _ -");
        }
        if let Some(host) = &self.host {
            check_host("host", host)?;
        }
        check_path("path", &self.path)?;
        if let Some(Owner::Name(name)) = &self.owner {
            return fail(
                "owner",
                format!(
                    "{name:?} proves nothing: write a DID or \"token:NAME\", or receivers = \
                     [{name:?}] if that is meant"
                ),
            );
        }
        if self.receivers.is_empty() && self.owner.is_none() {
            return fail("receivers", "must name at least one receiver, or set owner");
        }
        if let Some(name) = self.receivers.iter().find(|n| !is_name(n)) {
            return fail(
                "receivers",
                format!("{name:?} is not a name: 1 to 64 of 0-9 A-Z a-z . _ -"),
            );
        }
        check_max("max_requests", self.max_requests)?;
        self.check_policies()
    }

    /// Who serves it.
    pub(crate) fn owners(&self) -> impl Iterator<Item = Owner> {
        let named = self.receivers.iter().cloned().map(Owner::Name);
        self.owner.iter().cloned().chain(named)
    }

    fn check_policies(&self) -> Result<(), ConfigError> {
        check_policies(&self.cors, &self.security_headers, &self.callers)?;
        policy::check_rates(&[
            ("client_rate", &self.client_rate),
            ("endpoint_rate", &self.endpoint_rate),
        ])?;
        let sse_keepalive = self.sse_keepalive.as_ref().and_then(Switch::on);
        for (key, span) in [
            ("response_timeout", self.response_timeout),
            ("idle_timeout", self.idle_timeout),
            ("sse_keepalive", sse_keepalive.copied()),
        ] {
            if let Some(span) = span {
                check_span(key, span)?;
            }
        }
        if self.strip_prefix && self.place().1 == "/" {
            return fail(
                "strip_prefix",
                "path is \"/\", of which nothing can be taken off",
            );
        }
        Ok(())
    }

    /// Its host in lower case, and its path without a slash at its end.
    pub(super) fn place(&self) -> (Option<String>, &str) {
        let path = self.path.trim_end_matches('/');
        let host = self.host.as_ref().map(|h| h.to_ascii_lowercase());
        (host, if path.is_empty() { "/" } else { path })
    }
}

/// Checks the settings of the gateway, or of an endpoint.
pub(super) fn check_policies(
    cors: &Option<Switch<Cors>>,
    security: &Option<Switch<SecurityHeaders>>,
    callers: &Option<Switch<Callers>>,
) -> Result<(), ConfigError> {
    if let Some(Switch::On(callers)) = callers {
        callers.check()?;
    }
    if let Some(Switch::On(security)) = security {
        security.check("security_headers")?;
    }
    if let Some(Switch::On(cors)) = cors {
        cors.check("cors")?;
    }
    Ok(())
}

/// Refuses a number of requests that cannot be.
pub(super) fn check_max(key: &str, max: Option<usize>) -> Result<(), ConfigError> {
    match max {
        Some(max) if !(1..=1 << 24).contains(&max) => {
            fail(key, format!("{max} is outside 1 to {}", 1 << 24))
        }
        _ => Ok(()),
    }
}

/// Refuses a time that is nothing, or longer than a day.
pub(super) fn check_span(key: &str, span: Span) -> Result<(), ConfigError> {
    if span.0 < Duration::from_millis(1) || span.0 > Duration::from_secs(86_400) {
        return fail(key, format!("\"{span}\" is outside \"1ms\" to \"24h\""));
    }
    Ok(())
}

/// Refuses what is neither a host name nor `*.` and a host name.
pub(super) fn check_host(key: &str, host: &str) -> Result<(), ConfigError> {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let label = |l: &str| {
        !l.is_empty()
            && l.bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let literal = name.starts_with('[') && name.ends_with(']');
    if name.len() > 253 || !(literal || name.split('.').all(label)) {
        return fail(
            key,
            format!("{host:?} is not a host name, or \"*.\" and a host name; it has no port"),
        );
    }
    Ok(())
}

/// Refuses what is no path, or is spelled in a way that something between could change.
pub(super) fn check_path(key: &str, path: &str) -> Result<(), ConfigError> {
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'%' | b'?' | b'#' | b'\\');
    let dots = |s: &str| matches!(s, "." | "..");
    if !path.starts_with('/') || !path.bytes().all(plain) {
        return fail(
            key,
            format!("{path:?} is not a path: it begins with \"/\" and has no %, ?, #, \\ or space"),
        );
    }
    if path.len() > MAX_PATH {
        return fail(key, format!("{path:?} is longer than {MAX_PATH} bytes"));
    }
    if path.contains("//") || path.split('/').any(dots) {
        return fail(key, format!("{path:?} has empty or dot segments"));
    }
    Ok(())
}
