//! What a gateway is started with: the `[gateway]` table.

use std::{net::SocketAddr, path::PathBuf};

use anp_tunnel::units::{Size, Span};
use serde::{Deserialize, Serialize};

use crate::{
    secret::Secret,
    tls::settings::{AcmeConfig, TlsConfig, TunnelTlsConfig},
    trust::Network,
};

mod admin;
mod auth;
mod callers;
mod did_endpoints;
mod endpoint;
pub(crate) mod error;
mod files;
mod json;
mod misfit;
mod policy;
mod public_url;
mod switch;
mod tls;
mod validate;

pub use auth::{Auth, AuthResolver, PresharedToken};
pub use callers::{BasicUser, CallerDids, Callers};
pub use did_endpoints::{DidEndpoints, PlaceMode};
pub(crate) use did_endpoints::{NoPlace, RESERVED, is_of};
pub use endpoint::Endpoint;
pub use error::ConfigError;
pub(crate) use json::from_json;
pub use misfit::{Misfit, meant, nearest};
pub use policy::{Cors, Rate, RateLimit, SecurityHeaders};
pub use public_url::{PublicUrl, PublicUrlError};
pub use switch::Switch;

/// Settings of a gateway. `Default` gives the documented defaults; [`Config::validate`] checks what
/// types cannot.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where callers connect, HTTP/1.1 or HTTP/2. Default `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// Where receivers connect. Default `127.0.0.1:8765`.
    pub tunnel_listen: SocketAddr,
    /// Callers speak HTTPS; the certificates. Default none: callers speak plain HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
    /// Callers speak HTTPS with a certificate that an authority issues and renews. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acme: Option<AcmeConfig>,
    /// Where callers connect by plain HTTP and are sent on to https. Needs `tls` or `acme`. Default
    /// none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect_listen: Option<SocketAddr>,
    /// Receivers connect with `wss://`; the certificate, and whether they must show one. Default:
    /// the certificates of `tls`, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel_tls: Option<TunnelTlsConfig>,
    /// Says in so many words that the tunnel listener speaks plain `ws://`, although it can be
    /// reached by strangers or callers speak HTTPS. Default false.
    pub plain_tunnels: bool,
    /// Says in so many words that private keys may lie in files that every user of the machine can
    /// read. Default false.
    pub allow_world_readable_keys: bool,
    /// A path of the public listener that takes tunnels as well, and is then hidden from the app.
    /// Default none; `/anpx` is customary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel_path: Option<String>,
    /// Where health, metrics and the admin API are served. An address that is not loopback needs a
    /// token and `allow_plain_admin`. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_listen: Option<SocketAddr>,
    /// What the admin listener asks for as `Authorization: Bearer`, except for its health: 16 to
    /// 1024 bytes. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_token: Option<Secret>,
    /// A file with that token, which nobody but its owner may read. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_token_file: Option<PathBuf>,
    /// Says in so many words that the admin listener may be reached from elsewhere although its token
    /// travels in plain text. Default false.
    pub allow_plain_admin: bool,
    /// Names by which the admin listener may be called without a token, besides IP addresses and
    /// `localhost`: any other could be a web page's that points here. Default none.
    pub admin_hosts: Vec<String>,
    /// File of the endpoints that come and go by the admin listener. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_store: Option<PathBuf>,
    /// A path of the public listener, on every host, that answers for the gateway itself: 200, or 503
    /// during a stop. It is hidden from the app. Default none; `/-/healthz` is customary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_path: Option<String>,
    /// Threads that serve callers and tunnels, each with an event loop of its own. More of them serve
    /// more callers at once and batch less. Default: half the processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<usize>,
    /// Any receiver serves every path. Default: true where there are no endpoints, those of DIDs
    /// included, and both listeners are loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open: Option<bool>,
    /// Says in so many words that strangers may reach a listener although nobody proves who they
    /// are. Without it an address that is not loopback is refused. Default false.
    pub allow_public_without_authentication: bool,
    /// How receivers prove who they are. Default none: they need not, and cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// The address that callers use, such as `https://gateway.example`: receivers are told the URLs
    /// they are reached under. Default none: they are told nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<PublicUrl>,
    /// What is served, and by whom. Default none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Endpoint>,
    /// Least ANPX version of a tunnel, 1 or 2. Default 1.
    pub min_version: u8,
    /// How long a caller may take for the head of a request, from the connection or the head's
    /// first byte, and a receiver for its handshake. Default 10 s.
    pub head_timeout: Span,
    /// How long an app may take for the head of its response, from the last byte of the request
    /// that moved. Models think. Default 300 s.
    pub response_timeout: Span,
    /// How long a body may stand still in either direction. Default 300 s.
    pub idle_timeout: Span,
    /// How long a caller's connection is kept without a request. Default 75 s.
    pub keep_alive_timeout: Span,
    /// How long a request waits for a place when all tunnels of its endpoint are full. Default 2 s.
    pub queue_timeout: Span,
    /// How many requests of one endpoint wait at once; the next is answered 503. Default 1024.
    pub queue_size: usize,
    /// How long a graceful stop goes on serving as usual while health says 503, so that whoever leads
    /// callers here sees it in time. Default 0 s.
    pub stop_delay: Span,
    /// How long a graceful stop waits for requests under way. Default 30 s.
    pub drain_timeout: Span,
    /// Unix socket on which a gateway started with `--replace` asks this one for its listeners.
    /// Only root and the user this gateway runs as are heard. Default:
    /// `gateway-PORT.sock` in the state directory, PORT being that of `listen`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_socket: Option<PathBuf>,
    /// A tunnel that was silent this long is pinged; after twice this long without a byte it is
    /// gone. Default 10 s.
    pub ping_interval: Span,
    /// Callers' connections at once, and as many of receivers that have no tunnel yet; one more is
    /// answered 503 and closed. Default 10,000.
    pub max_connections: usize,
    /// Largest head of a request, in bytes: 8 KiB to 1 MiB. Larger ones are answered 431. What one
    /// silent caller can make the gateway hold. Default 64 KiB.
    pub max_header_size: Size,
    /// Largest body of a request, in bytes, where its endpoint names no other; larger ones are
    /// answered 413. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body_size: Option<Size>,
    /// Tunnels at once. Default 10,000.
    pub max_tunnels: usize,
    /// Requests at once on a version-1 tunnel; its peers have 100 places. Default 100.
    pub v1_max_streams: usize,
    /// Requests at once on a version-2 tunnel, where the receiver allows as many: 1 to 1024, since
    /// each may hold a window of 64 KiB. Default 1024.
    pub max_streams: u32,
    /// What callers may upgrade a connection to, by the tokens of `Upgrade`. `h2c` cannot be among
    /// them. Default `["websocket"]`.
    pub upgrades: Vec<String>,
    /// Peers of the public listener whose `X-Forwarded-*` and `Forwarded` are believed: networks or
    /// single addresses. What anyone else says there is removed. Default none.
    pub trusted_proxies: Vec<Network>,
    /// Every connection of the public listener begins with a header of the PROXY protocol, version 1
    /// or 2, and comes from one of `trusted_proxies`; others are closed. Default false.
    pub proxy_protocol: bool,
    /// Writes a line of the log for every request, which costs about as much as the request itself.
    /// Default false.
    pub access_log: bool,
    /// Who may call. Default none: everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callers: Option<Switch<Callers>>,
    /// Does CORS in place of the apps. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<Switch<Cors>>,
    /// Adds response headers that make browsers more careful. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_headers: Option<Switch<SecurityHeaders>>,
    /// What one client address may use, over all endpoints that do not say otherwise. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_rate: Option<Switch<RateLimit>>,
    /// What each endpoint may be used. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_rate: Option<Switch<RateLimit>>,
    /// What all endpoints of one owner may be used together. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_rate: Option<Switch<RateLimit>>,
    /// A comment is added to an event stream after each such silence. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sse_keepalive: Option<Switch<Span>>,
    /// Requests of each endpoint at once, where it names no other number. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_requests: Option<usize>,
    /// Requests at once of all endpoints of one owner together. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_max_requests: Option<usize>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            tunnel_listen: SocketAddr::from(([127, 0, 0, 1], 8765)),
            tls: None,
            acme: None,
            redirect_listen: None,
            tunnel_tls: None,
            plain_tunnels: false,
            allow_world_readable_keys: false,
            tunnel_path: None,
            admin_listen: None,
            admin_token: None,
            admin_token_file: None,
            allow_plain_admin: false,
            admin_hosts: Vec::new(),
            endpoint_store: None,
            health_path: None,
            workers: None,
            open: None,
            allow_public_without_authentication: false,
            auth: None,
            public_url: None,
            endpoints: Vec::new(),
            min_version: 1,
            head_timeout: Span::from_secs(10),
            response_timeout: Span::from_secs(300),
            idle_timeout: Span::from_secs(300),
            keep_alive_timeout: Span::from_secs(75),
            queue_timeout: Span::from_secs(2),
            queue_size: 1024,
            stop_delay: Span::ZERO,
            drain_timeout: Span::from_secs(30),
            control_socket: None,
            ping_interval: Span::from_secs(10),
            max_connections: 10_000,
            max_header_size: Size(64 << 10),
            max_body_size: None,
            max_tunnels: 10_000,
            v1_max_streams: 100,
            max_streams: 1024,
            upgrades: vec!["websocket".to_owned()],
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            access_log: false,
            callers: None,
            cors: None,
            security_headers: None,
            client_rate: None,
            endpoint_rate: None,
            tenant_rate: None,
            sse_keepalive: None,
            max_requests: None,
            tenant_max_requests: None,
        }
    }
}

impl Config {
    /// True where any receiver serves every path.
    pub fn is_open(&self) -> bool {
        self.open.unwrap_or_else(|| {
            self.endpoints.is_empty()
                && !self.has_did_endpoints()
                && self.listen.ip().is_loopback()
                && self.tunnel_listen.ip().is_loopback()
        })
    }

    fn has_did_endpoints(&self) -> bool {
        self.auth
            .as_ref()
            .is_some_and(|auth| auth.did_endpoints.is_some())
    }

    /// Takes over from `running` what changes only with a restart; the keys that would have changed.
    pub(crate) fn keep_fixed(&mut self, running: &Self) -> Vec<&'static str> {
        let mut kept = keep_keys(self, running);
        if !auth::keep_fixed(&mut self.auth, &running.auth) {
            kept.push("auth");
        }
        kept
    }

    /// The keys whose values are not those of `before`.
    pub(crate) fn differences(&self, before: &Self) -> Vec<&'static str> {
        macro_rules! different {
            ($($key:ident)*) => {{
                // Names every field: one that is missing here does not compile.
                let Self { $($key),* } = self;
                let same = [$((stringify!($key), *$key == before.$key)),*];
                same.into_iter().filter(|(_, same)| !same).map(|(key, _)| key).collect()
            }};
        }
        different!(
            listen tunnel_listen redirect_listen tunnel_path admin_listen admin_token admin_token_file
            allow_plain_admin admin_hosts endpoint_store health_path workers open
            allow_public_without_authentication auth public_url endpoints min_version head_timeout
            response_timeout idle_timeout keep_alive_timeout queue_timeout queue_size
            stop_delay drain_timeout control_socket ping_interval max_connections max_header_size
            max_body_size max_tunnels v1_max_streams max_streams upgrades trusted_proxies
            proxy_protocol access_log callers cors security_headers client_rate endpoint_rate
            tenant_rate sse_keepalive max_requests tenant_max_requests tls acme tunnel_tls plain_tunnels
            allow_world_readable_keys
        )
    }

    /// How many workers to start.
    pub fn worker_count(&self) -> usize {
        // Half of what a request costs is the kernel's work, which runs on the other half.
        let half = || std::thread::available_parallelism().map_or(1, |n| n.get().div_ceil(2));
        self.workers.unwrap_or_else(half)
    }
}

macro_rules! fixed {
    ($($key:ident)*) => {
        /// What changes only with a restart. Of `auth` a part does, too.
        #[cfg(test)]
        const FIXED: &[&str] = &[$(stringify!($key)),*];

        fn keep_keys(new: &mut Config, running: &Config) -> Vec<&'static str> {
            let mut kept = Vec::new();
            $(
                if new.$key != running.$key {
                    kept.push(stringify!($key));
                    new.$key = running.$key.clone();
                }
            )*
            kept
        }
    };
}

fixed!(
    listen tunnel_listen redirect_listen admin_listen allow_plain_admin endpoint_store workers
    control_socket tls acme tunnel_tls plain_tunnels allow_world_readable_keys
);

#[cfg(test)]
mod tests;
