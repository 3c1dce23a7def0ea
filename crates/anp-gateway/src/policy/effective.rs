//! What is on for an endpoint: its own settings before those of the gateway.

use std::{sync::Arc, time::Duration};

use super::{
    cors::Cors,
    meter::{Client, Meter, Meters},
    security::Security,
};
use crate::{
    callers::Callers,
    config::{Config, Endpoint, RateLimit, Switch},
    owner::Owner,
};

/// What is on for an endpoint, ready for use.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(super) callers: Option<Arc<Callers>>,
    pub(super) cors: Option<Cors>,
    pub(super) security: Option<Security>,
    /// Of this endpoint's clients apart from other endpoints'.
    pub(super) clients: Clients,
    pub(super) endpoint: Option<(RateLimit, Arc<Meter>)>,
    /// Whose limits count besides, where tenants have any.
    pub(super) tenant: Option<Owner>,
    /// In place of those of the connection.
    pub(super) response_timeout: Option<Duration>,
    pub(super) idle_timeout: Option<Duration>,
    /// After such a silence of an event stream a comment is added.
    pub(super) sse_keepalive: Option<Duration>,
    /// What is taken off the targets of requests.
    pub(super) strip_prefix: Option<String>,
}

/// Which limit the clients of an endpoint have.
#[derive(Debug)]
pub(super) enum Clients {
    /// None.
    Free,
    /// That of all endpoints.
    Shared,
    /// One of their own.
    Own(RateLimit, Arc<Meters<Client>>),
}

impl Clients {
    fn new(own: Option<&Switch<RateLimit>>, all: Option<&Switch<RateLimit>>) -> Self {
        match (own, all) {
            (Some(Switch::On(limit)), _) => {
                Self::Own(limit.clone(), Arc::new(Meters::new(Some(limit))))
            }
            (None, Some(Switch::On(_))) => Self::Shared,
            _ => Self::Free,
        }
    }
}

impl Policy {
    /// The policy of an endpoint: its own settings before those of the gateway. `None` where
    /// everything is off.
    pub(crate) fn new(endpoint: &Endpoint, config: &Config) -> Option<Arc<Self>> {
        let rate = Switch::effective(&endpoint.endpoint_rate, &config.endpoint_rate);
        let tenants = config
            .tenant_rate
            .as_ref()
            .is_some_and(|l| l.on().is_some())
            || config.tenant_max_requests.is_some();
        let cors = Switch::effective(&endpoint.cors, &config.cors);
        let security = Switch::effective(&endpoint.security_headers, &config.security_headers);
        let prefix = endpoint.path.trim_end_matches('/');
        let callers = Switch::effective(&endpoint.callers, &config.callers);
        let policy = Self {
            callers: callers.map(|callers| Arc::new(Callers::new(callers, endpoint, config))),
            cors: cors.map(Cors::new),
            security: security.map(Security::new),
            clients: Clients::new(endpoint.client_rate.as_ref(), config.client_rate.as_ref()),
            endpoint: rate.map(|limit| (limit.clone(), Arc::new(Meter::new(Some(limit))))),
            tenant: tenants.then(|| tenant(endpoint)),
            response_timeout: endpoint.response_timeout.map(|t| t.0),
            idle_timeout: endpoint.idle_timeout.map(|t| t.0),
            sse_keepalive: Switch::effective(&endpoint.sse_keepalive, &config.sse_keepalive)
                .map(|span| span.0),
            strip_prefix: endpoint.strip_prefix.then(|| prefix.to_owned()),
        };
        policy.is_something().then(|| Arc::new(policy))
    }

    fn is_something(&self) -> bool {
        // Names every field: one that is missing here does not compile.
        let Self {
            callers,
            cors,
            security,
            clients,
            endpoint,
            tenant,
            response_timeout,
            idle_timeout,
            sse_keepalive,
            strip_prefix,
        } = self;
        callers.is_some()
            || cors.is_some()
            || security.is_some()
            || !matches!(clients, Clients::Free)
            || endpoint.is_some()
            || tenant.is_some()
            || response_timeout.is_some()
            || idle_timeout.is_some()
            || sse_keepalive.is_some()
            || strip_prefix.is_some()
    }

    /// Goes on counting where `before` was, as far as the limits are the same.
    pub(crate) fn follow(&mut self, before: &Self) {
        if let (Some((limit, meter)), Some((old, used))) = (&mut self.endpoint, &before.endpoint)
            && limit == old
        {
            meter.clone_from(used);
        }
        if let (Clients::Own(limit, meters), Clients::Own(old, used)) =
            (&mut self.clients, &before.clients)
            && limit == old
        {
            meters.clone_from(used);
        }
    }
}

/// Who pays for the requests of an endpoint: its owner, or the first of its receivers. `*` is no
/// receiver's name.
fn tenant(endpoint: &Endpoint) -> Owner {
    let receiver = || endpoint.receivers.first().cloned();
    let name = || Owner::Name(receiver().unwrap_or_else(|| "*".to_owned()));
    endpoint.owner.clone().unwrap_or_else(name)
}
