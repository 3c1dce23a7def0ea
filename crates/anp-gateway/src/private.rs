//! Directories that only their owner looks into.

use std::{fs, io, path::Path};

/// Makes a directory, and those above it, where they are missing (mode 0700).
///
/// # Errors
/// The system's.
pub(crate) fn directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// As [`directory`], for that of a file.
///
/// # Errors
/// The system's.
pub(crate) fn directory_of(file: &Path) -> io::Result<()> {
    match file.parent().filter(|d| !d.as_os_str().is_empty()) {
        Some(path) => directory(path),
        None => Ok(()),
    }
}
