//! The keys of TLS in the `[gateway]` table.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::error::{ConfigError, fail};

/// Certificates of the public listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file of a certificate and those between it and its authority, its own first. Shown to
    /// callers that ask for none of the names at hand, too.
    pub cert: PathBuf,
    /// PEM file of its private key, without a passphrase.
    pub key: PathBuf,
    /// Further certificates; which one is shown is decided by the name a caller asks for (SNI), and
    /// among those of one name by the kinds of key it knows. Default none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<KeyPair>,
}

/// A certificate and its key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeyPair {
    /// PEM file of the certificate and those between it and its authority, its own first.
    pub cert: PathBuf,
    /// PEM file of its private key, without a passphrase.
    pub key: PathBuf,
}

/// Certificates of the tunnel listener, and what receivers must show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TunnelTlsConfig {
    /// PEM file of a certificate. Default: what the public listener shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// PEM file of its private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// PEM file of authorities. A receiver that shows no certificate of theirs is refused in the
    /// handshake. Default none: receivers need no certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
}

/// Certificates by ACME (RFC 8555).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AcmeConfig {
    /// Names the certificate is for. No wildcards: they cannot be proved by TLS-ALPN-01.
    pub domains: Vec<String>,
    /// Whom the authority may write to, such as `mailto:ops@example.org`. Default none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contact: Vec<String>,
    /// The authority's directory. Default that of Let's Encrypt.
    pub directory: String,
    /// Directory for the account and the certificate; made where it is missing.
    pub cache: PathBuf,
    /// You read the authority's terms of service and agree with them. Without it nothing is asked.
    pub terms_agreed: bool,
    /// PEM file of authorities that are trusted besides the system's for the directory itself.
    /// Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

impl Default for AcmeConfig {
    fn default() -> Self {
        Self {
            domains: Vec::new(),
            contact: Vec::new(),
            directory: instant_acme::LetsEncrypt::Production.url().to_owned(),
            cache: PathBuf::new(),
            terms_agreed: false,
            ca_file: None,
        }
    }
}

impl TlsConfig {
    /// Every certificate, the default first.
    pub(crate) fn pairs(&self) -> Vec<KeyPair> {
        let first = KeyPair {
            cert: self.cert.clone(),
            key: self.key.clone(),
        };
        std::iter::once(first).chain(self.more.clone()).collect()
    }
}

impl TunnelTlsConfig {
    /// A certificate of the tunnel listener's own.
    pub(crate) fn pair(&self) -> Option<KeyPair> {
        Some(KeyPair {
            cert: self.cert.clone()?,
            key: self.key.clone()?,
        })
    }
}

impl AcmeConfig {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if !self.terms_agreed {
            return fail(
                "acme.terms_agreed",
                "must be true: read the authority's terms of service first",
            );
        }
        if self.domains.is_empty() {
            return fail("acme.domains", "must name at least one domain");
        }
        for (i, domain) in self.domains.iter().enumerate() {
            let key = format!("acme.domains[{i}]");
            if domain.starts_with("*.") {
                return fail(
                    key,
                    "wildcards cannot be proved by TLS-ALPN-01: list the names",
                );
            }
            let label = |l: &str| {
                (1..=63).contains(&l.len())
                    && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            };
            if domain.len() > 253 || !domain.split('.').all(label) {
                return fail(key, format!("{domain:?} is not a host name"));
            }
        }
        if let Some(contact) = self.contact.iter().find(|c| !c.starts_with("mailto:")) {
            let expected = format!("{contact:?} is not \"mailto:\" and an address");
            return fail("acme.contact", expected);
        }
        if !self.directory.starts_with("https://") {
            return fail("acme.directory", "must be an https:// address");
        }
        if self.cache.as_os_str().is_empty() {
            return fail(
                "acme.cache",
                "must be a directory, such as \"/var/lib/anp-proxy/acme\": without it every restart \
                 would ask for another certificate",
            );
        }
        Ok(())
    }
}
