//! Whom a client trusts to say who a server is.

use std::path::Path;

use rustls::RootCertStore;

use crate::read::{self, FileError};

/// The authorities of the operating system, which `SSL_CERT_FILE` and `SSL_CERT_DIR` replace, and
/// those of the PEM file `extra`.
///
/// # Errors
/// `extra` cannot be read or holds no certificate. That the system has no authorities is no error:
/// then nobody but those of `extra` is trusted.
pub fn roots(extra: Option<&Path>) -> Result<RootCertStore, FileError> {
    let mut roots = RootCertStore::empty();
    let (_, ignored) =
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    // Systems carry a few that are not certificates of version 3; nothing is lost with them.
    let _ = ignored;
    if let Some(path) = extra {
        authorities(&mut roots, path)?;
    }
    Ok(roots)
}

/// Adds the authorities of a PEM file.
///
/// # Errors
/// It cannot be read, holds no certificate, or one that cannot be an authority.
pub fn authorities(roots: &mut RootCertStore, path: &Path) -> Result<(), FileError> {
    for certificate in read::certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| FileError::new(path, format!("holds no authority: {error}")))?;
    }
    Ok(())
}
