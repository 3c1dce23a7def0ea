//! What must survive a restart: the account, and the certificate with its key.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anp_tls::FileError;
use instant_acme::AccountCredentials;
use serde::{Deserialize, Serialize};

use crate::private;

/// The certificate and its key, in one file so that they change together.
pub(crate) fn certificate_path(cache: &Path) -> PathBuf {
    cache.join("certificate.pem")
}

/// An account, and the authority it is at.
#[derive(Deserialize, Serialize)]
struct Account {
    directory: String,
    credentials: AccountCredentials,
}

/// The account at `directory`, where there is one.
pub(super) fn account(cache: &Path, directory: &str) -> Option<AccountCredentials> {
    let text = fs::read(account_path(cache)).ok()?;
    let account: Account = serde_json::from_slice(&text).ok()?;
    (account.directory == directory).then_some(account.credentials)
}

/// Keeps an account.
///
/// # Errors
/// The file cannot be written.
pub(super) fn put_account(
    cache: &Path,
    directory: &str,
    credentials: AccountCredentials,
) -> Result<(), FileError> {
    let path = account_path(cache);
    let account = Account {
        directory: directory.to_owned(),
        credentials,
    };
    let text = serde_json::to_vec(&account);
    let text = text.map_err(|error| FileError::new(&path, error.to_string()))?;
    write(&path, &text)
}

fn account_path(cache: &Path) -> PathBuf {
    cache.join("account.json")
}

/// Makes the directory of the cache, for this user alone.
///
/// # Errors
/// The system's.
pub(in crate::tls) fn prepare(cache: &Path) -> Result<(), FileError> {
    let made = private::directory(cache);
    made.map_err(|error| FileError::new(cache, format!("cannot be made: {error}")))
}

/// Puts a file that this user alone can read in its place, whole or not at all.
///
/// # Errors
/// The system's.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let put = || -> io::Result<()> {
        let new = path.with_extension("new");
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    put().map_err(|error| FileError::new(path, format!("cannot be written: {error}")))
}
