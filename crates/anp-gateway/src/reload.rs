//! A configuration read again while the gateway runs.

use std::{
    fmt,
    sync::{Arc, OnceLock, Weak, atomic::Ordering::Relaxed},
};

use parking_lot::Mutex;

use crate::{
    config::{Config, ConfigError},
    settings::Settings,
    worker::Shared,
};

/// Reads the configuration again; says what is wrong with it where it cannot.
pub(crate) type Source = Box<dyn Fn() -> Result<Config, String> + Send + Sync>;

/// Lets a running gateway take up its configuration anew, from where it was first read.
///
/// Nothing is dropped by it: connections and tunnels go on, requests under way end as they began.
#[derive(Clone, Default)]
pub struct Reloader(Arc<Inner>);

#[derive(Default)]
struct Inner {
    source: OnceLock<Source>,
    /// Told of each reload.
    then: OnceLock<Box<dyn Fn() + Send + Sync>>,
    gateway: Arc<OnceLock<Weak<Shared>>>,
    one_at_a_time: Mutex<()>,
}

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Keys whose new values are in effect.
    pub changed: Vec<&'static str>,
    /// Keys whose new values wait for a restart (or `--replace`): the gateway keeps the old ones.
    pub kept: Vec<&'static str>,
}

/// Why a reload changed nothing. `Display` says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReloadError {
    /// The gateway does not run, or was not told where its configuration comes from.
    #[error("this gateway cannot read its configuration again")]
    Unavailable,
    /// The configuration could not be read.
    #[error("{0}")]
    Unreadable(String),
    /// A setting cannot be.
    #[error("gateway.{0}")]
    Invalid(#[from] ConfigError),
}

impl Reloader {
    pub(crate) fn is_from(&self, source: Source) {
        let _ = self.0.source.set(source);
    }

    pub(crate) fn tells(&self, then: Box<dyn Fn() + Send + Sync>) {
        let _ = self.0.then.set(then);
    }

    pub(crate) fn runs(&self, shared: &Arc<Shared>) {
        let _ = self.0.gateway.set(Arc::downgrade(shared));
    }

    /// The gateway, once it runs.
    pub(crate) fn gateway(&self) -> &Arc<OnceLock<Weak<Shared>>> {
        &self.0.gateway
    }

    /// Reads the configuration again and takes up what can change.
    ///
    /// # Errors
    /// Nothing was changed: [`ReloadError`] says why.
    pub fn reload(&self) -> Result<Reloaded, ReloadError> {
        let _one_at_a_time = self.0.one_at_a_time.lock();
        let gateway = self.0.gateway.get().and_then(Weak::upgrade);
        let (Some(source), Some(shared)) = (self.0.source.get(), gateway) else {
            return Err(ReloadError::Unavailable);
        };
        let config = source().map_err(ReloadError::Unreadable);
        let reloaded = config.and_then(|config| take_up(&shared, config));
        match &reloaded {
            Ok(Reloaded { changed, kept }) => {
                shared.reloads.taken.fetch_add(1, Relaxed);
                if let Some(then) = self.0.then.get() {
                    then();
                }
                tracing::info!(changed = changed.join(" "), "configuration reloaded");
                if !kept.is_empty() {
                    tracing::warn!(
                        keys = kept.join(" "),
                        "these settings change only with a restart or --replace"
                    );
                }
            }
            Err(error) => {
                shared.reloads.refused.fetch_add(1, Relaxed);
                tracing::error!(%error, "the configuration was not reloaded");
            }
        }
        reloaded
    }
}

fn take_up(shared: &Shared, mut config: Config) -> Result<Reloaded, ReloadError> {
    config.validate()?;
    let before = shared.settings.load();
    let kept = config.keep_fixed(&before.config);
    // Again: what was kept must fit what is new.
    config.validate()?;
    let changed = config.differences(&before.config);
    let mut settings = Settings::new(config)?;
    settings.rates.follow(&before.rates);
    for lost in settings.config.lost_owners() {
        tracing::warn!("{lost}");
    }
    let settings = Arc::new(settings);
    // First, so that endpoints that come meanwhile are made with it or made anew.
    shared.settings.store(settings.clone());
    shared.places.follow(&settings.config);
    shared.routes.configure(&settings.config, |table| {
        shared.tunnels.join_ahead(table, |_| true);
    });
    if let Some(auth) = &shared.auth {
        auth.follow(&settings.config);
    }
    shared.tunnels.follow_routes();
    if let Some(keeper) = &shared.tls {
        // Bad files leave the old certificates in place and are in the log and the metrics.
        let _ = keeper.reload();
    }
    Ok(Reloaded { changed, kept })
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reloader")
    }
}
