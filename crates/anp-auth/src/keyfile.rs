//! Files with secrets: read only if nobody else can, and written so that nobody else can.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use thiserror::Error;

/// Largest file read, in bytes.
const MAX_LEN: u64 = 64 << 10;

/// Why a file with a secret cannot be used.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// The system refuses it.
    #[error("{}: {source}", .file.display())]
    Io {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Other users of the machine can read or change it.
    #[error("{}: other users can read or change this secret (mode {mode:03o}); run: chmod 600 {}", .file.display(), .file.display())]
    Permissions {
        /// Which file.
        file: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Longer than any key.
    #[error("{}: expected a key, found more than {MAX_LEN} bytes", .0.display())]
    TooLong(PathBuf),
}

/// Reads a secret. Files that the group can read are accepted, as orchestrators mount them so.
///
/// # Errors
///
/// [`KeyFileError`].
pub fn read_secret(file: &Path) -> Result<String, KeyFileError> {
    let failed = |source| KeyFileError::Io {
        file: file.to_owned(),
        source,
    };
    let about = fs::metadata(file).map_err(failed)?;
    if about.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&about.permissions()) & 0o777;
        if mode & 0o027 != 0 {
            let file = file.to_owned();
            return Err(KeyFileError::Permissions { file, mode });
        }
    }
    if about.len() > MAX_LEN {
        return Err(KeyFileError::TooLong(file.to_owned()));
    }
    fs::read_to_string(file).map_err(failed)
}

/// Writes a secret to a file that was not there.
///
/// # Errors
///
/// [`KeyFileError::Io`], of kind `AlreadyExists` if it was.
pub fn write_secret(file: &Path, secret: &str) -> Result<(), KeyFileError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let write = |mut opened: fs::File| {
        opened.write_all(secret.as_bytes())?;
        opened.sync_all()
    };
    options
        .open(file)
        .and_then(write)
        .map_err(|source| KeyFileError::Io {
            file: file.to_owned(),
            source,
        })
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn secrets_that_others_can_read_are_refused_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key.pem");
        write_secret(&file, "secret").unwrap();
        assert_eq!(read_secret(&file).unwrap(), "secret");
        for (mode, good) in [
            (0o400, true),
            (0o440, true),
            (0o604, false),
            (0o620, false),
            (0o644, false),
        ] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let read = read_secret(&file);
            assert_eq!(read.is_ok(), good, "{mode:o}");
            if let Err(error) = read {
                let fix = format!("run: chmod 600 {}", file.display());
                assert!(error.to_string().ends_with(&fix), "{error}");
            }
        }
    }

    #[test]
    fn a_directory_is_called_one() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = read_secret(dir.path()).unwrap_err().to_string();
        assert_eq!(error, format!("{}: is a directory", dir.path().display()));
    }

    #[test]
    fn nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key.pem");
        write_secret(&file, "first").unwrap();
        assert!(write_secret(&file, "second").is_err());
        assert_eq!(read_secret(&file).unwrap(), "first");
    }
}
