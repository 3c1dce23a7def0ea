//! Where a gateway keeps what outlives it.

use std::{env, path::PathBuf};

/// Where state is kept: the service manager's choice, the system's for root, else the user's.
pub(super) fn directory() -> Option<PathBuf> {
    let variable = |name| {
        env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    if let Some(directory) = variable("STATE_DIRECTORY") {
        return Some(directory);
    }
    #[cfg(unix)]
    if rustix::process::geteuid().is_root() {
        return Some("/var/lib/anp-proxy".into());
    }
    let state = variable("XDG_STATE_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".local/state")))?;
    Some(state.join("anp-proxy"))
}
