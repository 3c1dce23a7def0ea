//! Another configuration for a receiver that runs.

use std::{convert::Infallible, sync::Arc};

use tokio::sync::mpsc;

use crate::{
    config::{
        Config, ConfigError,
        changes::{Changes, Files},
    },
    error::Error,
    proof::Identity,
    settings::Settings,
};

/// Judges what a receiver is made of.
pub(crate) type Validate = fn(&Config) -> Result<(), ConfigError>;

/// Lets a receiver that runs take up another configuration, in two steps, so that several take up one
/// file together or not at all.
#[derive(Debug)]
pub struct Reloader {
    validate: Validate,
    /// What it was given last, and what was in the files then.
    config: Config,
    files: Files,
    sender: mpsc::UnboundedSender<Next>,
}

/// A configuration that was checked and waits to be taken up.
#[derive(Debug)]
pub struct Reload {
    config: Config,
    files: Files,
    /// None where nothing is different.
    settings: Option<Box<Settings>>,
    changes: Changes,
}

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Keys whose new values are in effect, or will be with the tunnels that are being opened.
    pub changed: Vec<&'static str>,
    /// Keys whose new values wait for a restart: the receiver keeps the old ones.
    pub kept: Vec<&'static str>,
}

/// What the receiver is told of it.
#[derive(Debug)]
pub(crate) struct Next {
    pub(crate) settings: Option<Box<Settings>>,
    /// The app is another, or is called in another way.
    pub(crate) app: bool,
    /// No tunnel can stay.
    pub(crate) tunnels: bool,
    /// Dropped once all is under way.
    pub(crate) done: mpsc::Sender<Infallible>,
}

impl Reloader {
    pub(crate) fn new(
        config: Config,
        files: Files,
        validate: Validate,
        sender: mpsc::UnboundedSender<Next>,
    ) -> Self {
        Self {
            validate,
            config,
            files,
            sender,
        }
    }

    /// Checks `config` as when a receiver is made of it, and reads the files it names. Nothing changes
    /// yet.
    ///
    /// # Errors
    /// As [`Receiver::new`](crate::Receiver::new), and TLS could not be set up.
    pub fn prepare(&self, mut config: Config) -> Result<Reload, Error> {
        (self.validate)(&config)?;
        let files = Files::of(&config);
        let changes = Changes::between((&self.config, &self.files), &mut config, &files);
        let settings = match changes.changed.is_empty() {
            true => None,
            false => {
                let identity = Identity::load(&config)?;
                if changes.tunnels {
                    identity.tell();
                }
                let settings = Settings::new(config.clone(), Arc::new(identity))?;
                Some(Box::new(settings))
            }
        };
        Ok(Reload {
            config,
            files,
            settings,
            changes,
        })
    }

    /// Takes up what was prepared last. When this is ready requests go to the app that it names, and
    /// tunnels that have to be opened for it are being opened: those that they replace serve until they
    /// are ready. A gateway that was given up is asked again.
    ///
    /// What it does to a receiver that is not started happens with the start; one that has ended or
    /// stops takes up nothing.
    pub async fn take_up(&mut self, reload: Reload) -> Reloaded {
        let Reload {
            config,
            files,
            settings,
            changes,
        } = reload;
        (self.config, self.files) = (config, files);
        let (done, mut is_done) = mpsc::channel(1);
        let next = Next {
            settings,
            app: changes.app,
            tunnels: changes.tunnels,
            done,
        };
        // Word to one that has ended is dropped, and is done with that.
        let _ = self.sender.send(next);
        let _: Option<Infallible> = is_done.recv().await;
        Reloaded {
            changed: changes.changed,
            kept: changes.kept,
        }
    }
}
