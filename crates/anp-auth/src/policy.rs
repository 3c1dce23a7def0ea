//! Who may come: decided from the text of a DID alone, before anything is fetched for it.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::watch;

use crate::did::{Did, DidError, check_host};

/// One entry of an allow list.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Rule {
    /// `did:wba:…`: this DID and no other.
    Did(Did),
    /// `domain:example.com`: every DID of this host, on any port that may be resolved.
    Domain(String),
    /// `*.example.com`: every DID of a host below this one, not of the host itself.
    Below(String),
}

/// Why text is no [`Rule`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RuleError {
    /// It starts like a DID and is none.
    #[error(transparent)]
    Did(#[from] DidError),
    /// None of the three forms.
    #[error(
        "expected a DID (\"did:wba:example.com:alice\"), \"domain:example.com\" or \"*.example.com\", in lower case"
    )]
    Form,
}

/// An allow list that can be replaced while it is in use. Clones share it.
///
/// ```
/// use anp_auth::{Did, Policy};
///
/// let policy = Policy::new(vec!["domain:example.com".parse()?]);
/// let alice: Did = "did:wba:example.com:alice".parse()?;
/// assert!(policy.allows(&alice));
/// policy.replace(Vec::new());
/// assert!(!policy.allows(&alice));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Policy {
    rules: Arc<watch::Sender<Arc<[Rule]>>>,
    also: Option<Also>,
}

/// Says whether a DID is allowed by something else than rules. Asked for every header, before
/// anything is known of who sent it: it must be quick.
pub type Also = Arc<dyn Fn(&Did) -> bool + Send + Sync>;

impl Rule {
    /// True if the rule allows `did`.
    pub fn allows(&self, did: &Did) -> bool {
        match self {
            Self::Did(allowed) => allowed == did,
            Self::Domain(host) => host == did.host(),
            Self::Below(host) => did
                .host()
                .strip_suffix(host.as_str())
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        }
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        if text.starts_with("did:") {
            return Ok(Self::Did(text.parse()?));
        }
        let (host, rule): (_, fn(String) -> Self) = match text.strip_prefix("*.") {
            Some(host) => (host, Self::Below),
            None => (
                text.strip_prefix("domain:").ok_or(RuleError::Form)?,
                Self::Domain,
            ),
        };
        check_host(host).map_err(|_| RuleError::Form)?;
        Ok(rule(host.to_owned()))
    }
}

impl TryFrom<String> for Rule {
    type Error = RuleError;

    fn try_from(text: String) -> Result<Self, RuleError> {
        text.parse()
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> Self {
        rule.to_string()
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Did(did) => did.fmt(f),
            Self::Domain(host) => write!(f, "domain:{host}"),
            Self::Below(host) => write!(f, "*.{host}"),
        }
    }
}

impl Policy {
    /// Allows what any of `rules` allows; an empty list allows nobody.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self {
            rules: Arc::new(watch::Sender::new(rules.into())),
            also: None,
        }
    }

    /// Allows what `also` allows, besides the rules.
    #[must_use]
    pub fn or(mut self, also: Also) -> Self {
        self.also = Some(also);
        self
    }

    /// True if `did` is allowed now.
    pub fn allows(&self, did: &Did) -> bool {
        self.rules.borrow().iter().any(|rule| rule.allows(did))
            || self.also.as_ref().is_some_and(|also| also(did))
    }

    /// Puts other rules in place. Who is connected has to be asked about again: see
    /// [`changes`](Self::changes).
    pub fn replace(&self, rules: Vec<Rule>) {
        self.rules.send_replace(rules.into());
    }

    /// Tells of every [`replace`](Self::replace) from now on.
    pub fn changes(&self) -> watch::Receiver<Arc<[Rule]>> {
        self.rules.subscribe()
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Policy").field(&self.rules.borrow()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        text.parse().unwrap()
    }

    fn did(text: &str) -> Did {
        text.parse().unwrap()
    }

    #[test]
    fn rules_allow_what_they_name_and_nothing_beside_it() {
        for (text, allowed, others) in [
            (
                "did:wba:a.example:bob",
                &["did:wba:a.example:bob"][..],
                &[
                    "did:wba:a.example",
                    "did:wba:a.example:bob:x",
                    "did:wba:a.example%3A8443:bob",
                ][..],
            ),
            (
                "domain:a.example",
                &["did:wba:a.example", "did:wba:a.example%3A8443:bob"],
                &[
                    "did:wba:b.a.example",
                    "did:wba:aa.example",
                    "did:wba:a.example.org",
                ],
            ),
            (
                "*.a.example",
                &["did:wba:b.a.example", "did:wba:c.b.a.example:x"],
                &[
                    "did:wba:a.example",
                    "did:wba:ba.example",
                    "did:wba:b.a.example.org",
                ],
            ),
        ] {
            let rule = rule(text);
            assert_eq!(rule.to_string(), text);
            for text in allowed {
                assert!(rule.allows(&did(text)), "{rule} {text}");
            }
            for text in others {
                assert!(!rule.allows(&did(text)), "{rule} {text}");
            }
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "*",
            "a.example",
            "*.",
            "*.*.a.example",
            "domain:",
            "domain:A.example",
            "domain:a.example:443",
            "domain:127.0.0.1",
            "*a.example",
        ] {
            assert_eq!(text.parse::<Rule>(), Err(RuleError::Form), "{text}");
        }
        assert!(matches!(
            "did:web:a.example".parse::<Rule>(),
            Err(RuleError::Did(_))
        ));
    }

    #[tokio::test]
    async fn a_removal_is_told() {
        let policy = Policy::new(vec![rule("domain:a.example")]);
        let shared = policy.clone();
        let mut changes = shared.changes();
        assert!(shared.allows(&did("did:wba:a.example")));
        policy.replace(Vec::new());
        changes.changed().await.unwrap();
        assert!(!shared.allows(&did("did:wba:a.example")));
    }
}
