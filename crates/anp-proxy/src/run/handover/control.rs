//! The control socket: where the next gateway asks for the listeners.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anp_gateway::Listeners;
use tokio::{
    net::{UnixListener, UnixStream},
    time::sleep,
};

/// Between two looks for who comes, where the first found that nobody can be taken.
const REST: Duration = Duration::from_millis(100);

/// The way to this gateway for the next. Dropping it removes the file.
pub(super) struct Control {
    pub(super) file: SocketFile,
    listener: UnixListener,
    /// What the next one gets.
    pub(super) listeners: Listeners,
}

impl Control {
    /// Opens it beside `path`, so that nothing has happened to the gateway before should this one fail
    /// to serve.
    ///
    /// # Errors
    /// The system's: it cannot be there.
    pub(super) fn open(path: &Path, listeners: Listeners) -> io::Result<Self> {
        if let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)?;
        }
        let (file, listener) = SocketFile::open(path)?;
        Ok(Self {
            file,
            listener,
            listeners,
        })
    }

    /// Who asks for the listeners next. That nobody can be taken now, as without descriptors, passes; it
    /// is told once.
    pub(super) async fn accept(&self) -> UnixStream {
        let mut told = false;
        loop {
            match self.listener.accept().await {
                Ok((next, _)) => return next,
                Err(error) if !told => {
                    told = true;
                    tracing::warn!(path = %self.file.path.display(), %error, "this gateway cannot be replaced now");
                }
                Err(_) => {}
            }
            sleep(REST).await;
        }
    }

    /// Opens it anew where a next one had put its own in place and then did not come to serve.
    pub(super) fn take_back(&mut self) {
        if self.file.is_in_place() {
            return;
        }
        match SocketFile::open(&self.file.path) {
            Ok((file, listener)) => {
                file.put_in_place();
                (self.file, self.listener) = (file, listener);
            }
            Err(error) => cannot_be_replaced(&self.file.path, &error),
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // Before the listener goes: while it is there, no other file has the number of its inode.
        self.file.remove();
    }
}

/// The file of the control socket.
#[derive(Clone)]
pub(super) struct SocketFile {
    /// Where it is until the gateway serves.
    fresh: PathBuf,
    path: PathBuf,
    inode: u64,
}

impl SocketFile {
    fn open(path: &Path) -> io::Result<(Self, UnixListener)> {
        if path.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(format!(".{}", std::process::id()));
        let fresh = PathBuf::from(fresh);
        let _ = fs::remove_file(&fresh);
        let listener = UnixListener::bind(&fresh)?;
        let opened = fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600))
            .and_then(|()| fs::symlink_metadata(&fresh));
        let inode = opened
            .inspect_err(|_| {
                let _ = fs::remove_file(&fresh);
            })?
            .ino();
        let path = path.to_owned();
        let file = Self { fresh, path, inode };
        Ok((file, listener))
    }

    /// Puts it in place whole, and instead of that of the gateway before.
    pub(super) fn put_in_place(&self) {
        if let Err(error) = fs::rename(&self.fresh, &self.path) {
            cannot_be_replaced(&self.path, &error);
        }
    }

    fn is_in_place(&self) -> bool {
        self.is_at(&self.path)
    }

    fn is_at(&self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|file| file.ino() == self.inode)
    }

    /// Removes it, unless another gateway put its own there.
    fn remove(&self) {
        for path in [&self.fresh, &self.path] {
            if self.is_at(path) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// Tells that the gateway runs on without a way for the next one.
pub(super) fn cannot_be_replaced(path: &Path, error: &io::Error) {
    tracing::warn!(path = %path.display(), %error, "this gateway cannot be replaced while it runs");
}
