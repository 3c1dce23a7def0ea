//! What the tunnels of a worker give requests to, until a reload puts another app in its place.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use anp_tunnel::Incoming;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::sleep,
};

use crate::{
    address::AppUrl,
    app::{App, Apps, PoolConfig, Source, Tasks},
    coding::Codings,
    health::Check,
    monitor::WorkerCounts,
    settings::Settings,
};

/// The app that tunnels call. Belongs to one worker, so nothing here is locked.
pub(crate) struct Current {
    called: RefCell<Called>,
    /// Whether an app is there to take requests.
    app_up: watch::Sender<bool>,
}

/// An app and what looks after it. With the drop of it no request comes to it any more; those under
/// way go on.
struct Called {
    app: App,
    /// Its checks, and the sweeping of idle connections.
    _care: JoinSet<()>,
}

impl Current {
    /// The app of `source` and `settings`, whose requests count in `counts`.
    pub(crate) fn new(source: &Source, settings: &Settings, counts: &Arc<WorkerCounts>) -> Self {
        Self::knowing((true, &[]), source, settings, counts)
    }

    /// The same. Until checks say otherwise what is known of `self` holds: whether an app is up, and
    /// which are not.
    pub(crate) fn anew(
        &self,
        source: &Source,
        settings: &Settings,
        counts: &Arc<WorkerCounts>,
    ) -> Self {
        let (up, down) = (*self.app_up.borrow(), self.down());
        Self::knowing((up, &down), source, settings, counts)
    }

    fn knowing(
        (up, down): (bool, &[AppUrl]),
        source: &Source,
        settings: &Settings,
        counts: &Arc<WorkerCounts>,
    ) -> Self {
        let app_up = watch::Sender::new(up);
        counts.follow_health(app_up.subscribe());
        let called = RefCell::new(Called::new(source, settings, counts, &app_up, down));
        Self { called, app_up }
    }

    /// Where apps are that are down.
    fn down(&self) -> Vec<AppUrl> {
        match &self.called.borrow().app {
            App::Http(tasks) => {
                let all = tasks.apps().all().iter();
                all.filter(|app| app.is_down())
                    .map(|app| app.url().clone())
                    .collect()
            }
            App::Service(_) | App::Streams(_) => Vec::new(),
        }
    }

    /// Puts the app of `settings` in the place of the one there is, from the next request on.
    pub(crate) fn replace(&self, source: &Source, settings: &Settings, counts: &Arc<WorkerCounts>) {
        let called = Called::new(source, settings, counts, &self.app_up, &self.down());
        drop(self.called.replace(called));
    }

    /// Has a request answered.
    pub(crate) fn take(&self, incoming: Incoming) {
        self.called.borrow().app.take(incoming);
    }

    /// Whether an app is there to take requests, now and later.
    pub(crate) fn app_up(&self) -> watch::Receiver<bool> {
        self.app_up.subscribe()
    }
}

impl Called {
    fn new(
        source: &Source,
        settings: &Settings,
        counts: &Arc<WorkerCounts>,
        app_up: &watch::Sender<bool>,
        down: &[AppUrl],
    ) -> Self {
        let config = &settings.config;
        let codings = Codings::new(&config.compress);
        let mut care = JoinSet::new();
        let app = match source {
            Source::Http => {
                let suspicion = Rc::new(Notify::new());
                let apps = apps(settings, codings);
                let tasks = Tasks::new(apps, Rc::clone(&suspicion), Arc::clone(counts));
                let tasks = Rc::new(tasks);
                match Check::new(config, settings.tls.clone()) {
                    Some(check) => {
                        let all = tasks.apps().all().iter();
                        all.for_each(|app| app.set_down(down.contains(app.url())));
                        let check = check.run(Rc::clone(&tasks), suspicion, app_up.clone());
                        care.spawn_local(check);
                    }
                    // Nobody would find out that it is back.
                    None => drop(app_up.send_replace(true)),
                }
                care.spawn_local(sweep(Rc::clone(&tasks)));
                App::Http(tasks)
            }
            Source::Service(make) => App::Service(make(codings, Arc::clone(counts))),
            Source::Streams(taker) => App::Streams(Arc::clone(taker)),
        };
        Self { app, _care: care }
    }
}

impl Drop for Called {
    fn drop(&mut self) {
        if let App::Http(tasks) = &self.app {
            tasks.retire();
        }
    }
}

/// Closes connections that were idle too long, for ever.
async fn sweep(tasks: Rc<Tasks>) {
    let apps = tasks.apps();
    loop {
        sleep(apps.config().idle_timeout).await;
        apps.sweep();
    }
}

/// The apps at the URLs of `settings`.
fn apps(settings: &Settings, codings: Codings) -> Apps {
    let config = &settings.config;
    let apps = Apps::new(
        &config.to,
        PoolConfig {
            connect_timeout: config.app_connect_timeout.0,
            max_idle: config.pool_max_idle,
            idle_timeout: config.pool_idle_timeout.0,
        },
    );
    apps.over_tls(settings.tls.clone()).coded(codings)
}
