//! Threads that carry tunnels, each with a runtime of its own.

use std::{convert::Infallible, io, rc::Rc, sync::Arc, thread};

use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use crate::{
    app::Source,
    current::Current,
    error::Error,
    monitor::WorkerCounts,
    place::Place,
    settings::Settings,
    slot::{Shared, Slot},
};

/// What a worker that runs is told.
pub(crate) enum Order {
    /// Tunnels in these places are its, too.
    Open(Vec<Place>),
    /// These settings say how the app is called.
    Call {
        settings: Arc<Settings>,
        /// For tunnels in places to come. Those that it carries already call what they called.
        anew: bool,
        /// Dropped once the next request goes there.
        done: mpsc::Sender<Infallible>,
    },
}

/// What a worker is started with.
pub(crate) struct Start {
    pub(crate) shared: Shared,
    pub(crate) source: Source,
    pub(crate) settings: Arc<Settings>,
    pub(crate) places: Vec<Place>,
    pub(crate) orders: mpsc::UnboundedReceiver<Order>,
    pub(crate) counts: Arc<WorkerCounts>,
}

/// Starts worker `number`. The receiver given back is ready once all its tunnels are over; an error
/// there means that the thread panicked.
pub(crate) fn start(number: usize, start: Start) -> Result<oneshot::Receiver<()>, Error> {
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
                    runtime.block_on(run(start));
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
async fn run(start: Start) {
    let Start {
        shared,
        source,
        settings,
        places,
        mut orders,
        counts,
    } = start;
    let mut current = Rc::new(Current::new(&source, &settings, &counts));
    let mut slots = JoinSet::new();
    for place in places {
        slots.spawn_local(Slot::new(shared.clone(), place, Rc::clone(&current)).run());
    }
    loop {
        tokio::select! {
            biased;
            Some(order) = orders.recv() => match order {
                Order::Open(places) => for place in places {
                    let slot = Slot::new(shared.clone(), place, Rc::clone(&current));
                    slots.spawn_local(slot.run());
                },
                Order::Call { settings, anew, done } => {
                    match anew {
                        true => current = Rc::new(current.anew(&source, &settings, &counts)),
                        false => current.replace(&source, &settings, &counts),
                    }
                    drop(done);
                }
            },
            over = slots.join_next() => if over.is_none() {
                // What was told before counts; what comes is for whoever is started in its place.
                orders.close();
                if orders.is_empty() {
                    return;
                }
            }
        }
    }
}
