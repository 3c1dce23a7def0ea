//! Which certificate is shown to whom.

use std::{collections::HashMap, sync::Arc};

use anp_tls::CertificateFacts;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::{
    SignatureScheme,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

/// A certificate in use.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) key: Arc<CertifiedKey>,
    pub(crate) facts: CertificateFacts,
}

/// The certificates of a listener; they can change while it serves.
#[derive(Debug, Default)]
pub(crate) struct Store {
    table: ArcSwap<Table>,
    /// Certificates that prove a name to an ACME authority, which alone is shown them.
    proofs: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

/// What an authority speaks when it looks for a proof (RFC 8737 section 6.2).
pub(super) const ACME_TLS: &[u8] = b"acme-tls/1";

impl Store {
    /// Shows these from now on; the first where no name fits.
    pub(crate) fn set(&self, certificates: &[Certificate]) {
        self.table.store(Arc::new(Table::new(certificates)));
    }
}

impl Store {
    /// Shows this to an authority that asks for `name`.
    pub(super) fn prove(&self, name: &str, proof: Arc<CertifiedKey>) {
        self.proofs.lock().insert(name.to_ascii_lowercase(), proof);
    }

    /// Shows no proof any more.
    pub(super) fn forget_proofs(&self) {
        self.proofs.lock().clear();
    }
}

impl ResolvesServerCert for Store {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if hello.alpn().is_some_and(|offer| offer.eq([ACME_TLS])) {
            let name = hello.server_name()?.to_ascii_lowercase();
            return self.proofs.lock().get(&name).cloned();
        }
        let table = self.table.load();
        table.find(hello.server_name(), hello.signature_schemes())
    }
}

/// Certificates by name.
#[derive(Debug, Default)]
struct Table {
    /// Names in lower case, those of wildcards with their `*`.
    named: HashMap<String, Vec<Arc<CertifiedKey>>>,
    all: Vec<Arc<CertifiedKey>>,
}

impl Table {
    fn new(certificates: &[Certificate]) -> Self {
        let mut table = Self::default();
        for Certificate { key, facts } in certificates {
            table.all.push(key.clone());
            for name in &facts.names {
                table
                    .named
                    .entry(name.clone())
                    .or_default()
                    .push(key.clone());
            }
        }
        table
    }

    /// The certificate for `name` and a client that knows `schemes`: that of the name itself, of a
    /// wildcard above it (RFC 9525 section 6.3: one label), or the first. Among several of one name
    /// it is the first whose signatures the client knows.
    fn find(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let known = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        let of = |name: &str| self.named.get(name)?.iter().find(known);
        let name = name.map(str::to_ascii_lowercase);
        let exact = name.as_deref().and_then(of);
        let found = exact.or_else(|| {
            let (_, above) = name.as_deref()?.split_once('.')?;
            of(&format!("*.{above}"))
        });
        found.or_else(|| self.all.iter().find(known)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    const SCHEMES: [SignatureScheme; 2] = [
        SignatureScheme::ECDSA_NISTP256_SHA256,
        SignatureScheme::ED25519,
    ];

    fn certificate(names: &[&str], algorithm: &'static rcgen::SignatureAlgorithm) -> Certificate {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let key = KeyPair::generate_for(algorithm).unwrap();
        let made = CertificateParams::new(names)
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let der = key.serialize_der().try_into().unwrap();
        let chain = vec![made.der().clone()];
        Certificate {
            facts: CertificateFacts::of(made.der()).unwrap(),
            key: Arc::new(CertifiedKey::from_der(chain, der, &anp_tls::provider()).unwrap()),
        }
    }

    #[test]
    fn a_name_a_wildcard_and_the_first_in_this_order() {
        let p256 = &rcgen::PKCS_ECDSA_P256_SHA256;
        let all = [
            certificate(&["default.example"], p256),
            certificate(&["*.apps.example"], p256),
            certificate(&["own.apps.example", "Other.example"], p256),
        ];
        let table = Table::new(&all);
        for (name, index) in [
            (Some("own.apps.example"), 2),
            (Some("OWN.apps.example"), 2),
            (Some("other.example"), 2),
            (Some("a.apps.example"), 1),
            (Some("a.b.apps.example"), 0),
            (Some("apps.example"), 0),
            (Some("elsewhere.example"), 0),
            (None, 0),
        ] {
            let found = table.find(name, &SCHEMES).unwrap();
            assert!(Arc::ptr_eq(&found, &all[index].key), "{name:?}");
        }
        assert!(Table::default().find(Some("a"), &SCHEMES).is_none());
    }

    #[test]
    fn clients_get_a_key_of_a_kind_they_know() {
        let p256 = certificate(&["a.example"], &rcgen::PKCS_ECDSA_P256_SHA256);
        let ed25519 = certificate(&["a.example"], &rcgen::PKCS_ED25519);
        let table = Table::new(&[ed25519.clone(), p256.clone()]);
        let found = |schemes| table.find(Some("a.example"), schemes);
        assert!(Arc::ptr_eq(&found(&SCHEMES).unwrap(), &ed25519.key));
        assert!(Arc::ptr_eq(&found(&SCHEMES[..1]).unwrap(), &p256.key));
        assert!(found(&[SignatureScheme::RSA_PSS_SHA256]).is_none());
    }
}
