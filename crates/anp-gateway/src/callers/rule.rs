//! Who may call an endpoint.

use anp_auth::{Did, PresharedTokens};
use anpx::RequestHead;

use super::{basic, called::Called};
use crate::{
    config::{self, CallerDids, Config, Endpoint},
    trust::Network,
};

/// Who may call an endpoint.
#[derive(Debug)]
pub(crate) struct Callers {
    /// Addresses that may; all where there are none.
    pub(super) networks: Vec<Network>,
    /// Those with a secret, if anybody has one.
    pub(super) users: Option<PresharedTokens>,
    /// Those with an identity, if anybody may come by one.
    pub(super) dids: Vec<CallerDids>,
    /// What a signature must be meant for.
    pub(super) called: Called,
    /// What the tokens of this endpoint's callers are good for: no other endpoint, no other owner's
    /// endpoint of this name, and no tunnel, since the app sees them.
    pub(super) audience: String,
}

impl Callers {
    /// The rule of an endpoint whose settings are valid.
    pub(crate) fn new(rule: &config::Callers, endpoint: &Endpoint, config: &Config) -> Self {
        // Validated with the settings; were it not, nobody would be let in.
        let users = || PresharedTokens::new(rule.users()).unwrap_or_default();
        let owners: Vec<_> = endpoint.owners().map(|owner| owner.to_string()).collect();
        Self {
            networks: rule.networks.clone(),
            users: (!rule.basic.is_empty()).then(users),
            dids: rule.dids.clone(),
            called: Called::new(endpoint, config),
            audience: format!("callers of {} {}", endpoint.name, owners.join(" ")),
        }
    }

    /// True for an identity that may call.
    pub(super) fn allows(&self, did: &Did) -> bool {
        self.dids.iter().any(|rule| match rule {
            CallerDids::All => true,
            CallerDids::By(rule) => rule.allows(did),
        })
    }

    /// Why `head` is none of a user's.
    pub(super) fn why_unknown(head: &RequestHead) -> &'static str {
        match basic::shown(&head.headers) {
            Some(_) => "no user of callers.basic has this name and secret",
            None => "it shows no name and secret",
        }
    }

    /// The user whose secret `head` shows.
    pub(super) fn user(&self, head: &RequestHead) -> Option<String> {
        let (name, secret) = basic::shown(&head.headers)?;
        let (user, _) = self.users.as_ref()?.verify(&secret)?;
        (user == name).then_some(user)
    }
}
