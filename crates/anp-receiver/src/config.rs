//! What a receiver is configured with: the `[receiver]` table.

pub(crate) mod changes;

use anp_auth::AuthForm;
use anp_tunnel::{TunnelConfig, units::Span};
use anpx::session::{
    Role,
    config::{V1Config, V2Config},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use crate::{
    address::{AppUrl, GatewayUrl},
    coding::ContentCoding,
    secret::Secret,
};

/// Settings of a [`Receiver`](crate::Receiver). [`Config::default`] holds the documented defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Gateways to hold tunnels to. At least one.
    pub gateways: Vec<GatewayUrl>,
    /// Addresses of gateways' host names, used instead of what the system knows. Default: none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub resolve: BTreeMap<String, Vec<IpAddr>>,
    /// Apps to call. With several, each request goes to the one with the fewest in flight.
    pub to: Vec<AppUrl>,
    /// The name this receiver gives itself, sent as `ANP-Receiver` in the handshake:
    /// 1 to 64 of `[0-9A-Za-z._-]`. Default: none.
    pub name: Option<String>,
    /// PEM file of authorities that are trusted besides the system's, for `wss://` gateways and
    /// `https://` and `h2://` apps. Default: none.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the certificate shown to gateways that want one, with those between it and its
    /// authority. Read anew for every connection. Default: none.
    pub client_cert: Option<PathBuf>,
    /// PEM file of its private key, without a passphrase.
    pub client_key: Option<PathBuf>,
    /// Says in so many words that private keys may lie in files that every user of the machine can
    /// read. Default false.
    pub allow_world_readable_keys: bool,
    /// Checks no certificate of gateways and apps: whoever is on the way can be them. Every
    /// connection says so in the log. For experiments. Default false.
    pub insecure_skip_verify: bool,
    /// A DID document, whose key `did_key` proves to each gateway who this receiver is. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub did_document: Option<PathBuf>,
    /// The private key of one of its keys, in PEM, that no other user can read. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub did_key: Option<PathBuf>,
    /// How handshakes are signed: `signature` (RFC 9421), `didwba` for older gateways, or
    /// `didwba-1.1`. Default `signature`.
    pub auth_form: AuthForm,
    /// A token that a gateway knows, in place of an identity. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// A file with such a token, that no other user can read. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// Endpoints to serve, of those that the gateway has for this receiver: `host`, `/path` or
    /// `host/path`, each sent as `ANPX-Endpoint`. Default: none, which stands for all.
    pub endpoints: Vec<String>,
    /// Tunnels held to each gateway, 1 to 64; at least one a worker, and one to a gateway that
    /// speaks version 1. A second one keeps requests flowing while the first reconnects. Default 2.
    pub tunnels: u16,
    /// Upper end of the first random wait before a reconnect; it doubles with each failure. Default 1s.
    pub reconnect_delay: Span,
    /// Where the doubling stops, and the most a `Retry-After` is honoured for. Default 300s.
    pub max_reconnect_delay: Span,
    /// Reconnect attempts in a row after which a gateway is given up; 0 never reconnects.
    /// Default: none, for ever.
    pub max_reconnect_attempts: Option<u32>,
    /// How long connecting and the WebSocket handshake may take together. Default 15s.
    pub handshake_timeout: Span,
    /// How long connecting to an app may take. Default 5s.
    pub app_connect_timeout: Span,
    /// Idle connections kept to each app by each worker; 0 opens one for every request. Default 512,
    /// so that as many requests at once open no new connections.
    pub pool_max_idle: usize,
    /// How long an idle connection is kept. Default 60s; should be below the app's own limit.
    pub pool_idle_timeout: Span,
    /// Content codings that responses may be given, the preferred first, for callers that take
    /// them and where the app did not code itself. Read docs/security.md before. Default: none.
    pub compress: Vec<ContentCoding>,
    /// Path of the apps that is asked with GET whether they are well; statuses from 200 to 399 are.
    /// While no app is, gateways are told to send nothing new. Default: none, no checks.
    pub health_path: Option<String>,
    /// Time between two checks. Default 5s.
    pub health_interval: Span,
    /// How long a check may take. Default 2s.
    pub health_timeout: Span,
    /// Failed checks in a row after which an app is down, 1 to 100; one is enough where a request
    /// could not reach it. Default 2.
    pub health_fall: u32,
    /// Good checks in a row after which it is up again, 1 to 100. Default 1.
    pub health_rise: u32,
    /// Streams at once on one tunnel, 1 to 1024. Each may hold a 64 KiB window. Default 1024.
    pub max_streams: u32,
    /// How long a graceful stop waits for requests in flight. `"0"` does not wait. Default 30s.
    pub drain_timeout: Span,
    /// A tunnel that read nothing this long is pinged; after twice this long it is dead. Default 10s.
    pub ping_interval: Span,
    /// Threads that carry tunnels, 1 to 256. Default 1.
    pub workers: u16,
    /// Where the program `anp-proxy` serves health and metrics of its receivers. A
    /// [`Receiver`](crate::Receiver) listens nowhere and takes no such setting: other programs serve
    /// what [`Receiver::monitor`](crate::Receiver::monitor) tells. Default: nowhere.
    pub status_listen: Option<SocketAddr>,
}

/// Most tunnels to one gateway.
pub(crate) const MAX_TUNNELS: u16 = 64;

/// A value that cannot be worked with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct ConfigError {
    /// The key inside `[receiver]`.
    pub key: &'static str,
    /// What was expected, and what was found.
    pub message: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            gateways: Vec::new(),
            resolve: BTreeMap::new(),
            to: Vec::new(),
            name: None,
            ca_file: None,
            client_cert: None,
            client_key: None,
            allow_world_readable_keys: false,
            insecure_skip_verify: false,
            did_document: None,
            did_key: None,
            auth_form: AuthForm::default(),
            token: None,
            token_file: None,
            endpoints: Vec::new(),
            tunnels: 2,
            reconnect_delay: Span::from_secs(1),
            max_reconnect_delay: Span::from_secs(300),
            max_reconnect_attempts: None,
            handshake_timeout: Span::from_secs(15),
            app_connect_timeout: Span::from_secs(5),
            pool_max_idle: 512,
            pool_idle_timeout: Span::from_secs(60),
            compress: Vec::new(),
            health_path: None,
            health_interval: Span::from_secs(5),
            health_timeout: Span::from_secs(2),
            health_fall: 2,
            health_rise: 1,
            max_streams: 1024,
            drain_timeout: Span::from_secs(30),
            ping_interval: Span::from_secs(10),
            workers: 1,
            status_listen: None,
        }
    }
}

impl Config {
    /// Checks every value and how they fit together.
    ///
    /// # Errors
    /// The first value that is wrong, with its key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_tunnels()?;
        if self.to.is_empty() {
            return Err(ConfigError {
                key: "to",
                message: "expected at least one app URL, such as \"http://127.0.0.1:8000\"".into(),
            });
        }
        Ok(())
    }

    /// As [`Config::validate`], for an app in this process: there is no URL to call it at.
    ///
    /// # Errors
    /// As [`Config::validate`]; also a setting that only an app at a URL has, or that only the program
    /// `anp-proxy` acts on.
    pub fn validate_in_process(&self) -> Result<(), ConfigError> {
        self.validate_tunnels()?;
        for (key, set) in [
            ("to", !self.to.is_empty()),
            ("health_path", self.health_path.is_some()),
        ] {
            if set {
                let message = "expected none: the app is in this process".into();
                return Err(ConfigError { key, message });
            }
        }
        self.validate_unserved()
    }

    /// Refuses what only the program `anp-proxy` acts on, so that nobody waits for it in vain.
    pub(crate) fn validate_unserved(&self) -> Result<(), ConfigError> {
        if self.status_listen.is_some() {
            return Err(ConfigError {
                key: "status_listen",
                message: "expected none: the program anp-proxy serves it for apps at URLs; others \
                          look at Receiver::monitor"
                    .into(),
            });
        }
        Ok(())
    }

    /// As [`Config::validate_in_process`], for an app that takes the tunnel's streams as they are:
    /// nobody could compress its responses.
    ///
    /// # Errors
    /// As [`Config::validate_in_process`].
    pub fn validate_streams(&self) -> Result<(), ConfigError> {
        self.validate_in_process()?;
        if !self.compress.is_empty() {
            return Err(ConfigError {
                key: "compress",
                message: "expected none: this app's responses are sent as they are".into(),
            });
        }
        Ok(())
    }

    fn validate_tunnels(&self) -> Result<(), ConfigError> {
        let fail = |key, message: String| Err(ConfigError { key, message });
        if self.gateways.is_empty() {
            return fail(
                "gateways",
                "expected at least one gateway URL, such as \"wss://gateway.example:8765\"".into(),
            );
        }
        match (&self.client_cert, &self.client_key) {
            (Some(_), None) => {
                return fail("client_key", "the key of client_cert is missing".into());
            }
            (None, Some(_)) => {
                return fail(
                    "client_cert",
                    "the certificate of client_key is missing".into(),
                );
            }
            _ => {}
        }
        if let Some((name, _)) = self.resolve.iter().find(|(_, list)| list.is_empty()) {
            return fail("resolve", format!("{name:?} has no address"));
        }
        if let Some(name) = &self.name {
            let known = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            if !(1..=64).contains(&name.len()) || !name.bytes().all(known) {
                return fail(
                    "name",
                    format!("expected 1 to 64 letters, digits, '.', '_' or '-', got {name:?}"),
                );
            }
        }
        self.validate_identity()?;
        let twice = self.compress.iter().enumerate().find(|(i, coding)| {
            self.compress
                .iter()
                .take(*i)
                .any(|before| before == *coding)
        });
        if let Some((_, coding)) = twice {
            return fail(
                "compress",
                format!("expected each coding once, got {:?} twice", coding.name()),
            );
        }
        let usable = |path: &String| {
            path.starts_with('/') && path.bytes().all(|b| (0x21..=0x7e).contains(&b))
        };
        if let Some(path) = self.health_path.as_ref().filter(|path| !usable(path)) {
            return fail(
                "health_path",
                format!("expected a path such as \"/healthz\", got {path:?}"),
            );
        }
        for (key, value, most) in [
            ("health_fall", self.health_fall, 100),
            ("health_rise", self.health_rise, 100),
            ("tunnels", u32::from(self.tunnels), MAX_TUNNELS.into()),
            ("max_streams", self.max_streams, 1024),
            ("workers", u32::from(self.workers), 256),
        ] {
            if value < 1 || value > most {
                return fail(key, format!("expected 1 to {most}, got {value}"));
            }
        }
        for (key, value) in [
            ("reconnect_delay", self.reconnect_delay),
            ("max_reconnect_delay", self.max_reconnect_delay),
            ("handshake_timeout", self.handshake_timeout),
            ("app_connect_timeout", self.app_connect_timeout),
            ("pool_idle_timeout", self.pool_idle_timeout),
            ("ping_interval", self.ping_interval),
            ("health_interval", self.health_interval),
            ("health_timeout", self.health_timeout),
        ] {
            if value.is_zero() {
                return fail(key, "expected more than 0".into());
            }
        }
        let (first, most) = (self.reconnect_delay, self.max_reconnect_delay);
        if first > most {
            // Told of the one that somebody wrote.
            return match first == Self::default().reconnect_delay {
                true => fail(
                    "max_reconnect_delay",
                    format!("expected at least reconnect_delay ({first}), got {most}"),
                ),
                false => fail(
                    "reconnect_delay",
                    format!("expected at most max_reconnect_delay ({most}), got {first}"),
                ),
            };
        }
        Ok(())
    }

    /// True where what goes to this gateway reaches no network, whatever `resolve` makes of its name.
    fn is_here(&self, url: &GatewayUrl) -> bool {
        let leads_away = |ip: &IpAddr| !ip.to_canonical().is_loopback();
        let resolved = self.resolve.get(url.host());
        url.is_loopback() && !resolved.is_some_and(|to| to.iter().any(leads_away))
    }

    /// Checks what the receiver proves itself with, and asks for.
    fn validate_identity(&self) -> Result<(), ConfigError> {
        let fail = |key, message: String| Err(ConfigError { key, message });
        match (&self.did_document, &self.did_key) {
            (Some(_), None) => {
                return fail("did_key", "expected the private key of did_document".into());
            }
            (None, Some(_)) => {
                return fail("did_document", "expected the document of did_key".into());
            }
            _ => {}
        }
        let ways = [
            ("did_document", self.did_document.is_some()),
            ("token", self.token.is_some()),
            ("token_file", self.token_file.is_some()),
        ];
        let mut used = ways.iter().filter(|(_, used)| *used);
        let first = used.next();
        if let (Some((first, _)), Some((second, _))) = (first, used.next()) {
            return fail(
                second,
                format!("{first} is set already: leave one of them out"),
            );
        }
        if let Some(token) = &self.token
            && (token.expose().is_empty() || !token.expose().bytes().all(|b| b.is_ascii_graphic()))
        {
            return fail("token", "expected a token such as anp_…".into());
        }
        let readable = |url: &&GatewayUrl| !url.is_secure() && !self.is_here(url);
        if first.is_some()
            && let Some(url) = self.gateways.iter().find(readable)
        {
            return fail(
                "gateways",
                format!(
                    "\"{url}\" would show the proof of identity to everybody on the way: use \
                     wss://, or leave out did_document and token"
                ),
            );
        }
        let good = |wish: &&String| {
            (1..=512).contains(&wish.len())
                && wish.bytes().all(|b| b.is_ascii_graphic() && b != b',')
                && !wish.contains("://")
        };
        if let Some(wish) = self.endpoints.iter().find(|wish| !good(wish)) {
            return fail(
                "endpoints",
                format!(
                    "expected a host, a path or both, such as \"/agents/alice\" or \"alice.example.com\", got {wish:?}"
                ),
            );
        }
        if self.endpoints.len() > 32 {
            return fail("endpoints", "expected at most 32".into());
        }
        Ok(())
    }

    /// Tunnels to hold to each gateway: one a worker at least.
    pub(crate) fn tunnels_per_gateway(&self) -> u16 {
        self.tunnels.max(self.workers)
    }

    /// What each tunnel is made with.
    pub(crate) fn tunnel(&self) -> TunnelConfig {
        let mut v2 = V2Config::new(Role::Receiver);
        v2.max_streams = self.max_streams;
        TunnelConfig {
            v1: V1Config::new(Role::Receiver),
            v2,
            ping_interval: self.ping_interval.0,
            write_timeout: WRITE_TIMEOUT,
        }
    }
}

/// How long frames may wait with nothing written before a tunnel is given up (ANPX 3.4).
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
