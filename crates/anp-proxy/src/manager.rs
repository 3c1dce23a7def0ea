//! Word to a service manager that listens at `$NOTIFY_SOCKET`, as systemd does for `Type=notify`
//! (`sd_notify(3)`).

/// The program serves.
pub(crate) fn serves() {
    #[cfg(unix)]
    notify(&sd_notify::NotifyState::Ready);
}

/// The program finishes what is under way and ends.
pub(crate) fn stops() {
    #[cfg(unix)]
    notify(&sd_notify::NotifyState::Stopping);
}

#[cfg(unix)]
fn notify(state: &sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::warn!(%error, "the service manager at $NOTIFY_SOCKET was not told: {state:?}");
    }
}
