//! Threads that carry tunnels, each with a runtime of its own.

use std::{future::pending, io, rc::Rc, sync::Arc, thread};

use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{Notify, mpsc, oneshot},
    task::JoinSet,
};

use crate::{
    app::{App, Apps, PoolConfig, Source, Tasks},
    coding::Codings,
    error::Error,
    gateway::Gateway,
    health::Check,
    monitor::WorkerCounts,
    slot::{Shared, Slot},
};

/// A gateway and the index of a tunnel to it.
pub(crate) type Place = (Arc<Gateway>, u16);

/// Which tunnels a worker carries.
pub(crate) type Places = Vec<Place>;

/// Deals the tunnels of every gateway to `workers` workers in turn.
pub(crate) fn deal(gateways: &[Arc<Gateway>], tunnels: u16, workers: u16) -> Vec<Places> {
    let mut dealt: Vec<Places> = (0..workers.max(1)).map(|_| Places::new()).collect();
    let all = gateways
        .iter()
        .flat_map(|gateway| (0..tunnels).map(move |index| (Arc::clone(gateway), index)));
    let count = dealt.len();
    for (turn, place) in all.enumerate() {
        if let Some(places) = dealt.get_mut(turn % count) {
            places.push(place);
        }
    }
    dealt
}

/// Starts worker `number`, which counts in `counts`. The receiver given back is ready once all its
/// tunnels are over; an error there means that the thread panicked.
pub(crate) fn start(
    number: usize,
    places: Places,
    added: mpsc::UnboundedReceiver<Place>,
    shared: Shared,
    counts: Arc<WorkerCounts>,
) -> Result<oneshot::Receiver<()>, Error> {
    let failed = |source: io::Error| Error::Worker {
        doing: "could not be started",
        source,
    };
    let (sender, over) = oneshot::channel();
    let (started, starting) = std::sync::mpsc::sync_channel(1);
    thread::Builder::new()
        .name(format!("anp-receiver-{number}"))
        .spawn(move || {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default());
            match runtime {
                Err(e) => {
                    let _ = started.send(Err(e));
                }
                Ok(runtime) => {
                    let _ = started.send(Ok(()));
                    runtime.block_on(run(places, added, shared, counts));
                    // Nobody waits where the receiver was dropped.
                    let _ = sender.send(());
                }
            }
        })
        .map_err(failed)?;
    match starting.recv() {
        Ok(result) => result.map_err(failed)?,
        Err(e) => return Err(failed(io::Error::other(e))),
    }
    Ok(over)
}

/// Runs every place, and those that are added, until it is over.
async fn run(
    places: Places,
    mut added: mpsc::UnboundedReceiver<Place>,
    shared: Shared,
    counts: Arc<WorkerCounts>,
) {
    let config = &shared.config;
    let codings = Codings::new(&config.compress);
    let suspicion = Rc::new(Notify::new());
    let app = Rc::new(match &shared.source {
        Source::Http => App::Http(Rc::new(Tasks::new(
            apps(&shared, codings),
            Rc::clone(&suspicion),
            Arc::clone(&counts),
        ))),
        Source::Service(make) => App::Service(make(codings, Arc::clone(&counts))),
        Source::Streams(taker) => App::Streams(Arc::clone(taker)),
    });
    let app_up = counts.app_up.subscribe();
    if let (Some(check), App::Http(tasks)) = (Check::new(config, shared.tls.clone()), &*app) {
        tokio::task::spawn_local(check.run(
            Rc::clone(tasks),
            Rc::clone(&suspicion),
            Arc::clone(&counts),
        ));
    }
    let mut slots = JoinSet::new();
    let slot = |(gateway, index): Place| {
        let slot = Slot {
            shared: shared.clone(),
            gateway,
            index,
            app: Rc::clone(&app),
            app_up: app_up.clone(),
        };
        slot.run()
    };
    for place in places {
        slots.spawn_local(slot(place));
    }
    let serving = async {
        loop {
            tokio::select! {
                Some(place) = added.recv() => {
                    slots.spawn_local(slot(place));
                }
                over = slots.join_next() => if over.is_none() {
                    return;
                }
            }
        }
    };
    let sweeping = async {
        let App::Http(tasks) = &*app else {
            return pending().await;
        };
        let apps = tasks.apps();
        loop {
            tokio::time::sleep(apps.config().idle_timeout).await;
            apps.sweep();
        }
    };
    tokio::select! {
        () = serving => {}
        () = sweeping => {}
    }
}

/// The apps at the URLs of `config`.
fn apps(shared: &Shared, codings: Codings) -> Apps {
    let config = &shared.config;
    let apps = Apps::new(
        &config.to,
        PoolConfig {
            connect_timeout: config.app_connect_timeout.0,
            max_idle: config.pool_max_idle,
            idle_timeout: config.pool_idle_timeout.0,
        },
    );
    apps.over_tls(shared.tls.clone()).coded(codings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn every_worker_gets_its_share() {
        let gateways: Vec<_> = ["ws://a.example", "ws://b.example"]
            .iter()
            .map(|url| Arc::new(Gateway::new(url.parse().unwrap(), &Config::default())))
            .collect();
        let dealt = deal(&gateways, 3, 2);
        let names: Vec<Vec<String>> = dealt
            .iter()
            .map(|places| {
                places
                    .iter()
                    .map(|(g, i)| format!("{}{i}", g.url.host()))
                    .collect()
            })
            .collect();
        assert_eq!(names[0], ["a.example0", "a.example2", "b.example1"]);
        assert_eq!(names[1], ["a.example1", "b.example0", "b.example2"]);
    }
}
