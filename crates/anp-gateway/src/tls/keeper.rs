//! Keeps what listeners show up to date with the files it came from.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use anp_tls::{
    CertificateFacts, FileError, provider,
    read::{self, WorldReadable},
};
use parking_lot::Mutex;
use rustls::{
    RootCertStore, ServerConfig,
    server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier},
};

use super::{
    accept::Tls,
    acme::cache,
    settings::KeyPair,
    store::{ACME_TLS, Certificate, Store},
};
use crate::{
    config::Config,
    error::GatewayError,
    listener::Listener,
    stop::{Step, Stop},
};

/// Time between two looks at the files. A change is taken once it has stood for as long.
const LOOK: Duration = Duration::from_secs(1);

/// How long before its end a certificate is warned of, and how often.
const WARN_BEFORE: Duration = Duration::from_secs(14 * 86_400);
const WARN_EVERY: Duration = Duration::from_secs(86_400);

/// The certificates of a gateway and the listeners that show them.
#[derive(Debug)]
pub(crate) struct Keeper {
    public: Option<Arc<Tls>>,
    tunnel: Option<Arc<Tls>>,
    groups: Vec<Group>,
    client_ca: Option<PathBuf>,
    /// The store behind the public listener.
    public_store: Option<Arc<Store>>,
    /// The store behind the tunnel listener.
    tunnel_store: Option<Arc<Store>>,
    readable: WorldReadable,
    /// Reloads that found something bad.
    failures: AtomicU64,
}

/// Certificates that are shown together.
#[derive(Debug)]
struct Group {
    pairs: Vec<Source>,
    store: Arc<Store>,
    /// In the order of `pairs`.
    current: Mutex<Vec<Option<Certificate>>>,
}

/// Where a certificate comes from.
#[derive(Debug)]
struct Source {
    pair: KeyPair,
    /// It may be missing: ACME has not brought it yet.
    later: bool,
}

impl Keeper {
    /// Reads every file that `config` names. `None` where no listener speaks TLS.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(crate) fn new(config: &Config) -> Result<Option<Self>, GatewayError> {
        let readable = config.readable_keys();
        let mut groups = Vec::new();
        let mut group = |key, pairs| -> Result<Arc<Store>, GatewayError> {
            let group = Group::new(pairs, readable);
            let group = group.map_err(|source| GatewayError::Tls { key, source })?;
            let store = group.store.clone();
            groups.push(group);
            Ok(store)
        };
        let mut shown = Vec::new();
        if let Some(tls) = &config.tls {
            let now = |pair| Source { pair, later: false };
            shown.extend(tls.pairs().into_iter().map(now));
        }
        if let Some(acme) = &config.acme {
            let failed = |source| GatewayError::Tls {
                key: "acme.cache",
                source,
            };
            cache::prepare(&acme.cache).map_err(failed)?;
            let path = cache::certificate_path(&acme.cache);
            shown.push(Source {
                pair: KeyPair {
                    cert: path.clone(),
                    key: path,
                },
                later: true,
            });
        }
        let shown = match shown.is_empty() {
            false => Some(group("tls", shown)?),
            true => None,
        };
        let settings = config.tunnel_tls.as_ref();
        let own = settings.and_then(|tls| tls.pair());
        let tunnel_store = match own {
            Some(pair) => Some(group("tunnel_tls", vec![Source { pair, later: false }])?),
            None => shown.clone(),
        };
        let tunnel_store = tunnel_store.filter(|_| config.has_tunnel_tls());
        let client_ca = settings.and_then(|tls| tls.client_ca.clone());
        let tunnel = match &tunnel_store {
            Some(store) => Some(tunnel_config(store.clone(), client_ca.as_deref())?),
            None => None,
        };
        if shown.is_none() && tunnel.is_none() {
            return Ok(None);
        }
        let public = match &shown {
            Some(store) => Some(public_config(store.clone(), config.acme.is_some())?),
            None => None,
        };
        let listener = |listener| move |config| Arc::new(Tls::new(listener, config));
        let keeper = Self {
            public_store: shown,
            public: public.map(listener(Listener::Public)),
            tunnel: tunnel.map(listener(Listener::Tunnel)),
            groups,
            client_ca,
            tunnel_store,
            readable,
            failures: AtomicU64::new(0),
        };
        Ok(Some(keeper))
    }

    /// TLS of a listener; `None` where it is plain.
    pub(crate) fn of(&self, listener: Listener) -> Option<&Arc<Tls>> {
        match listener {
            Listener::Public => self.public.as_ref(),
            Listener::Tunnel => self.tunnel.as_ref(),
            Listener::Redirect => None,
        }
    }

    /// TLS of every listener that speaks it.
    pub(crate) fn listeners(&self) -> impl Iterator<Item = &Arc<Tls>> {
        self.public.iter().chain(&self.tunnel)
    }

    /// The certificates in use, each with its file.
    pub(crate) fn certificates(&self) -> Vec<(String, CertificateFacts)> {
        let of = |group: &Group| -> Vec<_> {
            let current = group.current.lock();
            let all = group.pairs.iter().zip(current.iter());
            let of = |(source, current): (&Source, &Option<Certificate>)| {
                let facts = current.as_ref()?.facts.clone();
                Some((source.pair.cert.display().to_string(), facts))
            };
            all.filter_map(of).collect()
        };
        self.groups.iter().flat_map(of).collect()
    }

    /// What the certificate in use says that came from `file`.
    pub(crate) fn facts(&self, file: &Path) -> Option<CertificateFacts> {
        let file = file.display().to_string();
        let mut all = self.certificates().into_iter();
        all.find(|(of, _)| *of == file).map(|(_, facts)| facts)
    }

    /// What is shown to callers.
    pub(crate) fn public_store(&self) -> Option<&Arc<Store>> {
        self.public_store.as_ref()
    }

    /// Reloads so far that found something bad.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Reads every file anew. What is good is shown from the next handshake on; of what is bad the
    /// old stays. Connections are not touched.
    ///
    /// # Errors
    /// What is bad, and why; each is in the log, too.
    pub(crate) fn reload(&self) -> Result<(), Vec<FileError>> {
        let mut errors = Vec::new();
        for group in &self.groups {
            group.reload(self.readable, &mut errors);
        }
        if let (Some(ca), Some(tls), Some(store)) =
            (&self.client_ca, &self.tunnel, &self.tunnel_store)
        {
            match tunnel_config(store.clone(), Some(ca)) {
                Ok(config) => tls.set(config),
                Err(GatewayError::Tls { source, .. }) => errors.push(source),
                Err(error) => errors.push(FileError::new(ca, error.to_string())),
            }
        }
        for error in &errors {
            tracing::error!(%error, "a new certificate cannot be used; the old one stays");
        }
        match errors.is_empty() {
            true => Ok(()),
            false => {
                self.failures.fetch_add(1, Relaxed);
                Err(errors)
            }
        }
    }

    /// Reloads when files changed, and warns of certificates that end soon, until everything ends.
    pub(crate) async fn watch(self: Arc<Self>, stop: &Stop) {
        let mut files = Files::default();
        let mut warned = None;
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                () = stop.reached(Step::Now) => return,
            }
            let keeper = self.clone();
            // Files may be on a disk that makes us wait.
            let look = tokio::task::spawn_blocking(move || {
                if files.have_changed(keeper.paths()) {
                    // What is wrong is in the log.
                    let _ = keeper.reload();
                }
                files
            });
            files = look.await.unwrap_or_else(|_| {
                tracing::error!("the certificates' files could not be looked at");
                Files::default()
            });
            let now = SystemTime::now();
            let due = |last: SystemTime| now.duration_since(last).is_ok_and(|t| t >= WARN_EVERY);
            if warned.is_none_or(due) {
                warned = Some(now);
                self.warn_of_ends(now);
            }
        }
    }

    fn warn_of_ends(&self, now: SystemTime) {
        for (file, facts) in self.certificates() {
            match facts.not_after.duration_since(now) {
                Err(_) => tracing::error!(name = facts.name(), file, "the certificate has expired"),
                Ok(left) if left <= WARN_BEFORE => tracing::warn!(
                    name = facts.name(),
                    file,
                    days = left.as_secs() / 86_400,
                    "the certificate expires soon"
                ),
                Ok(_) => {}
            }
        }
    }

    fn paths(&self) -> impl Iterator<Item = &Path> {
        let pairs = self.groups.iter().flat_map(|group| &group.pairs);
        let files = pairs.flat_map(|of| [of.pair.cert.as_path(), of.pair.key.as_path()]);
        files.chain(self.client_ca.as_deref())
    }
}

impl Group {
    fn new(pairs: Vec<Source>, readable: WorldReadable) -> Result<Self, FileError> {
        let load = |source: &Source| source.read(readable);
        let current: Vec<_> = pairs.iter().map(load).collect::<Result<_, _>>()?;
        let group = Self {
            pairs,
            store: Arc::default(),
            current: Mutex::new(current),
        };
        group.show(&group.current.lock());
        Ok(group)
    }

    fn show(&self, current: &[Option<Certificate>]) {
        let there: Vec<_> = current.iter().flatten().cloned().collect();
        self.store.set(&there);
    }

    fn reload(&self, readable: WorldReadable, errors: &mut Vec<FileError>) {
        let mut current = self.current.lock();
        let now = SystemTime::now();
        for (source, old) in self.pairs.iter().zip(current.iter_mut()) {
            let new = match source.read(readable) {
                Ok(Some(new)) => new,
                Ok(None) => continue,
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            };
            let lives = |old: &Certificate| !old.facts.has_expired(now);
            let cert = &source.pair.cert;
            if old.as_ref().is_some_and(|old| old.key.cert == new.key.cert) {
                continue;
            }
            if new.facts.has_expired(now) && old.as_ref().is_some_and(lives) {
                errors.push(FileError::new(cert, "the certificate has expired"));
                continue;
            }
            tracing::info!(name = new.facts.name(), file = %cert.display(), "new certificate");
            *old = Some(new);
        }
        self.show(&current);
    }
}

impl Source {
    /// `None` where it may be missing and is.
    fn read(&self, readable: WorldReadable) -> Result<Option<Certificate>, FileError> {
        match self.later && !self.pair.cert.exists() {
            true => Ok(None),
            false => Certificate::read(&self.pair, readable).map(Some),
        }
    }
}

impl Certificate {
    fn read(pair: &KeyPair, readable: WorldReadable) -> Result<Self, FileError> {
        let key = read::certified_key(&pair.cert, &pair.key, readable)?;
        let facts = key.cert.first().and_then(CertificateFacts::of);
        let facts = facts.ok_or_else(|| {
            FileError::new(&pair.cert, "its first certificate is not one of version 3")
        })?;
        Ok(Self {
            key: Arc::new(key),
            facts,
        })
    }
}

/// What was last seen of files.
#[derive(Debug, Default)]
struct Files {
    /// What was loaded; `None` where nobody looked at that time.
    loaded: Option<Seen>,
    /// What was there at the last look.
    last: Seen,
}

/// A file as its directory shows it: enough to see that another was put in its place.
type Seen = HashMap<PathBuf, Option<(Option<SystemTime>, u64, u64)>>;

impl Files {
    /// True where files are not those loaded, and have been so for two looks: who writes several
    /// files is given the time.
    fn have_changed<'a>(&mut self, paths: impl Iterator<Item = &'a Path>) -> bool {
        let seen: Seen = paths.map(|path| (path.to_owned(), stat(path))).collect();
        let stands = seen == std::mem::replace(&mut self.last, seen.clone());
        if !stands || self.loaded.as_ref() == Some(&seen) {
            return false;
        }
        self.loaded = Some(seen);
        true
    }
}

fn stat(path: &Path) -> Option<(Option<SystemTime>, u64, u64)> {
    let meta = fs::metadata(path).ok()?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&meta);
    #[cfg(not(unix))]
    let inode = 0;
    Some((meta.modified().ok(), meta.len(), inode))
}

fn public_config(store: Arc<Store>, acme: bool) -> Result<ServerConfig, GatewayError> {
    let mut config = builder()?.with_no_client_auth().with_cert_resolver(store);
    config.alpn_protocols = [&b"h2"[..], b"http/1.1", b"http/1.0"]
        .map(<[u8]>::to_vec)
        .to_vec();
    if acme {
        config.alpn_protocols.push(ACME_TLS.to_vec());
    }
    config.ticketer = ticketer()?;
    Ok(config)
}

/// Tunnels come seldom and stay long. Where receivers must show certificates none is resumed: that
/// would believe one that was good an hour ago.
fn tunnel_config(
    store: Arc<Store>,
    client_ca: Option<&Path>,
) -> Result<ServerConfig, GatewayError> {
    let mut config = match client_ca {
        None => builder()?.with_no_client_auth().with_cert_resolver(store),
        Some(path) => {
            let failed = |source| GatewayError::Tls {
                key: "tunnel_tls.client_ca",
                source,
            };
            let mut roots = RootCertStore::empty();
            anp_tls::authorities(&mut roots, path).map_err(failed)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider())
                .build()
                .map_err(|error| failed(FileError::new(path, error.to_string())))?;
            let mut config = builder()?
                .with_client_cert_verifier(verifier)
                .with_cert_resolver(store);
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            config
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if client_ca.is_none() {
        config.ticketer = ticketer()?;
    }
    Ok(config)
}

type Builder = rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier>;

/// TLS 1.3 and 1.2.
fn builder() -> Result<Builder, GatewayError> {
    ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(GatewayError::Crypto)
}

/// Keys for tickets, which change by themselves and never leave the process.
fn ticketer() -> Result<Arc<dyn ProducesTickets>, GatewayError> {
    rustls::crypto::aws_lc_rs::Ticketer::new().map_err(GatewayError::Crypto)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_it_stands() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.pem");
        let mut files = Files::default();
        let mut look = || files.have_changed(std::iter::once(path.as_path()));
        assert!(!look() && look());
        assert!(!look());
        fs::write(&path, "a").unwrap();
        assert!(!look());
        fs::write(&path, "ab").unwrap();
        assert!(!look());
        assert!(look());
        assert!(!look());
        fs::remove_file(&path).unwrap();
        assert!(!look());
        assert!(look());
        assert!(!look());
    }
}
