//! The commands that serve: gateway, receiver, and both in one process.

mod apps;
mod descriptors;
mod failures;
mod gateway;
#[cfg(unix)]
mod handover;
mod inherit;
mod receiver;
mod receivers;
mod reload;
mod replace;
mod serving;
mod state;
mod status;
mod together;

use self::{
    serving::no_signals,
    state::{check_documents_kept, keep_endpoints, keep_state, warn_new_registry, warn_not_kept},
};
use crate::{config::Loaded, exit::Failure, signals};

pub(crate) use receiver::{check as check_receiver, receiver};
pub(crate) use replace::Replace;
pub(crate) use serving::{serve, start_log};
#[cfg(feature = "app")]
pub(crate) use together::prepare_both;
pub(crate) use together::{demo, dev};

/// Runs a gateway until it is told to stop.
///
/// # Errors
/// A setting is wrong, an address cannot be listened on, or the gateway failed.
pub(crate) fn gateway(loaded: Loaded, replace: Option<Replace>) -> Result<u8, Failure> {
    let loaded = &with_state(loaded);
    loaded.check_gateway()?;
    loaded.check_gateway_files()?;
    check_documents_kept(loaded)?;
    // Before any thread runs: it takes variables out of the environment.
    let given = inherit::from_environment()?;
    start_log(loaded)?;
    warn_not_kept(&loaded.config.gateway);
    warn_new_registry(&loaded.config.gateway);
    descriptors::raise();
    serve(async {
        let (tell, stop) = signals::follow_and_tell().map_err(no_signals)?;
        #[cfg(unix)]
        return handover::gateway(loaded, replace, given, tell, stop).await;
        #[cfg(not(unix))]
        {
            if replace.is_some() {
                return Err(Failure::usage("--replace needs a Unix system"));
            }
            let _tell = tell;
            let bound = gateway::bind_with(loaded, given).await?;
            let bound = gateway::reloading(bound, loaded)?;
            let lines = gateway::addresses(&bound, &loaded.config.gateway);
            let say = || lines.iter().for_each(|line| crate::stdout::mention(line));
            gateway::run_gateway(bound, loaded, stop, say).await
        }
    })
}

/// With the files of its state that nobody named, so that they are looked at with the others.
pub(crate) fn with_state(mut loaded: Loaded) -> Loaded {
    keep_endpoints(&mut loaded.config.gateway);
    keep_state(&mut loaded.config.gateway);
    loaded
}

/// With what a gateway would make of the settings that nobody wrote.
pub(crate) fn in_effect(loaded: Loaded) -> Loaded {
    let mut loaded = with_state(loaded);
    let gateway = &mut loaded.config.gateway;
    gateway.workers = Some(gateway.worker_count());
    gateway.open = Some(gateway.is_open());
    #[cfg(unix)]
    if let Some(path) = handover::control_path(gateway) {
        gateway.control_socket = Some(path);
    }
    loaded
}
