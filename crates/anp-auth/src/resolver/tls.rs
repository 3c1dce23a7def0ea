//! Whose certificates are believed when documents are fetched.

use std::{io, path::PathBuf, sync::Arc};

use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use thiserror::Error;

/// Why no secure connection could ever be made.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The file of additional certificates cannot be used.
    #[error("{}: {reason}", .file.display())]
    File {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Neither the system nor configuration has a certificate to believe.
    #[error(
        "the system has no root certificates ({0}): install them (Debian: ca-certificates), or set a CA file"
    )]
    NoRoots(String),
    /// The TLS library refused its own defaults.
    #[error(transparent)]
    Library(#[from] rustls::Error),
}

/// A client that believes the system's roots and those of `ca_file`.
pub(super) fn client(ca_file: Option<&PathBuf>) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(system.certs);
    if let Some(file) = ca_file {
        let fail = |reason: String| TlsError::File {
            file: file.clone(),
            reason,
        };
        let pem = std::fs::read(file).map_err(|error: io::Error| fail(error.to_string()))?;
        let mut count = 0;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| fail(error.to_string()))?;
            roots
                .add(certificate)
                .map_err(|error| fail(error.to_string()))?;
            count += 1;
        }
        if count == 0 {
            return Err(fail("expected certificates in PEM, found none".into()));
        }
    }
    if roots.is_empty() {
        let reasons: Vec<_> = system.errors.iter().map(ToString::to_string).collect();
        return Err(TlsError::NoRoots(reasons.join("; ")));
    }
    // The provider by name: with two in one build, rustls would panic rather than choose.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
