//! The `callers` of an endpoint, or of all: who may call it.

use std::{collections::HashSet, fmt, str::FromStr};

use anp_auth::{PresharedTokens, Rule, RuleError, TokenHash};
use serde::{Deserialize, Serialize};

use super::{
    error::{ConfigError, fail},
    switch::Known,
};
use crate::trust::Network;

/// Who may call: whoever has one of `networks`' addresses, where there are any, and besides proves
/// one of `dids` or knows one of `basic`, where there are any of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Callers {
    /// Identities that may: `did:wba:…`, `domain:example.com`, `*.example.com`, or `*` for whoever
    /// proves one. They are proven as those of receivers are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dids: Vec<CallerDids>,
    /// Users of basic authentication (RFC 7617) and the hashes of their secrets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub basic: Vec<BasicUser>,
    /// Addresses that callers must have, as networks or single addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Network>,
}

/// Identities of callers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum CallerDids {
    /// `*`: whoever proves one.
    All,
    /// Those that a rule allows.
    By(Rule),
}

/// A user of basic authentication.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BasicUser {
    /// What the caller gives as its name: 1 to 64 of `[0-9A-Za-z._-]`.
    pub name: String,
    /// The hash of its secret, as `anp-proxy token new NAME --caller` prints it.
    pub hash: TokenHash,
}

impl Callers {
    /// The hashes by user.
    pub(crate) fn users(&self) -> impl Iterator<Item = (String, TokenHash)> {
        let users = self.basic.iter();
        users.map(|user| (user.name.clone(), user.hash))
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.dids.is_empty() && self.basic.is_empty() && self.networks.is_empty() {
            return fail(
                "callers",
                "names nobody: write dids, basic or networks, or false to let everybody call",
            );
        }
        PresharedTokens::new(self.users())
            .or_else(|error| fail("callers.basic", error.to_string()))?;
        let mut seen = HashSet::new();
        if let Some(twice) = self.dids.iter().find(|did| !seen.insert(*did)) {
            return fail("callers.dids", format!("\"{twice}\" is there twice"));
        }
        Ok(())
    }
}

impl Known for Callers {
    const EXPECTED: &'static str = "false, or a table such as {dids = [\"domain:example.com\"]}";
}

impl FromStr for CallerDids {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        match text {
            "*" => Ok(Self::All),
            rule => rule.parse().map(Self::By),
        }
    }
}

impl TryFrom<String> for CallerDids {
    type Error = RuleError;

    fn try_from(text: String) -> Result<Self, RuleError> {
        text.parse()
    }
}

impl From<CallerDids> for String {
    fn from(dids: CallerDids) -> Self {
        dids.to_string()
    }
}

impl fmt::Display for CallerDids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::By(rule) => rule.fmt(f),
        }
    }
}
