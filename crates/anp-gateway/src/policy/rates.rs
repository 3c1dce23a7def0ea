//! The limits that endpoints share, from one configuration to the next.

use std::sync::Arc;

use crate::{
    config::{Config, RateLimit},
    owner::Owner,
};

use super::meter::{Client, Meters};

/// What clients and tenants used, over all endpoints.
#[derive(Clone, Debug)]
pub(crate) struct Rates {
    clients: Option<Arc<Meters<Client>>>,
    tenants: Option<Arc<Meters<Owner>>>,
    /// Requests of one tenant at once.
    pub(super) tenant_max: Option<usize>,
    of: (Option<RateLimit>, Option<RateLimit>),
}

impl Rates {
    /// Those of a valid configuration, with nothing used yet.
    pub(crate) fn new(config: &Config) -> Self {
        let on = |limit: &Option<crate::config::Switch<RateLimit>>| {
            limit.as_ref().and_then(|l| l.on()).cloned()
        };
        let (client, tenant) = (on(&config.client_rate), on(&config.tenant_rate));
        let counts = tenant.is_some() || config.tenant_max_requests.is_some();
        Self {
            clients: client
                .as_ref()
                .map(|limit| Arc::new(Meters::new(Some(limit)))),
            tenants: counts.then(|| Arc::new(Meters::new(tenant.as_ref()))),
            tenant_max: config.tenant_max_requests,
            of: (client, tenant),
        }
    }

    /// Goes on counting where `before` was, as far as the limits are the same.
    pub(crate) fn follow(&mut self, before: &Self) {
        if self.of.0 == before.of.0 {
            self.clients.clone_from(&before.clients);
        }
        if self.of.1 == before.of.1 && before.tenants.is_some() && self.tenants.is_some() {
            self.tenants.clone_from(&before.tenants);
        }
    }

    pub(super) fn clients(&self) -> Option<&Meters<Client>> {
        self.clients.as_deref()
    }

    pub(super) fn tenants(&self) -> Option<&Meters<Owner>> {
        self.tenants.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::policy::Scope;

    fn rates(client: &str, tenant_max: usize) -> Rates {
        Rates::new(&Config {
            client_rate: Some(serde_json::from_str(client).unwrap()),
            tenant_max_requests: Some(tenant_max),
            ..Config::default()
        })
    }

    #[test]
    fn a_reload_forgets_nothing_that_still_counts() {
        let hourly = r#"{"requests": "1/h"}"#;
        let client = Client::V4(1);
        let tenant = Owner::Name("r".to_owned());
        let ask = |rates: &Rates| {
            let meter = rates.clients().unwrap().of(&client, Instant::now());
            meter.request(Scope::Client).is_ok()
        };
        let begin = |rates: &Rates| {
            let meter = rates.tenants().unwrap().of(&tenant, Instant::now());
            meter.begin(rates.tenant_max.unwrap())
        };
        let before = rates(hourly, 1);
        assert!(ask(&before) && !ask(&before));
        let held = begin(&before);
        assert!(held.is_some());

        let mut same = rates(hourly, 1);
        same.follow(&before);
        assert!(!ask(&same) && begin(&same).is_none());
        let mut other = rates(r#"{"requests": "2/h"}"#, 2);
        other.follow(&before);
        assert!(ask(&other) && begin(&other).is_some());
    }
}
