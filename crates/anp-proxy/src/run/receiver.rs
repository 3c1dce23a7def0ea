//! A receiver by itself.

use anp_receiver::{Config, Event, Receiver};
use tokio::sync::watch;

use super::{
    apps, descriptors, failures,
    serving::{follow, list, serve, start_log},
    status,
};
use crate::{
    config::Loaded,
    exit::Failure,
    manager,
    signals::{self, Stop},
    stdout,
};

/// Runs a receiver until it is told to stop, or refused from the start.
///
/// # Errors
/// A setting is wrong, or every gateway refused it and none had taken it.
pub(crate) fn receiver(loaded: &Loaded) -> Result<u8, Failure> {
    loaded.check_receiver()?;
    loaded.check_receiver_files()?;
    start_log(loaded)?;
    descriptors::raise();
    serve(async {
        let stop = follow()?;
        let listener = status::listen(loaded).await?;
        let config = config(loaded);
        let receiver = Receiver::new(config.clone()).map_err(failures::receiver)?;
        stdout::mention(&format!(
            "{} → {}",
            list(&config.gateways),
            list(&config.to)
        ));
        if let Some(listener) = listener {
            listener.serve(vec![receiver.monitor()]);
        }
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

/// The settings of a receiver whose status this process serves.
pub(super) fn config(loaded: &Loaded) -> Config {
    Config {
        status_listen: None,
        ..loaded.config.receiver.clone()
    }
}

pub(super) async fn run_receiver(
    receiver: Receiver,
    stop: watch::Receiver<Stop>,
) -> Result<(), Failure> {
    let graceful = signals::reached(stop.clone(), Stop::Graceful);
    tokio::select! {
        ended = receiver.run(graceful) => ended.map_err(failures::receiver),
        // Dropping the receiver closes everything at once.
        () = signals::reached(stop, Stop::Now) => Ok(()),
    }
}
