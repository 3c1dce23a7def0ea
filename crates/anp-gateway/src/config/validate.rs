//! What types cannot check of a configuration: values, and what goes together.

use std::collections::{HashMap, HashSet};

use super::{
    Config,
    endpoint::{Endpoint, check_max, check_path, check_policies, check_span},
    error::{ConfigError, fail},
    policy,
    switch::Switch,
};
use crate::owner::Owner;

impl Config {
    /// Checks every value and their combinations.
    ///
    /// # Errors
    /// The first setting that cannot be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.check_addresses()?;
        self.check_paths()?;
        self.check_tls()?;
        self.check_numbers()?;
        self.check_times()?;
        if let Some(path) = &self.tunnel_path {
            check_path("tunnel_path", path)?;
            if path == "/" {
                return fail(
                    "tunnel_path",
                    "must not be \"/\", which would hide every app",
                );
            }
        }
        if let Some(path) = &self.health_path {
            check_path("health_path", path)?;
            if path == "/" || self.tunnel_path.as_ref() == Some(path) {
                return fail("health_path", "must be neither \"/\" nor tunnel_path");
            }
        }
        if self.proxy_protocol && self.trusted_proxies.is_empty() {
            return fail(
                "proxy_protocol",
                "whoever connects could name any address as the caller's; list the load balancers in \
                 trusted_proxies, such as [\"10.0.0.0/8\"]",
            );
        }
        self.check_upgrades()?;
        self.check_policies()?;
        if let Some(auth) = &self.auth {
            auth.validate()?;
            let kept = self.admin_listen.is_some() || self.endpoint_store.is_some();
            if auth.hosted_domain.is_some() && !kept {
                return fail(
                    "auth.hosted_domain",
                    "documents come by the admin listener and are kept with its endpoints; set \
                     admin_listen",
                );
            }
        }
        self.check_callers(&Endpoint::default())?;
        self.check_endpoints()
    }

    /// Checks whether an endpoint can have the owners it names: with proof required, nobody who only
    /// has a name gets in; without any, nobody who would have to prove something.
    ///
    /// # Errors
    /// It cannot.
    pub(crate) fn check_owner(&self, endpoint: &Endpoint) -> Result<(), ConfigError> {
        let Some(auth) = &self.auth else {
            return match &endpoint.owner {
                Some(owner @ (Owner::Did(_) | Owner::Token(_)))
                    if endpoint.receivers.is_empty() =>
                {
                    fail(
                        "owner",
                        format!(
                            "nobody could serve this: receivers prove to be {owner} where there is \
                             [gateway.auth]"
                        ),
                    )
                }
                _ => Ok(()),
            };
        };
        if auth.required && !endpoint.receivers.is_empty() {
            return fail(
                "receivers",
                "a name proves nothing, and auth.required lets nobody in without proof; write \
                 owner = \"did:…\" or \"token:NAME\"",
            );
        }
        match &endpoint.owner {
            Some(Owner::Did(did)) => match did.parse::<anp_auth::Did>() {
                Ok(_) => Ok(()),
                Err(error) => fail("owner", error.to_string()),
            },
            _ => Ok(()),
        }
    }

    /// Whether the token is there that an endpoint belongs to. No rule of a reload: to take a token out
    /// of the configuration must end what it was good for, whatever else names it.
    pub(crate) fn check_token(&self, endpoint: &Endpoint) -> Result<(), ConfigError> {
        let (Some(auth), Some(Owner::Token(name))) = (&self.auth, &endpoint.owner) else {
            return Ok(());
        };
        if auth.tokens.iter().any(|token| token.name == *name) {
            return Ok(());
        }
        let mut names: Vec<_> = auth.tokens.iter().map(|t| t.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let there = match &names[..] {
            [] => "there are none".to_owned(),
            few if few.len() <= 20 => format!("there are {}", few.join(", ")),
            many => format!("there are {} others", many.len()),
        };
        fail(
            "owner",
            format!(
                "no token is called {name:?}, so nobody could serve this; in \
                 [[gateway.auth.tokens]] {there}"
            ),
        )
    }

    /// What is wrong with endpoints that belong to a token which is not there. A start and a check
    /// refuse them; a reload lets them be without anybody who serves them.
    pub fn lost_owners(&self) -> Vec<ConfigError> {
        let endpoints = self.endpoints.iter().enumerate();
        endpoints
            .filter_map(|(i, endpoint)| {
                let error = self.check_token(endpoint).err()?;
                Some(ConfigError {
                    key: format!("endpoints[{i}].{}", error.key),
                    ..error
                })
            })
            .collect()
    }

    fn check_upgrades(&self) -> Result<(), ConfigError> {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(&b);
        for (index, protocol) in self.upgrades.iter().enumerate() {
            let key = format!("upgrades[{index}]");
            if !(1..=64).contains(&protocol.len()) || !protocol.bytes().all(token) {
                return fail(key, format!("{protocol:?} is no token of Upgrade"));
            }
            if protocol.eq_ignore_ascii_case("h2c") {
                return fail(key, "h2c speaks of one connection and cannot be passed on");
            }
        }
        Ok(())
    }

    fn check_policies(&self) -> Result<(), ConfigError> {
        check_policies(&self.cors, &self.security_headers, &self.callers)?;
        policy::check_rates(&[
            ("client_rate", &self.client_rate),
            ("endpoint_rate", &self.endpoint_rate),
            ("tenant_rate", &self.tenant_rate),
        ])?;
        if let Some(Switch::On(span)) = self.sse_keepalive {
            check_span("sse_keepalive", span)?;
        }
        for (key, max) in [
            ("max_requests", self.max_requests),
            ("tenant_max_requests", self.tenant_max_requests),
        ] {
            check_max(key, max)?;
        }
        Ok(())
    }

    fn check_addresses(&self) -> Result<(), ConfigError> {
        for (key, address) in [
            ("listen", self.listen),
            ("tunnel_listen", self.tunnel_listen),
        ] {
            let asked = self.auth.as_ref().is_some_and(|auth| auth.required);
            if !address.ip().is_loopback() && !asked && !self.allow_public_without_authentication {
                return fail(
                    key,
                    format!(
                        "{address} can be reached by strangers and nothing asks them who they are; \
                         use a loopback address, set up [gateway.auth], or set \
                         allow_public_without_authentication = true if that is meant"
                    ),
                );
            }
        }
        let listeners = [
            ("listen", Some(self.listen)),
            ("tunnel_listen", Some(self.tunnel_listen)),
            ("admin_listen", self.admin_listen),
            ("redirect_listen", self.redirect_listen),
        ];
        for (i, (key, address)) in listeners.iter().enumerate() {
            let earlier = listeners.iter().take(i);
            let same = |(_, other): &&(&str, Option<_>)| other == address;
            if let (Some(address), Some((taken, _))) = (address, earlier.clone().find(same))
                && address.port() != 0
            {
                return fail(
                    *key,
                    format!("{address} is the address of {taken} already; each needs its own"),
                );
            }
        }
        self.check_admin()
    }

    /// A path that is empty names no file, and would not be found to be missing.
    fn check_paths(&self) -> Result<(), ConfigError> {
        let auth = self.auth.as_ref();
        for (key, path) in [
            ("admin_token_file", &self.admin_token_file),
            ("control_socket", &self.control_socket),
            ("endpoint_store", &self.endpoint_store),
            ("auth.token_key", auth.map_or(&None, |auth| &auth.token_key)),
            (
                "auth.replay_store",
                auth.map_or(&None, |auth| &auth.replay_store),
            ),
        ] {
            if path
                .as_ref()
                .is_some_and(|path| path.as_os_str().is_empty())
            {
                return fail(key, "expected the path of a file, found none");
            }
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), ConfigError> {
        let ranges = [
            ("workers", self.worker_count() as u64, 1, 1024),
            ("min_version", self.min_version.into(), 1, 2),
            ("queue_size", self.queue_size as u64, 0, 1 << 20),
            ("max_connections", self.max_connections as u64, 1, 1 << 24),
            ("max_tunnels", self.max_tunnels as u64, 1, 1 << 24),
            ("v1_max_streams", self.v1_max_streams as u64, 1, 65_535),
            ("max_streams", self.max_streams.into(), 1, 1024),
        ];
        for (key, value, min, max) in ranges {
            if !(min..=max).contains(&value) {
                return fail(key, format!("{value} is outside {min} to {max}"));
            }
        }
        if !(8 << 10..=1 << 20).contains(&self.max_header_size.0) {
            return fail(
                "max_header_size",
                format!("{} is outside 8KiB to 1MiB", self.max_header_size),
            );
        }
        Ok(())
    }

    fn check_times(&self) -> Result<(), ConfigError> {
        let spans = [
            ("head_timeout", self.head_timeout),
            ("response_timeout", self.response_timeout),
            ("idle_timeout", self.idle_timeout),
            ("keep_alive_timeout", self.keep_alive_timeout),
            ("ping_interval", self.ping_interval),
        ];
        for (key, span) in spans {
            check_span(key, span)?;
        }
        Ok(())
    }

    fn check_endpoints(&self) -> Result<(), ConfigError> {
        let may_come = self.admin_listen.is_some()
            || self.endpoint_store.is_some()
            || self.has_did_endpoints();
        if self.endpoints.is_empty() && !self.is_open() && !may_come {
            return fail(
                "endpoints",
                "nothing would be served: name at least one endpoint, or set open = true to let any \
                 receiver serve every path, or admin_listen to add endpoints while it runs",
            );
        }
        let (mut names, mut places) = (HashSet::new(), HashMap::new());
        for (i, endpoint) in self.endpoints.iter().enumerate() {
            let key = |field: &str| format!("endpoints[{i}].{field}");
            let checked = endpoint
                .validate()
                .and_then(|()| self.check_owner(endpoint))
                .and_then(|()| self.check_callers(endpoint));
            checked.map_err(|error| ConfigError {
                key: key(&error.key),
                ..error
            })?;
            if !names.insert(endpoint.name.as_str()) {
                return fail(key("name"), format!("{:?} is taken", endpoint.name));
            }
            if let Some(earlier) = places.insert(endpoint.place(), &endpoint.name) {
                return fail(
                    key("path"),
                    format!("endpoint {earlier:?} has this host and path"),
                );
            }
            if self.is_open() && endpoint.name == "open" {
                return fail(
                    key("name"),
                    "\"open\" is what open = true is called; choose another",
                );
            }
            if self.is_open() && endpoint.place() == (None, "/") {
                return fail(
                    key("path"),
                    "open = true already serves every host and path; remove one of the two",
                );
            }
        }
        Ok(())
    }

    /// Checks whether callers can be asked for what `endpoint` wants of them.
    ///
    /// # Errors
    /// They cannot.
    pub(crate) fn check_callers(&self, endpoint: &Endpoint) -> Result<(), ConfigError> {
        let asks = Switch::effective(&endpoint.callers, &self.callers);
        if self.auth.is_none() && asks.is_some_and(|callers| !callers.dids.is_empty()) {
            return fail(
                "callers.dids",
                "nothing says how identities are proven: set up [gateway.auth], which a \
                 restart takes up, with required = false where receivers shall need no proof",
            );
        }
        Ok(())
    }
}
