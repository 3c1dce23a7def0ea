//! The receivers of a process, one for each app, which come and go when its configuration is read again.

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{Arc, Mutex, PoisonError},
};

use anp_receiver::{Config, Event, Monitor, Receiver, Reloader};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{self, JoinError, JoinSet},
};

use super::{apps, failures, serving::list};
use crate::{
    config::Loaded,
    exit::Failure,
    logging::LogConfig,
    signals::{self, Stop},
    status::Watched,
    stdout,
};

/// The key of an app; `None` where the process has one without.
pub(super) type Key = Option<String>;

/// Tunnels that became ready, by the address of their gateway.
pub(super) type Opened = BTreeMap<String, u64>;

/// The receivers of a process, which run.
pub(super) struct Receivers {
    /// What they were started with, or took up last.
    pub(super) loaded: Loaded,
    /// What the log runs with.
    pub(super) log: LogConfig,
    pub(super) stop: watch::Receiver<Stop>,
    pub(super) running: BTreeMap<Key, Running>,
    ends: JoinSet<Result<(), Failure>>,
    /// Why some ended that were not started again.
    failures: Vec<(Key, Failure)>,
    watched: Arc<Watched>,
}

/// A receiver that runs.
pub(super) struct Running {
    pub(super) config: Config,
    pub(super) reloader: Reloader,
    /// Has it stop although the process does not.
    pub(super) remove: oneshot::Sender<()>,
    /// How many tunnels became ready, by the address of their gateway.
    pub(super) ready: watch::Receiver<Opened>,
    monitor: Monitor,
    /// Its apps, for those who read where URLs lead.
    apps: Arc<Mutex<String>>,
    task: task::Id,
}

impl Receivers {
    /// Starts those of `loaded`.
    ///
    /// # Errors
    /// One cannot be made: none was started then.
    pub(super) fn start(loaded: Loaded, stop: watch::Receiver<Stop>) -> Result<Self, Failure> {
        let mut made = Vec::new();
        for (key, config) in loaded.receivers_by_app() {
            let receiver = Receiver::new(config.clone()).map_err(failures::receiver)?;
            made.push((key, config, receiver));
        }
        let mut receivers = Self {
            log: loaded.config.log.clone(),
            loaded,
            stop,
            running: BTreeMap::new(),
            ends: JoinSet::new(),
            failures: Vec::new(),
            watched: Arc::default(),
        };
        for (key, config, receiver) in made {
            receivers.add(key, config, receiver);
        }
        receivers.watch();
        Ok(receivers)
    }

    /// What the status listener shows of them.
    pub(super) fn watched(&self) -> Arc<Watched> {
        Arc::clone(&self.watched)
    }

    /// Waits for every receiver: one that failed leaves the others to serve. Reads the configuration
    /// again when `reloads` says so.
    ///
    /// # Errors
    /// One failed, and was not started again.
    pub(super) async fn run(mut self, mut reloads: mpsc::Receiver<()>) -> Result<(), Failure> {
        loop {
            tokio::select! {
                // A reload starts again what has ended before.
                biased;
                ended = self.ends.join_next_with_id() => match ended {
                    None => break,
                    Some(ended) => self.over(ended),
                },
                Some(()) = reloads.recv() => self.reload().await,
            }
        }
        let first = self.failures.into_iter().next();
        first.map_or(Ok(()), |(_, why)| Err(why))
    }

    /// Starts one.
    pub(super) fn add(&mut self, key: Key, config: Config, receiver: Receiver) {
        self.failures.retain(|(other, _)| *other != key);
        let apps = Arc::new(Mutex::new(String::new()));
        let (opened, ready) = watch::channel(Opened::new());
        let told = Arc::clone(&apps);
        let receiver = receiver.with_observer(move |event| match event {
            Event::Ready { gateway, .. } => opened.send_modify(|opened| {
                *opened.entry((*gateway).to_owned()).or_default() += 1;
            }),
            Event::Granted { urls, .. } => {
                let apps = told.lock().unwrap_or_else(PoisonError::into_inner);
                urls.iter()
                    .for_each(|url| stdout::mention(&format!("{url} → {apps}")));
            }
            _ => {}
        });
        let (remove, removed) = oneshot::channel();
        let removed = async {
            // Whoever drops the other end does not mean this.
            if removed.await.is_err() {
                pending().await
            }
        };
        let (monitor, reloader) = (receiver.monitor(), receiver.reloader());
        let run = run_receiver(receiver, self.stop.clone(), removed);
        let running = Running {
            config,
            reloader,
            remove,
            ready,
            monitor,
            apps,
            task: self.ends.spawn(run).id(),
        };
        running.announce();
        self.running.insert(key, running);
    }

    /// Has the status listener show those that run.
    pub(super) fn watch(&self) {
        let running = self.running.values();
        self.watched
            .follow(running.map(|one| one.monitor.clone()).collect());
    }

    fn over(&mut self, ended: Result<(task::Id, Result<(), Failure>), JoinError>) {
        let (task, ended) = match ended {
            Ok(ended) => ended,
            Err(broke) => (broke.id(), Err(Failure::runtime(broke.to_string()))),
        };
        let mut running = self.running.iter();
        let key = running.find(|(_, one)| one.task == task);
        if let Err(failure) = ended {
            if !self.ends.is_empty() {
                let others = self.ends.len();
                tracing::error!(others, "a receiver ended: {failure}");
            }
            // That of one that was removed is nobody's failure.
            let key = key.map(|(key, _)| key.clone());
            self.failures.extend(key.map(|key| (key, failure)));
        }
    }
}

impl Running {
    /// True once it has ended.
    pub(super) fn has_ended(&self) -> bool {
        // Nobody else has the other end.
        self.remove.is_closed()
    }

    /// Says where the receiver leads, and which of its apps cannot be reached.
    pub(super) fn announce(&self) {
        let apps = list(&self.config.to);
        let gateways = list(&self.config.gateways);
        stdout::mention(&format!("{gateways} → {apps}"));
        *self.apps.lock().unwrap_or_else(PoisonError::into_inner) = apps;
        tokio::spawn(apps::warn_unreachable(self.config.clone()));
    }
}

/// Runs a receiver until `stop` says so, or it is `removed`.
pub(super) async fn run_receiver(
    receiver: Receiver,
    stop: watch::Receiver<Stop>,
    removed: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let stops = signals::reached(stop.clone(), Stop::Graceful);
    let graceful = async {
        tokio::select! {
            () = stops => {}
            () = removed => {}
        }
    };
    tokio::select! {
        ended = receiver.run(graceful) => ended.map_err(failures::receiver),
        // Dropping the receiver closes everything at once.
        () = signals::reached(stop, Stop::Now) => Ok(()),
    }
}
