//! The `[gateway.auth]` table: who may come, and how they prove it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anp_auth::{
    Did, PresharedTokens, PublicName, Rule, SignerError, TokenHash, load_document,
    resolver::{Place, ResolverConfig},
};
use anp_tunnel::units::Span;
use serde::{Deserialize, Serialize};

use super::{
    did_endpoints::{DidEndpoints, check_domain, is_of},
    error::{ConfigError, fail},
};
use crate::trust::Network;

/// How receivers prove who they are.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// The names that receivers write in the address of this gateway: `gateway.example`, with a port
    /// where they write one. A signature is good for these alone. Required.
    pub public_names: Vec<PublicName>,
    /// Lets nobody in without proof. Where it is false, a receiver without any comes in by its name.
    /// Default true.
    pub required: bool,
    /// DIDs that may come besides those that own an endpoint: `did:wba:…`, `domain:example.com`,
    /// `*.example.com`. Nothing is fetched for others. Default none.
    pub allow: Vec<Rule>,
    /// The gateway serves the DID documents of this domain itself, at its public listener, and finds
    /// them without a fetch: a host, with a port where its DIDs have one. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosted_domain: Option<PublicName>,
    /// Gives DIDs of one domain endpoints by their names, and lets them come. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub did_endpoints: Option<DidEndpoints>,
    /// Tokens of those without an identity. Default none.
    pub tokens: Vec<PresharedToken>,
    /// How long a token is good that is given for a signature. Default 1 h.
    pub token_lifetime: Span,
    /// File with the Ed25519 key that signs those tokens, made if it is not there; one that is
    /// replaced is taken up. Default: `tokens.pem` in the state directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_key: Option<PathBuf>,
    /// File with the nonces that were used. Default: `nonces.redb` in the state directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay_store: Option<PathBuf>,
    /// How DID documents are fetched.
    pub resolver: AuthResolver,
}

/// A pre-shared token, by its hash.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PresharedToken {
    /// Who holds it: the owner `token:NAME` of endpoints.
    pub name: String,
    /// Its hash, as `anp-proxy token new` prints it.
    pub hash: TokenHash,
}

/// How DID documents are fetched: the defaults are those for the open internet.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthResolver {
    /// Certificates (PEM) that are believed as the system's are. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Where hosts are, instead of what the name service says: an address, with a port where it is
    /// not the DID's. Default none.
    pub hosts: BTreeMap<String, Place>,
    /// Files with documents that are known and never fetched. Default none.
    pub documents: Vec<PathBuf>,
    /// Networks that may be connected to although they are not public. Default none.
    pub allowed_networks: Vec<Network>,
    /// Ports that DIDs may have. Default 443 alone.
    pub allowed_ports: Vec<u16>,
    /// For a whole fetch, from the look-up to the last byte. Default 5 s.
    pub timeout: Span,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            public_names: Vec::new(),
            required: true,
            allow: Vec::new(),
            hosted_domain: None,
            did_endpoints: None,
            tokens: Vec::new(),
            token_lifetime: Span::from_secs(3600),
            token_key: None,
            replay_store: None,
            resolver: AuthResolver::default(),
        }
    }
}

impl Default for AuthResolver {
    fn default() -> Self {
        Self {
            ca_file: None,
            hosts: BTreeMap::new(),
            documents: Vec::new(),
            allowed_networks: Vec::new(),
            allowed_ports: vec![443],
            timeout: Span::from_secs(5),
        }
    }
}

impl AuthResolver {
    /// What a resolver is made of.
    ///
    /// # Errors
    /// One of `documents` cannot be used.
    pub fn config(&self) -> Result<ResolverConfig, SignerError> {
        let documents = self.documents.iter();
        let networks = self.allowed_networks.clone();
        Ok(ResolverConfig {
            ca_file: self.ca_file.clone(),
            hosts: self.hosts.clone().into_iter().collect(),
            documents: documents
                .map(|file| load_document(file))
                .collect::<Result<_, _>>()?,
            also_allow: Some(Arc::new(move |address| {
                networks.iter().any(|network| network.contains(address))
            })),
            allowed_ports: self.allowed_ports.clone(),
            timeout: self.timeout.0,
        })
    }
}

impl Auth {
    /// True if the gateway itself has the document of `did`, where anybody has.
    pub fn hosts(&self, did: &Did) -> bool {
        let domain = self.hosted_domain.as_ref();
        domain.is_some_and(|domain| is_of(did, domain))
    }

    /// Puts the files that are not named into the state directory.
    pub fn keep_state_in(&mut self, directory: &Path) {
        let place = |name: &str| directory.join(name);
        self.token_key.get_or_insert_with(|| place("tokens.pem"));
        self.replay_store
            .get_or_insert_with(|| place("nonces.redb"));
    }

    /// The tokens by name.
    pub(crate) fn preshared(&self) -> impl Iterator<Item = (String, TokenHash)> {
        let tokens = self.tokens.iter();
        tokens.map(|token| (token.name.clone(), token.hash))
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if self.public_names.is_empty() {
            return fail(
                "auth.public_names",
                "expected the names that receivers write in the address of this gateway, such as \
                 [\"gateway.example\"]: a signature is good for these alone",
            );
        }
        if self.public_names.len() > 32 {
            return fail("auth.public_names", "expected at most 32");
        }
        if let Some(domain) = &self.hosted_domain {
            check_domain("auth.hosted_domain", domain)?;
        }
        if let Some(rule) = &self.did_endpoints {
            rule.validate(self.hosted_domain.as_ref())?;
        }
        PresharedTokens::new(self.preshared())
            .or_else(|error| fail("auth.tokens", error.to_string()))?;
        for (key, span, least, most) in [
            ("auth.token_lifetime", self.token_lifetime, 1, 86_400),
            ("auth.resolver.timeout", self.resolver.timeout, 1, 60),
        ] {
            if span.0 < Duration::from_secs(least) || span.0 > Duration::from_secs(most) {
                return fail(
                    key,
                    format!("\"{span}\" is outside \"{least}s\" to \"{most}s\""),
                );
            }
        }
        Ok(())
    }
}

/// Takes over from `running` what changes only with a restart; false if anything would have changed.
pub(super) fn keep_fixed(new: &mut Option<Auth>, running: &Option<Auth>) -> bool {
    let (Some(auth), Some(running)) = (new.as_mut(), running) else {
        let same = new.is_none() == running.is_none();
        new.clone_from(running);
        return same;
    };
    let fixed = Auth {
        required: auth.required,
        allow: auth.allow.clone(),
        tokens: auth.tokens.clone(),
        did_endpoints: auth.did_endpoints.clone(),
        ..running.clone()
    };
    let same = *auth == fixed;
    *auth = fixed;
    same
}
