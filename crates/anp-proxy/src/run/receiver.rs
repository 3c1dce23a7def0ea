//! A receiver by itself.

use anp_receiver::Receiver;

use super::{
    descriptors, failures,
    receivers::Receivers,
    serving::{no_signals, serve, start_log},
    status,
};
use crate::{
    config::Loaded,
    exit::{FAILURE, Failure, SUCCESS},
    manager, signals, stdout,
};

/// Runs a receiver, or one for each of several apps, until it is told to stop, or refused from the
/// start.
///
/// # Errors
/// A setting is wrong, or every gateway refused a receiver and none had taken it.
pub(crate) fn receiver(loaded: Loaded) -> Result<u8, Failure> {
    loaded.check_receiver()?;
    loaded.check_receiver_files()?;
    start_log(&loaded)?;
    descriptors::raise();
    serve(async {
        let (stop, reloads) = signals::follow_and_reload().map_err(no_signals)?;
        let listener = status::listen(&loaded).await?;
        let receivers = Receivers::start(loaded, stop)?;
        if let Some(listener) = listener {
            listener.serve(receivers.watched());
        }
        // A gateway that is away now is tried again: its receiver serves as well as it can.
        manager::serves();
        receivers.run(reloads).await
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
