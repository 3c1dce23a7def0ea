//! What an endpoint may be.

use std::time::Duration;

use anp_tunnel::units::Span;

use super::{ConfigError, Endpoint, Switch, fail, policy};
use crate::owner::{Owner, is_name};

/// Longest path of an endpoint, in bytes.
const MAX_PATH: usize = 1024;

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
        policy::check(&self.cors, &self.security_headers, &self.callers)?;
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
