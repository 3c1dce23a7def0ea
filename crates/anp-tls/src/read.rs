//! Certificates and keys from PEM files.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustls::sign::CertifiedKey;
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject as _},
};

use crate::{CertificateFacts, OutOfTime, facts, provider};

/// A file of certificates or keys that cannot be used. `Display` names it and says why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", .path.display())]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, and what helps.
    pub problem: String,
}

impl FileError {
    /// A problem with `path`.
    pub fn new(path: &Path, problem: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }
}

/// Whether a private key may lie where every user of the machine can read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorldReadable {
    /// It is refused.
    Refused,
    /// Somebody said in so many words that it is meant.
    Meant,
}

/// The certificates of a PEM file, in its order: one at least.
///
/// # Errors
/// It cannot be read, is not PEM, or has none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let text = bytes(path)?;
    let all = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|error| FileError::new(path, format!("is not valid PEM: {error}")))?;
    match all.is_empty() {
        true => Err(FileError::new(
            path,
            "holds no certificate: expected PEM with \"-----BEGIN CERTIFICATE-----\"",
        )),
        false => Ok(all),
    }
}

/// Which certificates of a PEM file are not valid at `now`: what each is called, and why.
///
/// # Errors
/// As [`certificates`].
pub fn out_of_time(path: &Path, now: SystemTime) -> Result<Vec<(String, OutOfTime)>, FileError> {
    let all = certificates(path)?;
    let all = all.iter().filter_map(CertificateFacts::of);
    let late = |facts: CertificateFacts| Some((facts.name().to_owned(), facts.out_of_time(now)?));
    Ok(all.filter_map(late).collect())
}

/// The private key of a PEM file, the first where there are several.
///
/// # Errors
/// It cannot be read, is not PEM, has no key or an encrypted one, or everybody can read it.
pub fn private_key(
    path: &Path,
    readable: WorldReadable,
) -> Result<PrivateKeyDer<'static>, FileError> {
    let text = bytes(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
        if readable == WorldReadable::Refused && mode.permissions().mode() & 0o004 != 0 {
            return Err(FileError::new(
                path,
                "every user of this machine can read this private key: chmod o-r it, or set \
                 allow_world_readable_keys = true if that is meant",
            ));
        }
    }
    #[cfg(not(unix))]
    let _ = readable;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        let has = |mark: &[u8]| text.windows(mark.len()).any(|w| w == mark);
        // PKCS #8 says it in the label, what was there before in a line of its own (RFC 1421).
        let encrypted = has(b"BEGIN ENCRYPTED P") || has(b"Proc-Type: 4,ENCRYPTED");
        let problem = match error {
            _ if encrypted => {
                "the private key is encrypted: write it without a passphrase, readable by this \
                 program's user alone"
                    .to_owned()
            }
            pem::Error::NoItemsFound => {
                "holds no private key: expected PEM with \"-----BEGIN PRIVATE KEY-----\"".to_owned()
            }
            error => format!("is not valid PEM: {error}"),
        };
        FileError::new(path, problem)
    })
}

/// A certificate chain, the server's or client's own first, with its key.
///
/// # Errors
/// As [`certificates`] and [`private_key`]; the key is of another certificate or of a kind that is
/// not supported, or both are too old.
pub fn certified_key(
    cert: &Path,
    key: &Path,
    readable: WorldReadable,
) -> Result<CertifiedKey, FileError> {
    let chain = certificates(cert)?;
    let der = private_key(key, readable)?;
    let outdated = chain.first().and_then(facts::outdated);
    CertifiedKey::from_der(chain, der, &provider()).map_err(|error| match (outdated, error) {
        (Some(problem), _) => FileError::new(cert, problem),
        (None, rustls::Error::InconsistentKeys(_)) => FileError::new(
            key,
            format!("is not the key of the certificate in {}", cert.display()),
        ),
        (None, rustls::Error::InvalidCertificate(error)) => FileError::new(
            cert,
            format!("its first certificate cannot be read: {error}"),
        ),
        (None, error) => FileError::new(key, format!("the private key cannot be used: {error}")),
    })
}

fn bytes(path: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> FileError {
    FileError::new(path, format!("cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Files {
        dir: tempfile::TempDir,
    }

    impl Files {
        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.dir.path().join(name);
            fs::write(&path, text).unwrap();
            allow(&path, 0o600);
            path
        }
    }

    fn allow(path: &Path, mode: u32) {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
    }

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_certificate_and_its_key_are_read() {
        let files = Files {
            dir: tempfile::tempdir().unwrap(),
        };
        let (cert, key) = pair();
        let both = files.write("both.pem", &format!("{key}{cert}"));
        let read = certified_key(&both, &both, WorldReadable::Refused).unwrap();
        assert_eq!(read.cert.len(), 1);
    }

    #[test]
    fn what_is_wrong_names_the_file_and_what_helps() {
        let files = Files {
            dir: tempfile::tempdir().unwrap(),
        };
        let (cert, key) = pair();
        let (_, other) = pair();
        let cert = files.write("cert.pem", &cert);
        let key = files.write("key.pem", &key);
        let other = files.write("other.pem", &other);
        let torn = files.write("torn.pem", "-----BEGIN CERTIFICATE-----\nMIIB");
        let empty = files.write("empty.pem", "");
        let encrypted =
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let encrypted = files.write("encrypted.pem", encrypted);
        let older = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\
                     DEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
        let older = files.write("older.pem", older);
        let old = |name: &str| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outdated");
            files.write(name, &fs::read_to_string(path.join(name)).unwrap())
        };
        let (version_1, its_key) = (old("version_1.pem"), old("version_1.key"));
        let (short, short_key) = (old("rsa_1024.pem"), old("rsa_1024.key"));
        let missing = files.dir.path().join("missing.pem");
        for (cert, key, bad, why) in [
            (&missing, &key, &missing, "cannot be read"),
            (&empty, &key, &empty, "holds no certificate"),
            (&torn, &key, &torn, "is not valid PEM"),
            (&cert, &missing, &missing, "cannot be read"),
            (&cert, &empty, &empty, "holds no private key"),
            (&cert, &encrypted, &encrypted, "is encrypted"),
            (&cert, &older, &older, "is encrypted"),
            (
                &version_1,
                &its_key,
                &version_1,
                "is a certificate of X.509 version 1, and TLS takes version 3 alone",
            ),
            (
                &short,
                &short_key,
                &short,
                "its RSA key of 1024 bits is too short",
            ),
            (
                &cert,
                &other,
                &other,
                "is not the key of the certificate in",
            ),
        ] {
            let error = certified_key(cert, key, WorldReadable::Refused).unwrap_err();
            assert_eq!(&error.path, bad);
            assert!(error.problem.contains(why), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_everybody_can_read_must_be_meant() {
        let files = Files {
            dir: tempfile::tempdir().unwrap(),
        };
        let key = files.write("key.pem", &pair().1);
        allow(&key, 0o644);
        let error = private_key(&key, WorldReadable::Refused).unwrap_err();
        assert!(
            error.to_string().contains("allow_world_readable_keys"),
            "{error}"
        );
        assert!(private_key(&key, WorldReadable::Meant).is_ok());
        allow(&key, 0o640);
        assert!(private_key(&key, WorldReadable::Refused).is_ok());
    }
}
