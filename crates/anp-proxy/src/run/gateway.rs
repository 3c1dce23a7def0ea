//! A gateway, from its listeners to its end.

use std::sync::{Arc, Mutex, PoisonError};

use anp_gateway::{Bound, Gateway, GatewayError, Listeners};
use tokio::sync::watch;

use super::{failures, serving::no_signals, state::keep_state};
use crate::{
    config::Loaded,
    exit::Failure,
    manager,
    signals::{self, Stop},
};

/// Where callers and receivers connect, and under which name callers are to know it: lines for people.
pub(super) fn addresses(bound: &Bound, config: &anp_gateway::Config) -> Vec<String> {
    let here = url(bound);
    let receivers = format!("{}://{}", bound.tunnel_scheme(), bound.tunnel_addr());
    let mut lines = vec![format!("{here} → receivers at {receivers}")];
    let public = config.public_url.as_ref();
    lines.extend(public.map(|public| format!("{public} → {here}")));
    lines
}

pub(super) async fn bind(loaded: &Loaded) -> Result<Bound, Failure> {
    bind_with(loaded, Listeners::default()).await
}

pub(super) async fn bind_with(loaded: &Loaded, given: Listeners) -> Result<Bound, Failure> {
    let bound = try_bind(loaded, given).await;
    bound.map_err(|error| failures::gateway(error, loaded))
}

/// As [`bind_with`], with an error that can be asked what it is.
pub(super) async fn try_bind(loaded: &Loaded, given: Listeners) -> Result<Bound, GatewayError> {
    let mut config = loaded.config.gateway.clone();
    keep_state(&mut config);
    Gateway::bind_with(config, given).await
}

/// Lets the configuration be read again: on SIGHUP, or when something else asks for it.
pub(super) fn reloading(bound: Bound, loaded: &Loaded) -> Result<Bound, Failure> {
    let loaded = loaded.clone();
    let (running, next) = (
        Mutex::new(loaded.config.log.clone()),
        Arc::new(Mutex::new(None)),
    );
    let read = next.clone();
    let bound = bound.reads(move || {
        let mut again = loaded.again().map_err(|problems| problems.to_string())?;
        let running = &loaded.config.gateway;
        if again.origin("gateway", "endpoint_store").is_none() {
            again.config.gateway.endpoint_store = running.endpoint_store.clone();
        }
        let checked = again.check_gateway().and_then(|()| again.check_log());
        checked.map_err(|problem| problem.to_string())?;
        *read.lock().unwrap_or_else(PoisonError::into_inner) = Some(again.config.log);
        keep_state(&mut again.config.gateway);
        Ok(again.config.gateway)
    });
    let bound = bound.reloaded(move || {
        let next = next.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(next) = next {
            next.follow(&mut running);
        }
    });
    let reloader = bound.reloader();
    // Both outcomes are logged where they come about.
    signals::on_hangup(move || drop(reloader.reload())).map_err(no_signals)?;
    Ok(bound)
}

pub(super) async fn run_gateway(
    bound: Bound,
    loaded: &Loaded,
    stop: watch::Receiver<Stop>,
    serving: impl FnOnce(),
) -> Result<(), Failure> {
    let serving = || {
        serving();
        manager::serves();
    };
    let shutdown = signals::translate(stop, |stop| match stop {
        Stop::No => anp_gateway::Shutdown::No,
        Stop::Replaced => anp_gateway::Shutdown::Replaced,
        Stop::Graceful => anp_gateway::Shutdown::Graceful,
        Stop::Now => anp_gateway::Shutdown::Now,
    });
    let ended = bound.run_then(shutdown, serving).await;
    ended.map_err(|error| failures::gateway(error, loaded))
}

/// The URL to open for the public listener; an unspecified address is this machine's.
pub(super) fn url(bound: &Bound) -> String {
    let (scheme, address) = (bound.public_scheme(), bound.public_addr());
    if address.ip().is_unspecified() {
        format!("{scheme}://localhost:{}", address.port())
    } else {
        format!("{scheme}://{address}")
    }
}
