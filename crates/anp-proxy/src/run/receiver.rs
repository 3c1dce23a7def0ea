//! A receiver by itself.

use anp_receiver::{Config, Event, Receiver};
use tokio::{sync::watch, task::JoinSet};

use super::{
    apps, descriptors, failures,
    serving::{follow, list, serve, start_log},
    status,
};
use crate::{
    config::Loaded,
    exit::{FAILURE, Failure, SUCCESS},
    manager,
    signals::{self, Stop},
    stdout,
};

/// Runs a receiver, or one for each of several apps, until it is told to stop, or refused from the
/// start.
///
/// # Errors
/// A setting is wrong, or every gateway refused a receiver and none had taken it.
pub(crate) fn receiver(loaded: &Loaded) -> Result<u8, Failure> {
    loaded.check_receiver()?;
    loaded.check_receiver_files()?;
    start_log(loaded)?;
    descriptors::raise();
    serve(async {
        let stop = follow()?;
        let listener = status::listen(loaded).await?;
        let configs = loaded.receivers();
        let made = configs.iter().map(|config| Receiver::new(config.clone()));
        let made: Result<Vec<_>, _> = made.collect();
        let receivers = made.map_err(failures::receiver)?;
        if let Some(listener) = listener {
            listener.serve(receivers.iter().map(Receiver::monitor).collect());
        }
        let mut running = JoinSet::new();
        for (config, receiver) in configs.into_iter().zip(receivers) {
            running.spawn(run_receiver(announced(&config, receiver), stop.clone()));
            tokio::spawn(apps::warn_unreachable(config));
        }
        // A gateway that is away now is tried again: its receiver serves as well as it can.
        manager::serves();
        all_over(running).await
    })
}

/// Says of each gateway whether it takes the receiver, and of each app whether it answers; the exit
/// code is 1 if one does not.
///
/// # Errors
/// A setting is wrong, or nothing can be asked.
pub(crate) fn check(loaded: &Loaded) -> Result<u8, Failure> {
    loaded.check_receiver()?;
    loaded.check_receiver_files()?;
    start_log(loaded)?;
    let mut good = true;
    serve(async {
        for config in loaded.receivers() {
            let several = !loaded.apps.is_empty();
            let name = config.name.as_deref().filter(|_| several);
            let whose = name.map_or(String::new(), |name| format!("{name}: "));
            let receiver = Receiver::new(config).map_err(failures::receiver)?;
            for finding in receiver.check().await.map_err(failures::receiver)? {
                good &= finding.is_good();
                let mark = if finding.is_good() { "ok  " } else { "FAIL" };
                stdout::say(&format!("{mark}  {whose}{finding}"))?;
            }
        }
        Ok(())
    })?;
    Ok(if good { SUCCESS } else { FAILURE })
}

/// Says where a receiver leads, and under which URLs callers reach it.
fn announced(config: &Config, receiver: Receiver) -> Receiver {
    let apps = list(&config.to);
    stdout::mention(&format!("{} → {apps}", list(&config.gateways)));
    receiver.with_observer(move |event| {
        if let Event::Granted { urls, .. } = event {
            urls.iter()
                .for_each(|url| stdout::mention(&format!("{url} → {apps}")));
        }
    })
}

/// Waits for every receiver: one that failed leaves the others to serve.
async fn all_over(mut running: JoinSet<Result<(), Failure>>) -> Result<(), Failure> {
    let mut result = Ok(());
    while let Some(ended) = running.join_next().await {
        let ended = ended.unwrap_or_else(|broke| Err(Failure::runtime(broke.to_string())));
        if let Err(failure) = &ended
            && !running.is_empty()
        {
            tracing::error!(others = running.len(), "a receiver ended: {failure}");
        }
        result = result.and(ended);
    }
    result
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
