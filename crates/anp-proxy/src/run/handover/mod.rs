//! One gateway in place of another: the running one hands its listening sockets to the next over a
//! Unix socket, and drains once the next serves.
//!
//! ```text
//! next:    replace             ──▶
//!                              ◀── public tunnel redirect admin   (with the sockets, SCM_RIGHTS)  :running
//! next:    ready               ──▶   it serves; the running one takes no connection from here on
//!                              ◀── draining 3          endpoints had a receiver there, which will come over
//! ```
//!
//! A next one that goes away before it is ready changes nothing. One that is itself to be replaced at
//! once first waits for those receivers: it would have nobody for the callers that it has taken.

mod control;
mod find;
mod protocol;

use std::{
    path::{Path, PathBuf},
    pin::pin,
};

use anp_gateway::{Bound, Handover, Listeners};
use tokio::sync::{oneshot, watch};

use self::{
    control::{Control, cannot_be_replaced},
    find::{Found, find},
    protocol::{hand_to, say_draining},
};
use super::{
    descriptors, failures,
    gateway::{addresses, reloading, run_gateway, try_bind},
    replace::Replace,
    state::{self, CONTROL},
};
use crate::{
    config::Loaded,
    exit::Failure,
    signals::{self, Stop},
    stdout,
};

/// Runs a gateway that others may replace, in place of the running one where asked to.
pub(super) async fn gateway(
    loaded: &Loaded,
    replace: Option<Replace>,
    mut given: Listeners,
    tell: watch::Sender<Stop>,
    stop: watch::Receiver<Stop>,
) -> Result<(), Failure> {
    let config = &loaded.config.gateway;
    let path = control_path(config);
    let (mut running, mut hint) = (None, String::new());
    if let Some(replace) = &replace {
        let found = tokio::select! {
            found = find(replace.at.as_deref(), path.as_deref(), config) => found?,
            // Nothing has happened yet.
            () = signals::reached(stop.clone(), Stop::Graceful) => return Ok(()),
        };
        match found {
            Found::Running(found) => running = Some(found),
            Found::Nobody(what_to_do) => hint = what_to_do,
        }
    }
    if let Some(running) = &mut running {
        given = std::mem::take(&mut running.listeners);
    }
    let bound = try_bind(loaded, given).await;
    let bound = bound.map_err(|error| match error.is_address_taken() {
        true => failures::gateway(error, loaded).with(&hint),
        false => failures::gateway(error, loaded),
    });
    let mut bound = reloading(bound?, loaded)?;
    if running.is_some() {
        if *stop.borrow() != Stop::No {
            return Ok(());
        }
        bound = bound.catches_up();
    }
    let control = match &path {
        Some(path) => open_control(path, &bound, config)?,
        None => None,
    };
    let lines = addresses(&bound, config);
    descriptors::warn_short(config);
    let handover = bound.handover();
    let catching_up = handover.clone();
    let file = control.as_ref().map(|control| control.file.clone());
    let (coming, come) = oneshot::channel();
    let told = stop.clone();
    let stops = stop.clone();
    let serving = move || {
        if *stops.borrow() != Stop::No {
            // It ends: whoever runs goes on.
            return;
        }
        lines.iter().for_each(|line| stdout::mention(line));
        if let Some(file) = file {
            file.put_in_place();
        }
        tokio::spawn(async move {
            let mut endpoints = 0;
            if let Some(running) = running {
                endpoints = running.send_away().await;
                // What the one before wrote between our start and its drain.
                catching_up.catch_up().await;
            }
            // Nobody hears it where this gateway cannot be replaced.
            let _ = coming.send(endpoints);
        });
    };
    let stopping = signals::reached(stop.clone(), Stop::Graceful);
    let ended = run_gateway(bound, loaded, stop, serving);
    match control {
        None => ended.await,
        Some(control) => {
            let handing = tokio::spawn(async move {
                tokio::select! {
                    () = hand_over(control, come, tell, handover) => {}
                    // A handle kept would keep the port open although nobody accepts.
                    () = stopping => {}
                }
            });
            let result = ended.await;
            // Replaced with nothing under way, it may not have said its last word yet.
            if *told.borrow() != Stop::Replaced {
                handing.abort();
            }
            // With its end the file is gone. What it panicked with was told.
            let _ = handing.await;
            result
        }
    }
}

/// Opens the control socket. Where nobody asked for it, a gateway does without.
fn open_control(
    path: &Path,
    bound: &Bound,
    config: &anp_gateway::Config,
) -> Result<Option<Control>, Failure> {
    let listeners = bound.listeners();
    match listeners.and_then(|listeners| Control::open(path, listeners)) {
        Ok(control) => Ok(Some(control)),
        Err(error) if config.control_socket.is_some() => Err(Failure::runtime(format!(
            "gateway.control_socket: cannot listen at {}: {error}",
            path.display()
        ))),
        Err(error) => {
            cannot_be_replaced(path, &error);
            Ok(None)
        }
    }
}

/// Where gateways of this configuration meet. `None` where that would be by a port that is another each
/// time, or there is no directory for state.
pub(super) fn control_path(config: &anp_gateway::Config) -> Option<PathBuf> {
    config.control_socket.clone().or_else(|| {
        let port = config.listen.port();
        let directory = state::directory()?;
        (port != 0).then(|| CONTROL.of(&directory, port))
    })
}

/// Hands the listeners to whoever may have them, until one of them serves: once the receivers of so
/// many endpoints as `come` tells are there, those of the gateway before.
async fn hand_over(
    mut control: Control,
    come: oneshot::Receiver<usize>,
    tell: watch::Sender<Stop>,
    handover: Handover,
) {
    // Without a word the gateway does not serve, and nobody finds its control socket.
    let endpoints = come.await.unwrap_or_default();
    loop {
        let mut next = control.accept().await;
        let mut settled = pin!(handover.settled(endpoints));
        tokio::select! {
            biased;
            () = &mut settled => {}
            () = std::future::ready(()) => {
                tracing::info!("another gateway is to take over, once the receivers of the one before are here");
                settled.await;
            }
        }
        match hand_to(&mut next, &control.listeners).await {
            // Whoever looked whether anybody is here.
            Ok(false) => {}
            Ok(true) => {
                tracing::info!("another gateway took over the listeners");
                let served = handover.served();
                // A stop that was asked for already is not taken back.
                tell.send_modify(|stop| *stop = (*stop).max(Stop::Replaced));
                // The next one reads the endpoints again then.
                handover.draining().await;
                say_draining(&mut next, served).await;
                return;
            }
            Err(error) => tracing::warn!(%error, "the listeners were not taken over"),
        }
        control.take_back();
    }
}
