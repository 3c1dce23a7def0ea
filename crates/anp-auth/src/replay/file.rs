//! Nonces in a file, so that a restart does not make used headers good again.
//!
//! A use succeeds only once it is on disk. Memory decides who is first; a thread writes, all that
//! came while it wrote in one commit, so that a crowd shares an `fsync` and no event loop waits for
//! the disk.

use std::{
    fs::OpenOptions,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread::JoinHandle,
    time::Instant,
};

use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition,
    backends::FileBackend,
};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::{Once, ReplayStore, SpendError, table::Table, trouble::Trouble};
use crate::resolver::BoxFuture;

/// Expiry (big-endian, so that the order is that of time), DID and nonce.
type Key = [u8; 40];

const NONCES: TableDefinition<'static, Key, ()> = TableDefinition::new("nonces");

/// When the file was made, in seconds since 1970, under the key "since".
const ABOUT: TableDefinition<'static, &str, i64> = TableDefinition::new("about");

/// Memory of the database's own; everything that is looked up is in ours.
const CACHE: usize = 4 << 20;

/// Uses written in one commit.
const BATCH: usize = 4096;

/// Keeps nonces in a file of its own, which one process has open at a time.
#[derive(Debug)]
pub struct FileReplay {
    table: Mutex<Table>,
    since: i64,
    /// `None` only while it is dropped.
    writes: Option<mpsc::UnboundedSender<Write>>,
    writer: Option<JoinHandle<()>>,
}

/// Why the file cannot be used.
#[derive(Debug, Error)]
pub enum FileReplayError {
    /// Another process has it open.
    #[error("{}: another process has the file open", .0.display())]
    InUse(PathBuf),
    /// The system refuses it.
    #[error("{}: {source}", .file.display())]
    Io {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is damaged, or something else than a store of nonces.
    #[error("{}: {reason}; remove it to start anew, and everybody has to sign again", .file.display())]
    Damaged {
        /// Which file.
        file: PathBuf,
        /// What the database says.
        reason: String,
    },
}

struct Write {
    once: Once,
    done: oneshot::Sender<Result<(), SpendError>>,
}

impl FileReplay {
    /// Opens the file, or makes it. `now` is in seconds since 1970. Blocks for a moment.
    ///
    /// # Errors
    ///
    /// [`FileReplayError`].
    pub fn open(file: &Path, now: i64) -> Result<Self, FileReplayError> {
        let database = open(file)?;
        let loaded = load(&database, now);
        let (table, since) = loaded.map_err(|error| damaged(file, error.to_string()))?;
        let (writes, taken) = mpsc::unbounded_channel();
        let path = file.to_owned();
        let writer = std::thread::Builder::new()
            .name("nonces".into())
            .spawn(move || write(database, || open(&path), taken))
            .map_err(|source| failed(file, source))?;
        Ok(Self {
            table: Mutex::new(table),
            since,
            writes: Some(writes),
            writer: Some(writer),
        })
    }
}

impl ReplayStore for FileReplay {
    fn spend<'a>(&'a self, once: &Once) -> BoxFuture<'a, Result<(), SpendError>> {
        let spent = {
            let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
            table.spend(once)
        };
        let (done, written) = oneshot::channel();
        let sent = spent.and_then(|()| {
            let write = Write { once: *once, done };
            // The queue is as bounded as the table is.
            let sent = self.writes.as_ref().map(|writes| writes.send(write));
            match sent {
                Some(Ok(())) => Ok(()),
                _ => Err(SpendError::Broken("the writer has ended".into())),
            }
        });
        Box::pin(async move {
            sent?;
            let written = written.await;
            written.unwrap_or_else(|_| Err(SpendError::Broken("the writer has ended".into())))
        })
    }

    fn complete_since(&self) -> BoxFuture<'_, Result<i64, SpendError>> {
        Box::pin(std::future::ready(Ok(self.since)))
    }
}

impl Drop for FileReplay {
    /// Waits for the last commit, so that the file is free afterwards.
    fn drop(&mut self) {
        self.writes = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn failed(file: &Path, source: io::Error) -> FileReplayError {
    let file = file.to_owned();
    FileReplayError::Io { file, source }
}

fn damaged(file: &Path, reason: String) -> FileReplayError {
    let file = file.to_owned();
    FileReplayError::Damaged { file, reason }
}

/// Opens the file, or makes it.
fn open(file: &Path) -> Result<Database, FileReplayError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let opened = options.open(file).map_err(|source| failed(file, source))?;
    let database = FileBackend::new(opened).and_then(|backend| {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE).create_with_backend(backend)
    });
    database.map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => FileReplayError::InUse(file.to_owned()),
        other => damaged(file, other.to_string()),
    })
}

/// Everything that has not expired, and since when that is everything.
fn load(database: &Database, now: i64) -> Result<(Table, i64), redb::Error> {
    let transaction = database.begin_write()?;
    let since = {
        let mut about = transaction.open_table(ABOUT)?;
        let known = about.get("since")?.map(|value| value.value());
        if known.is_none() {
            about.insert("since", now)?;
        }
        transaction
            .open_table(NONCES)?
            .retain_in(..prefix(now), |_, ()| false)?;
        known.unwrap_or(now)
    };
    transaction.commit()?;
    let mut table = Table::default();
    for entry in database.begin_read()?.open_table(NONCES)?.iter()? {
        let (key, _) = entry?;
        let key = key.value();
        let (expiry, rest) = key.split_at(8);
        let (did, nonce) = rest.split_at(16);
        if let (Ok(expiry), Ok(did), Ok(nonce)) =
            (expiry.try_into(), did.try_into(), nonce.try_into())
        {
            table.insert(did, nonce, i64::from_be_bytes(expiry));
        }
    }
    Ok((table, since))
}

/// Writes until the store is dropped. After an error of the disk a database takes nothing more, whether
/// there is room again or not: it is given up, and what comes next opens another.
fn write(
    database: Database,
    reopen: impl Fn() -> Result<Database, FileReplayError>,
    mut taken: mpsc::UnboundedReceiver<Write>,
) {
    let mut database = Some(database);
    let mut trouble = Trouble::default();
    let mut batch = Vec::new();
    while taken.blocking_recv_many(&mut batch, BATCH) > 0 {
        let opened = match database.take() {
            Some(database) => Ok(database),
            None => reopen().map_err(|error| error.to_string()),
        };
        let written = opened.and_then(|database| {
            commit(&database, &batch).map_err(|error| error.to_string())?;
            Ok(database)
        });
        let result = match written {
            Ok(written) => {
                database = Some(written);
                if trouble.is_over() {
                    tracing::info!("used nonces can be written down again");
                }
                Ok(())
            }
            Err(error) => {
                if trouble.is_news(Instant::now()) {
                    tracing::error!(%error, "used nonces cannot be written down, so that nobody is let in by a signature");
                }
                Err(SpendError::Broken(error))
            }
        };
        for write in batch.drain(..) {
            // Who asked may have gone; the nonce is spent all the same.
            let _ = write.done.send(result.clone());
        }
    }
}

fn commit(database: &Database, batch: &[Write]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut nonces = transaction.open_table(NONCES)?;
        for Write { once, .. } in batch {
            nonces.insert(key(once), ())?;
        }
        let now = batch.iter().map(|write| write.once.now).max();
        nonces.retain_in(..prefix(now.unwrap_or(0)), |_, ()| false)?;
    }
    transaction.commit()?;
    Ok(())
}

fn key(once: &Once) -> Key {
    let mut key = prefix(once.expires_at);
    let (_, rest) = key.split_at_mut(8);
    let (did, nonce) = rest.split_at_mut(16);
    did.copy_from_slice(&once.did);
    nonce.copy_from_slice(&once.nonce);
    key
}

/// The least key that expires at `expiry`.
fn prefix(expiry: i64) -> Key {
    let mut key = [0; 40];
    let (start, _) = key.split_at_mut(8);
    start.copy_from_slice(&expiry.max(0).to_be_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn once(nonce: &str, expires_at: i64, now: i64) -> Once {
        Once::new(
            &"did:wba:a.example".parse().unwrap(),
            nonce,
            expires_at,
            now,
        )
    }

    #[tokio::test]
    async fn a_restart_forgets_nothing_that_could_be_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("nonces.redb");
        let store = FileReplay::open(&file, 100).unwrap();
        assert_eq!(store.complete_since().await, Ok(100));
        assert_eq!(store.spend(&once("a", 400, 100)).await, Ok(()));
        assert_eq!(store.spend(&once("b", 200, 100)).await, Ok(()));
        assert_eq!(
            store.spend(&once("a", 400, 100)).await,
            Err(SpendError::Used)
        );
        drop(store);
        let store = FileReplay::open(&file, 300).unwrap();
        assert_eq!(store.complete_since().await, Ok(100));
        assert_eq!(
            store.spend(&once("a", 400, 300)).await,
            Err(SpendError::Used)
        );
        assert_eq!(store.spend(&once("b", 600, 300)).await, Ok(()));
    }

    #[tokio::test]
    async fn of_a_thousand_at_once_one_succeeds() {
        let dir = tempfile::tempdir().unwrap();
        let store = FileReplay::open(&dir.path().join("nonces.redb"), 0).unwrap();
        let store = std::sync::Arc::new(store);
        let mut tries = tokio::task::JoinSet::new();
        for _ in 0..1000 {
            let store = store.clone();
            tries.spawn(async move { store.spend(&once("n", 400, 100)).await });
        }
        let results = tries.join_all().await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    }

    #[tokio::test]
    async fn what_has_expired_leaves_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("nonces.redb");
        let store = FileReplay::open(&file, 0).unwrap();
        for n in 0..100 {
            store.spend(&once(&n.to_string(), 10, 0)).await.unwrap();
        }
        store.spend(&once("later", 30, 20)).await.unwrap();
        drop(store);
        let database = Database::open(&file).unwrap();
        let read = database.begin_read().unwrap();
        let nonces = read.open_table(NONCES).unwrap();
        assert_eq!(nonces.iter().unwrap().count(), 1);
    }

    #[test]
    fn the_file_is_ours_alone_and_must_be_whole() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("nonces.redb");
        let store = FileReplay::open(&file, 0).unwrap();
        assert!(matches!(
            FileReplay::open(&file, 0),
            Err(FileReplayError::InUse(_))
        ));
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(
                &std::fs::metadata(&file).unwrap().permissions(),
            );
            assert_eq!(mode & 0o777, 0o600);
        }
        drop(store);
        std::fs::write(&file, "not a database").unwrap();
        assert!(matches!(
            FileReplay::open(&file, 0),
            Err(FileReplayError::Damaged { .. })
        ));
        let nowhere = dir.path().join("no/such");
        assert!(matches!(
            FileReplay::open(&nowhere, 0),
            Err(FileReplayError::Io { .. })
        ));
    }
}
