//! What a gateway does to the requests of an endpoint and their responses beside carrying them.
//!
//! An endpoint without any of it has no [`Policy`], and its requests pay for none.

mod cors;
mod govern;

use std::sync::Arc;

use crate::config::{Config, Endpoint, Switch};

pub(crate) use govern::{Governed, govern};

use cors::Cors;

/// What is on for an endpoint, ready for use.
#[derive(Debug)]
pub(crate) struct Policy {
    cors: Option<Cors>,
}

impl Policy {
    /// The policy of an endpoint: its own settings before those of the gateway. `None` where
    /// everything is off.
    pub(crate) fn new(endpoint: &Endpoint, config: &Config) -> Option<Arc<Self>> {
        let cors = Switch::effective(&endpoint.cors, &config.cors);
        let policy = Self {
            cors: cors.map(Cors::new),
        };
        policy.is_something().then(|| Arc::new(policy))
    }

    fn is_something(&self) -> bool {
        let Self { cors } = self;
        cors.is_some()
    }
}
