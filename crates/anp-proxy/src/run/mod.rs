//! The commands that serve: gateway, receiver, and both in one process.

mod apps;
mod descriptors;
mod failures;
#[cfg(unix)]
mod handover;
mod inherit;
mod state;
mod together;

use std::future::Future;

use anp_gateway::{Bound, Config, Gateway, Listeners};
use anp_receiver::{Event, Receiver};
use tokio::sync::watch;

use crate::{
    SUCCESS,
    config::Loaded,
    exit::Failure,
    manager,
    signals::{self, Stop},
    stdout,
};

#[cfg(feature = "app")]
pub(crate) use together::prepare_both;
pub(crate) use together::{demo, dev};

/// Runs a gateway until it is told to stop.
///
/// # Errors
/// A setting is wrong, an address cannot be listened on, or the gateway failed.
pub(crate) fn gateway(mut loaded: Loaded, replace: bool) -> Result<u8, Failure> {
    keep_endpoints(&mut loaded.config.gateway);
    // So that the files nobody named are looked at with the others.
    keep_state(&mut loaded.config.gateway);
    let loaded = &loaded;
    loaded.check_gateway()?;
    loaded.check_gateway_files()?;
    start_log(loaded)?;
    descriptors::raise();
    // Before any thread runs: it takes variables out of the environment.
    let given = inherit::from_environment()?;
    serve(async {
        let (tell, stop) = signals::follow_and_tell().map_err(no_signals)?;
        #[cfg(unix)]
        return handover::gateway(loaded, replace, given, tell, stop).await;
        #[cfg(not(unix))]
        {
            if replace {
                return Err(Failure::usage("--replace needs a Unix system"));
            }
            let _tell = tell;
            let bound = reloading(bind_with(loaded, given).await?, loaded)?;
            say_address(&bound, &loaded.config.gateway);
            run_gateway(bound, loaded, stop, || {}).await
        }
    })
}

/// With what a gateway would make of the settings that nobody wrote.
pub(crate) fn in_effect(mut loaded: Loaded) -> Loaded {
    let gateway = &mut loaded.config.gateway;
    keep_endpoints(gateway);
    gateway.workers = Some(gateway.worker_count());
    gateway.open = Some(gateway.is_open());
    #[cfg(unix)]
    if let Some(path) = handover::control_path(gateway) {
        gateway.control_socket = Some(path);
    }
    keep_state(gateway);
    loaded
}

/// Where the registry of endpoints is kept unless configured: in the state directory, where the
/// admin listener may add some, or some were added before.
fn keep_endpoints(config: &mut Config) {
    if config.endpoint_store.is_none() && config.listen.port() != 0 {
        let name = format!("endpoints-{}.redb", config.listen.port());
        let file = state::directory().map(|directory| directory.join(name));
        config.endpoint_store = file.filter(|file| config.admin_listen.is_some() || file.exists());
    }
}

/// Says where callers and receivers connect, and under which name callers are to know it.
fn say_address(bound: &Bound, config: &anp_gateway::Config) {
    let here = url(bound);
    stdout::mention(&format!(
        "{here} → receivers at {}://{}",
        bound.tunnel_scheme(),
        bound.tunnel_addr()
    ));
    if let Some(public) = &config.public_url {
        stdout::mention(&format!("{public} → {here}"));
    }
}

/// Runs a receiver until it is told to stop or refused for good.
///
/// # Errors
/// A setting is wrong, or every gateway refused it for good.
pub(crate) fn receiver(loaded: &Loaded) -> Result<u8, Failure> {
    loaded.check_receiver()?;
    loaded.check_receiver_files()?;
    start_log(loaded)?;
    descriptors::raise();
    serve(async {
        let stop = follow()?;
        let config = loaded.config.receiver.clone();
        let receiver = Receiver::new(config.clone()).map_err(failures::receiver)?;
        stdout::mention(&format!(
            "{} → {}",
            list(&config.gateways),
            list(&config.to)
        ));
        let apps = list(&config.to);
        let receiver = receiver.with_observer(move |event| {
            if let Event::Granted { urls, .. } = event {
                urls.iter()
                    .for_each(|url| stdout::mention(&format!("{url} → {apps}")));
            }
        });
        tokio::spawn(apps::warn_unreachable(config));
        // A gateway that is away now is tried again: its receiver serves as well as it can.
        manager::serves();
        run_receiver(receiver, stop).await
    })
}

pub(crate) fn start_log(loaded: &Loaded) -> Result<(), Failure> {
    loaded.check_log()?;
    loaded.config.log.start()
}

/// Runs `work` on an event loop of this thread. Workers have threads of their own.
pub(crate) fn serve(work: impl Future<Output = Result<(), Failure>>) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::runtime(format!("cannot start an event loop: {error}")))?;
    runtime.block_on(work).map(|()| SUCCESS)
}

fn follow() -> Result<watch::Receiver<Stop>, Failure> {
    signals::follow().map_err(no_signals)
}

fn no_signals(error: std::io::Error) -> Failure {
    Failure::runtime(format!("cannot take signals: {error}"))
}

async fn bind(loaded: &Loaded) -> Result<Bound, Failure> {
    bind_with(loaded, Listeners::default()).await
}

async fn bind_with(loaded: &Loaded, given: Listeners) -> Result<Bound, Failure> {
    let mut config = loaded.config.gateway.clone();
    keep_state(&mut config);
    Gateway::bind_with(config, given)
        .await
        .map_err(|error| failures::gateway(error, loaded))
}

/// Puts the files that the configuration does not name into the state directory.
fn keep_state(config: &mut Config) {
    if let (Some(auth), Some(directory)) = (&mut config.auth, state::directory()) {
        auth.keep_state_in(&directory);
    }
}

/// Lets the configuration be read again: on SIGHUP, or when something else asks for it.
fn reloading(bound: Bound, loaded: &Loaded) -> Result<Bound, Failure> {
    let loaded = loaded.clone();
    let bound = bound.reads(move || {
        let mut again = loaded.again().map_err(|problems| problems.to_string())?;
        let running = &loaded.config.gateway;
        if again.origin("gateway", "endpoint_store").is_none() {
            again.config.gateway.endpoint_store = running.endpoint_store.clone();
        }
        again
            .check_gateway()
            .map_err(|problem| problem.to_string())?;
        keep_state(&mut again.config.gateway);
        Ok(again.config.gateway)
    });
    let reloader = bound.reloader();
    // Both outcomes are logged where they come about.
    signals::on_hangup(move || drop(reloader.reload())).map_err(no_signals)?;
    Ok(bound)
}

async fn run_gateway(
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

async fn run_receiver(receiver: Receiver, stop: watch::Receiver<Stop>) -> Result<(), Failure> {
    let graceful = signals::reached(stop.clone(), Stop::Graceful);
    tokio::select! {
        ended = receiver.run(graceful) => ended.map_err(failures::receiver),
        // Dropping the receiver closes everything at once.
        () = signals::reached(stop, Stop::Now) => Ok(()),
    }
}

/// The URL to open for the public listener; an unspecified address is this machine's.
fn url(bound: &Bound) -> String {
    let (scheme, address) = (bound.public_scheme(), bound.public_addr());
    if address.ip().is_unspecified() {
        format!("{scheme}://localhost:{}", address.port())
    } else {
        format!("{scheme}://{address}")
    }
}

fn list<T: std::fmt::Display>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(T::to_string).collect();
    items.join(", ")
}
