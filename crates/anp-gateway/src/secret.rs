//! Secrets in settings, which no log and no listing shows.

use std::fmt;
#[cfg(unix)]
use std::os::unix::fs::PermissionsExt as _;
use std::{fs::File, io::Read as _, path::Path};

use serde::{Deserialize, Serialize, Serializer};
use subtle::ConstantTimeEq as _;

/// What stands in place of a secret.
const MASK: &str = "****";

/// Longest secret, in bytes.
const MAX: u64 = 1024;

/// A text that is shown to nobody.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The secret that `text` is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret in the file at `path`, without white space around it.
    ///
    /// # Errors
    /// Why it cannot be read or used, and what to do: others may read it, too.
    pub fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let cannot = |error: std::io::Error| format!("cannot read {shown}: {error}");
        let file = File::open(path).map_err(cannot)?;
        let about = file.metadata().map_err(cannot)?;
        if about.is_dir() {
            return Err(cannot(std::io::ErrorKind::IsADirectory.into()));
        }
        #[cfg(unix)]
        {
            let mode = about.permissions().mode();
            if mode & 0o077 != 0 {
                return Err(format!(
                    "others may read or write {shown} (mode {:04o}); say chmod 600 {shown}",
                    mode & 0o7777
                ));
            }
        }
        let mut text = String::new();
        file.take(MAX + 2)
            .read_to_string(&mut text)
            .map_err(cannot)?;
        Ok(Self::new(text.trim()))
    }

    /// The secret itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// True where it is long enough not to be guessed and can stand in a header.
    pub(crate) fn is_token(&self) -> bool {
        let length = 16..=usize::try_from(MAX).unwrap_or(usize::MAX);
        length.contains(&self.0.len()) && self.0.bytes().all(|b| b.is_ascii_graphic())
    }

    /// True where `shown` is the secret. How long it takes tells nothing but the length.
    pub(crate) fn is(&self, shown: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(shown).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_shown_to_nobody() {
        let secret = Secret::new("0123456789abcdef");
        assert_eq!(format!("{secret:?}"), "****");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"****\"");
        assert!(secret.is(b"0123456789abcdef") && secret.is_token());
        assert!(!secret.is(b"0123456789abcdeg") && !secret.is(b"0") && !secret.is(b""));
        for unfit in ["short", "0123456789 abcdef", &"x".repeat(1025)] {
            assert!(!Secret::new(unfit).is_token(), "{unfit}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, "0123456789abcdef\n").unwrap();
        let chmod = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        chmod(0o600);
        assert!(Secret::read(&path).unwrap().is(b"0123456789abcdef"));
        for mode in [0o640, 0o604, 0o620] {
            chmod(mode);
            let error = Secret::read(&path).unwrap_err();
            assert!(error.contains("say chmod 600"), "{error}");
            assert!(!error.contains("0123456789"), "{error}");
        }
        let error = Secret::read(directory.path()).unwrap_err();
        assert!(error.ends_with(": is a directory"), "{error}");
    }
}
