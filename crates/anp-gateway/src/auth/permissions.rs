//! Tunnels end when their permission does.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use crate::{owner::Owner, stop::Step, worker::Shared};

/// Between two looks at everybody. A tunnel is to end within five times this.
const INTERVAL: Duration = Duration::from_secs(1);

/// Looks at the documents of those who hold tunnels again and again, until everything ends.
pub(crate) async fn watch_documents(shared: Arc<Shared>) {
    let mut tick = interval(INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let Some(auth) = &shared.auth else {
        return;
    };
    let looks = async {
        loop {
            tick.tick().await;
            auth.rechecks.look(shared.tunnels.all_proven()).await;
        }
    };
    tokio::select! {
        () = looks => {}
        () = shared.stop.reached(Step::Now) => {}
    }
}

/// Looks at every tunnel again and again, until everything ends.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let mut tick = interval(INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = shared.stop.reached(Step::Now) => return,
        }
        let looking = shared.clone();
        // It reads from the disk whether the key of tokens was replaced, and waits for changes to the
        // registry of endpoints.
        let looked = tokio::task::spawn_blocking(move || {
            let holders = |holder: &mut dyn FnMut(&Owner)| looking.tunnels.each_owner(holder);
            looking.places.sweep(holders);
            let settings = looking.settings.load();
            if let (Some(auth), Some(config)) = (&looking.auth, &settings.config.auth) {
                auth.refresh();
                let lifetime = config.token_lifetime.0;
                looking.tunnels.review(|proven| auth.fate(proven, lifetime));
            }
        });
        if looked.await.is_err() {
            tracing::error!("the permissions of tunnels could not be looked at");
        }
    }
}
