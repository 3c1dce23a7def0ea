//! Certificates made for a test, as files and for clients that know their authority.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore};

use crate::{provider, read};

/// An authority with a directory for files.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: tempfile::TempDir,
}

/// A certificate and its key as files.
#[derive(Clone, Debug)]
pub struct Files {
    /// The certificate.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

#[allow(
    clippy::missing_panics_doc,
    clippy::new_without_default,
    reason = "a test fails by panicking"
)]
impl Authority {
    /// One of its own, which nobody knows yet.
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// Writes a certificate for `names` and its key as `file.pem` and `file.key`.
    pub fn issue(&self, file: &str, names: &[&str]) -> Files {
        let (cert, key) = self.pem(names);
        let files = Files {
            cert: self.dir.path().join(format!("{file}.pem")),
            key: self.dir.path().join(format!("{file}.key")),
        };
        put(&files.cert, &cert);
        put(&files.key, &key);
        files
    }

    /// A certificate for `names` and its key.
    pub fn pem(&self, names: &[&str]) -> (String, String) {
        self.pem_between([2000, 2100], names)
    }

    /// One that is over.
    pub fn expired_pem(&self, names: &[&str]) -> (String, String) {
        self.pem_between([2000, 2001], names)
    }

    /// One that is valid from the first day of one year to that of another.
    pub fn pem_between(&self, [from, until]: [i32; 2], names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        (cert.pem(), key.serialize_pem())
    }

    /// The authority's own certificate, as a file.
    pub fn file(&self) -> PathBuf {
        let path = self.dir.path().join("authority.pem");
        put(&path, &self.issuer.pem());
        path
    }

    /// What a client is made with that trusts this authority alone.
    pub fn client(&self, alpn: &[&str]) -> ClientConfig {
        let mut config = self.client_trusting(self);
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        config
    }

    /// The same, trusting another, too.
    pub fn client_trusting(&self, other: &Self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots.add(other.issuer.der().clone()).unwrap();
        ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    /// The same, with a certificate of `by` to show.
    pub fn client_showing(&self, by: &Self, name: &str) -> ClientConfig {
        let files = by.issue("client", &[name]);
        let chain = read::certificates(&files.cert).unwrap();
        let key = read::private_key(&files.key, read::WorldReadable::Refused).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap()
    }
}

/// Puts a file in its place at once, as careful programs do.
pub fn put(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::rename(&new, path).unwrap();
}
