//! The configuration of receivers, read again.

use anp_receiver::{Config, Receiver, Reload};
use tokio::{sync::watch, time::timeout};

use super::{
    failures,
    receivers::{Key, Opened, Receivers, Running},
};
use crate::{config::Loaded, exit::Failure, signals::Stop};

/// What was read again, and can be.
struct Prepared {
    loaded: Loaded,
    /// Those that run, with what is different.
    kept: Vec<(Key, Config, Reload)>,
    added: Vec<(Key, Config, Receiver)>,
}

impl Receivers {
    /// Reads the configuration again and takes up what can change, or, where anything is wrong, nothing.
    pub(super) async fn reload(&mut self) {
        if *self.stop.borrow() > Stop::No {
            return;
        }
        let prepared = self.prepare();
        self.watched().count(prepared.is_ok());
        match prepared {
            Ok(prepared) => self.take_up(prepared).await,
            Err(error) => tracing::error!(%error, "the configuration was not reloaded"),
        }
    }

    fn prepare(&self) -> Result<Prepared, Failure> {
        let loaded = self.loaded.again()?;
        loaded.check_log()?;
        loaded.check_receiver()?;
        loaded.check_receiver_files()?;
        let (mut kept, mut added) = (Vec::new(), Vec::new());
        for (key, config) in loaded.receivers_by_app() {
            let running = self.running.get(&key).filter(|one| !one.has_ended());
            if let Some(running) = running {
                let reload = running.reloader.prepare(config.clone());
                kept.push((key, config, reload.map_err(failures::receiver)?));
            } else {
                let receiver = Receiver::new(config.clone());
                added.push((key, config, receiver.map_err(failures::receiver)?));
            }
        }
        Ok(Prepared {
            loaded,
            kept,
            added,
        })
    }

    async fn take_up(&mut self, prepared: Prepared) {
        let Prepared {
            mut loaded,
            kept,
            added,
        } = prepared;
        let (mut changed, mut waiting) = (Vec::new(), Vec::new());
        // Those that may serve what one did that is gone.
        let mut heirs = Vec::new();
        let mut before = std::mem::take(&mut self.running);
        for (key, config, reload) in kept {
            let Some(mut running) = before.remove(&key) else {
                continue;
            };
            let had = running.ready.borrow().clone();
            let reloaded = running.reloader.take_up(reload).await;
            let names = |keys: [&str; 2]| keys.iter().any(|key| reloaded.changed.contains(key));
            if names(["endpoints", "name"]) {
                heirs.push(Heir::of(&config, &running, had));
            }
            changed.extend(reloaded.changed.iter().map(|name| named(&key, name)));
            waiting.extend(reloaded.kept.iter().map(|name| named(&key, name)));
            running.config = config;
            if names(["gateways", "to"]) {
                running.announce();
            }
            self.running.insert(key, running);
        }
        for (key, config, receiver) in added {
            changed.push(named(&key, ""));
            // One that has ended makes room.
            before.remove(&key);
            self.add(key.clone(), config, receiver);
            let added = self.running.get(&key);
            heirs.extend(added.map(|one| Heir::of(&one.config, one, Opened::new())));
        }
        for (key, running) in before {
            changed.push(named(&key, ""));
            tokio::spawn(remove(running, heirs.clone()));
        }
        self.watch();
        let listens = self.loaded.config.receiver.status_listen;
        if loaded.config.receiver.status_listen != listens {
            waiting.push("status_listen".to_owned());
            loaded.config.receiver.status_listen = listens;
        }
        if loaded.config.log.level != self.log.level {
            changed.push("log.level".to_owned());
        }
        tell(&changed, &waiting);
        loaded.config.log.follow(&mut self.log);
        self.loaded = loaded;
    }
}

/// A receiver that may serve what one did that is gone.
#[derive(Clone)]
struct Heir {
    gateways: Vec<String>,
    /// The tunnels that it opened, and those that it had before the reload.
    opened: watch::Receiver<Opened>,
    had: Opened,
}

impl Heir {
    fn of(config: &Config, running: &Running, had: Opened) -> Self {
        let gateways = config.gateways.iter().map(ToString::to_string).collect();
        let opened = running.ready.clone();
        Self {
            gateways,
            opened,
            had,
        }
    }

    /// Ready once it has a new tunnel to each of its gateways that is one of `gateways`.
    async fn arrives(mut self, gateways: &[String]) {
        let both = self.gateways.iter().filter(|url| gateways.contains(url));
        let both: Vec<_> = both.collect();
        let more = |opened: &Opened| both.iter().all(|url| opened.get(*url) > self.had.get(*url));
        // An error means that it has ended.
        let _ = self.opened.wait_for(more).await;
    }
}

/// Stops a receiver once each of `heirs` can serve at its gateways, or was given the time for that.
async fn remove(running: Running, heirs: Vec<Heir>) {
    let patience = running.config.handshake_timeout.0;
    let gateways = running.config.gateways.iter().map(ToString::to_string);
    let gateways: Vec<_> = gateways.collect();
    let all = async {
        for heir in heirs {
            heir.arrives(&gateways).await;
        }
    };
    // What is late comes as to an endpoint that had nobody.
    let _ = timeout(patience, all).await;
    let _ = running.remove.send(());
}

/// A key of `[receiver]`, or of the app `app`; its table where the key is empty.
fn named(app: &Key, key: &str) -> String {
    match (app, key) {
        (None, "") => "receiver".to_owned(),
        (None, key) => key.to_owned(),
        (Some(app), "") => format!("apps.{app}"),
        (Some(app), key) => format!("apps.{app}.{key}"),
    }
}

fn tell(changed: &[String], waiting: &[String]) {
    match changed {
        [] => tracing::info!("configuration reloaded: nothing changed"),
        changed => tracing::info!(changed = changed.join(" "), "configuration reloaded"),
    }
    if !waiting.is_empty() {
        tracing::warn!(
            keys = waiting.join(" "),
            "these settings change only with a restart"
        );
    }
}
