//! What a gateway does to the requests of an endpoint and their responses beside carrying them.
//!
//! An endpoint without any of it has no [`Policy`], and its requests pay for none.

mod cors;
mod govern;
mod prefix;
mod security;

use std::{sync::Arc, time::Duration};

use crate::config::{Config, Endpoint, Switch};

pub(crate) use govern::Governed;

use cors::Cors;
use security::Security;

/// What is on for an endpoint, ready for use.
#[derive(Debug)]
pub(crate) struct Policy {
    cors: Option<Cors>,
    security: Option<Security>,
    /// In place of those of the connection.
    response_timeout: Option<Duration>,
    idle_timeout: Option<Duration>,
    /// What is taken off the targets of requests.
    strip_prefix: Option<String>,
}

impl Policy {
    /// The policy of an endpoint: its own settings before those of the gateway. `None` where
    /// everything is off.
    pub(crate) fn new(endpoint: &Endpoint, config: &Config) -> Option<Arc<Self>> {
        let cors = Switch::effective(&endpoint.cors, &config.cors);
        let security = Switch::effective(&endpoint.security_headers, &config.security_headers);
        let prefix = endpoint.path.trim_end_matches('/');
        let policy = Self {
            cors: cors.map(Cors::new),
            security: security.map(Security::new),
            response_timeout: endpoint.response_timeout.map(|t| t.0),
            idle_timeout: endpoint.idle_timeout.map(|t| t.0),
            strip_prefix: endpoint.strip_prefix.then(|| prefix.to_owned()),
        };
        policy.is_something().then(|| Arc::new(policy))
    }

    fn is_something(&self) -> bool {
        // Names every field: one that is missing here does not compile.
        let Self {
            cors,
            security,
            response_timeout,
            idle_timeout,
            strip_prefix,
        } = self;
        cors.is_some()
            || security.is_some()
            || response_timeout.is_some()
            || idle_timeout.is_some()
            || strip_prefix.is_some()
    }
}
