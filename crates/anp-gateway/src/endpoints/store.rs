//! The registry's file: a table of redb with an endpoint a row, as the JSON of its settings, and one
//! with a DID document a row, as it came.
//!
//! Processes share it, so that a gateway and the one that replaces it have it open at once. Each change
//! counts its revision on, and who did not read the last one changes nothing: what it knows is not what
//! the file holds.

use std::{
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use redb::{
    Builder, ConcurrencyMode, Database, ReadableDatabase as _, ReadableTable, StorageError,
    TableDefinition, TableError,
};

use bytes::Bytes;

use crate::{config::Endpoint, documents::Published, private};

const ENDPOINTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("endpoints");
const DOCUMENTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("documents");
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");

/// What the rows look like. A file with a higher number is of a later version of this program.
const FORMAT: u64 = 1;

/// Memory for pages of the file: what it holds is held by the routes as well.
const CACHE: usize = 1 << 20;

/// The registry's file cannot be used. Names the file.
#[derive(Debug, thiserror::Error)]
#[error("endpoint_store {}: {kind}", path.display())]
pub struct StoreError {
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Redb(Box<redb::Error>),
    #[error("it was written by a later version of this program (format {0})")]
    Later(u64),
    #[error(
        "another gateway has changed it; give each gateway a file of its own, and start this one anew"
    )]
    Changed,
    #[error("an endpoint could not be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Each step of redb fails in a type of its own.
macro_rules! from_redb {
    ($($error:ident)*) => {$(
        impl From<redb::$error> for Kind {
            fn from(error: redb::$error) -> Self {
                Self::Redb(Box::new(error.into()))
            }
        }
    )*};
}
from_redb!(DatabaseError TransactionError TableError StorageError CommitError);

/// A row to write.
#[derive(Debug)]
pub(super) enum Edit {
    Put(Arc<Endpoint>),
    Remove(String),
    PutDocument(Arc<Published>),
    RemoveDocument(String),
}

/// What the file holds.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Every endpoint, by name.
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
    /// Every document, by DID.
    pub(crate) documents: Vec<(String, Bytes)>,
}

/// The registry's file. Calls block.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    database: Option<Database>,
    /// That of the file when it was last read or written here.
    revision: u64,
}

impl Store {
    /// The file at `path`, which the first write makes.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            database: None,
            revision: 0,
        }
    }

    /// All that the file holds. An endpoint that this version cannot use stays as it is and is
    /// left out with a warning.
    ///
    /// # Errors
    /// The file cannot be read, or is none of ours.
    pub(crate) fn load(&mut self) -> Result<Kept, StoreError> {
        let loaded = self.read();
        loaded.map_err(|kind| self.error(kind))
    }

    /// Writes all of `edits`, or none where `may` says so once no other process writes. They are on
    /// the disk when this returns true.
    ///
    /// # Errors
    /// Nothing was written.
    pub(super) fn commit(
        &mut self,
        edits: &[Edit],
        may: impl FnOnce() -> bool,
    ) -> Result<bool, StoreError> {
        let written = self.write(edits, may);
        written.map_err(|kind| self.error(kind))
    }

    /// As [`Store::load`], behind what other processes are writing.
    ///
    /// # Errors
    /// As [`Store::load`].
    pub(super) fn load_behind_others(&mut self) -> Result<Kept, StoreError> {
        if self.database.is_some() || self.path.exists() {
            let behind = self.write(&[], || false);
            behind.map_err(|kind| self.error(kind))?;
        }
        self.load()
    }

    /// After an error of the disk a database takes nothing more, whether there is room again or not: the
    /// next call opens another.
    fn error(&mut self, kind: Kind) -> StoreError {
        self.database = None;
        let path = self.path.clone();
        StoreError { path, kind }
    }

    fn read(&mut self) -> Result<Kept, Kind> {
        if self.database.is_none() && !self.path.try_exists()? {
            return Ok(Kept::default());
        }
        if self.database.is_none() && fs::metadata(&self.path)?.len() == 0 {
            let path = self.path.display();
            tracing::warn!(%path, "the registry of endpoints is an empty file");
        }
        let transaction = self.database()?.begin_read()?;
        match transaction.open_table(ABOUT) {
            Ok(about) => {
                let format = about.get("format")?.map_or(FORMAT, |format| format.value());
                if format > FORMAT {
                    return Err(Kind::Later(format));
                }
                self.revision = revision(&about)?;
            }
            Err(TableError::TableDoesNotExist(_)) => return Ok(Kept::default()),
            Err(error) => return Err(error.into()),
        }
        let mut endpoints = Vec::new();
        for row in transaction.open_table(ENDPOINTS)?.iter()? {
            let (name, json) = row?;
            match endpoint(name.value(), json.value()) {
                Ok(endpoint) => endpoints.push(Arc::new(endpoint)),
                Err(why) => {
                    tracing::warn!(
                        endpoint = name.value(),
                        why,
                        "an endpoint of the registry cannot be used"
                    );
                }
            }
        }
        let mut documents = Vec::new();
        match transaction.open_table(DOCUMENTS) {
            Ok(table) => {
                for row in table.iter()? {
                    let (did, bytes) = row?;
                    let bytes = Bytes::copy_from_slice(bytes.value());
                    documents.push((did.value().to_owned(), bytes));
                }
            }
            // Of a file that had none yet.
            Err(TableError::TableDoesNotExist(_)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Kept {
            endpoints,
            documents,
        })
    }

    fn write(&mut self, edits: &[Edit], may: impl FnOnce() -> bool) -> Result<bool, Kind> {
        let transaction = self.database()?.begin_write()?;
        if !may() {
            transaction.abort()?;
            return Ok(false);
        }
        let next = self.revision + 1;
        {
            let mut about = transaction.open_table(ABOUT)?;
            if revision(&about)? != self.revision {
                return Err(Kind::Changed);
            }
            about.insert("format", FORMAT)?;
            about.insert("revision", next)?;
            let mut table = transaction.open_table(ENDPOINTS)?;
            let mut documents = transaction.open_table(DOCUMENTS)?;
            for edit in edits {
                match edit {
                    Edit::Put(endpoint) => {
                        let json = serde_json::to_vec(&**endpoint)?;
                        table.insert(endpoint.name.as_str(), json.as_slice())?;
                    }
                    Edit::Remove(name) => {
                        table.remove(name.as_str())?;
                    }
                    Edit::PutDocument(document) => {
                        documents.insert(document.did().as_str(), &document.bytes[..])?;
                    }
                    Edit::RemoveDocument(did) => {
                        documents.remove(did.as_str())?;
                    }
                }
            }
        }
        transaction.commit()?;
        self.revision = next;
        Ok(true)
    }

    /// The open file, which is made where there is none.
    fn database(&mut self) -> Result<&Database, Kind> {
        let database = match self.database.take() {
            Some(database) => database,
            None => {
                make(&self.path)?;
                Builder::new()
                    .set_cache_size(CACHE)
                    .set_concurrency_mode(ConcurrencyMode::MultiWriter)
                    .create(&self.path)?
            }
        };
        Ok(self.database.insert(database))
    }
}

/// How often a file was changed: 0 where the version that did so did not count.
fn revision(about: &impl ReadableTable<&'static str, u64>) -> Result<u64, StorageError> {
    Ok(about
        .get("revision")?
        .map_or(0, |revision| revision.value()))
}

/// Makes an empty file that only its owner reads, and its directory, where there are none.
fn make(path: &Path) -> io::Result<()> {
    private::directory_of(path)?;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// The endpoint of a row.
fn endpoint(name: &str, json: &[u8]) -> Result<Endpoint, String> {
    let endpoint: Endpoint = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    endpoint.validate().map_err(|error| error.to_string())?;
    if endpoint.name != name {
        return Err(format!("it says that its name is {:?}", endpoint.name));
    }
    Ok(endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Arc<Endpoint> {
        Arc::new(Endpoint {
            name: name.to_owned(),
            path: format!("/{name}"),
            receivers: vec!["r".to_owned()],
            ..Endpoint::default()
        })
    }

    #[test]
    fn what_was_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deeper/endpoints.redb");
        let mut store = Store::new(path.clone());
        assert_eq!(store.load().unwrap().endpoints, []);
        assert!(!path.exists());
        let (a, b) = (named("a"), named("b"));
        assert!(
            store
                .commit(&[Edit::Put(b.clone()), Edit::Put(a.clone())], || true)
                .unwrap()
        );
        assert_eq!(store.load().unwrap().endpoints, [a, b.clone()]);
        assert!(
            store
                .commit(&[Edit::Remove("a".to_owned())], || true)
                .unwrap()
        );
        drop(store);
        assert_eq!(Store::new(path.clone()).load().unwrap().endpoints, [b]);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(
                fs::metadata(path).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
    }

    #[test]
    fn two_have_it_open_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("endpoints.redb");
        let (mut one, mut other) = (Store::new(path.clone()), Store::new(path));
        assert!(one.commit(&[Edit::Put(named("a"))], || true).unwrap());
        assert_eq!(other.load().unwrap().endpoints, [named("a")]);
        assert!(other.commit(&[Edit::Put(named("b"))], || true).unwrap());
        assert_eq!(one.load().unwrap().endpoints, [named("a"), named("b")]);
        assert!(!one.commit(&[Edit::Put(named("c"))], || false).unwrap());
        let all = other.load_behind_others().unwrap().endpoints;
        assert_eq!(all, [named("a"), named("b")]);
    }

    #[test]
    fn a_change_that_was_not_read_is_not_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("endpoints.redb");
        let (mut one, mut other) = (Store::new(path.clone()), Store::new(path));
        assert!(one.commit(&[Edit::Put(named("a"))], || true).unwrap());
        assert!(one.commit(&[Edit::Put(named("b"))], || true).unwrap());
        let refused = other.commit(&[Edit::Remove("a".to_owned())], || true);
        let told = refused.unwrap_err().to_string();
        assert!(told.contains("another gateway has changed it"), "{told}");
        let all = other.load().unwrap().endpoints;
        assert_eq!(all, [named("a"), named("b")]);
        assert!(
            other
                .commit(&[Edit::Remove("a".to_owned())], || true)
                .unwrap()
        );
        assert!(one.commit(&[Edit::Put(named("c"))], || true).is_err());
    }

    #[test]
    fn rows_that_cannot_be_used_stay() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("endpoints.redb");
        let mut store = Store::new(path.clone());
        assert!(store.commit(&[Edit::Put(named("a"))], || true).unwrap());
        let put = |name: &str, json: &[u8]| {
            let database = Builder::new()
                .set_concurrency_mode(ConcurrencyMode::MultiWriter)
                .create(&path)
                .unwrap();
            let transaction = database.begin_write().unwrap();
            let mut table = transaction.open_table(ENDPOINTS).unwrap();
            table.insert(name, json).unwrap();
            drop(table);
            transaction.commit().unwrap();
        };
        put("b", b"{\"name\": \"b\", \"of_a_later_version\": true}");
        put("c", &serde_json::to_vec(&*named("other")).unwrap());
        put("d", b"{\"name\": \"d\", \"receivers\": []}");
        assert_eq!(store.load().unwrap().endpoints, [named("a")]);
        let database = store.database().unwrap();
        let rows = database
            .begin_read()
            .unwrap()
            .open_table(ENDPOINTS)
            .unwrap();
        assert_eq!(rows.iter().unwrap().count(), 4);
    }

    #[test]
    fn other_files_are_refused_with_their_names() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("other");
        fs::write(&path, b"something else entirely").unwrap();
        let error = Store::new(path).load().unwrap_err().to_string();
        assert!(
            error.starts_with("endpoint_store ") && error.contains("other: "),
            "{error}"
        );

        let path = directory.path().join("later.redb");
        let database = Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction
            .open_table(ABOUT)
            .unwrap()
            .insert("format", 2)
            .unwrap();
        transaction.commit().unwrap();
        drop(database);
        let error = Store::new(path).load().unwrap_err().to_string();
        assert!(error.contains("a later version"), "{error}");
    }
}
