//! Where a gateway keeps what outlives it.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anp_gateway::Config;

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

/// Files that are called after the port of `gateway.listen`, so that gateways of one user have each
/// their own.
#[derive(Clone, Copy)]
pub(super) struct PerPort {
    before: &'static str,
    after: &'static str,
}

/// Control sockets.
pub(super) const CONTROL: PerPort = PerPort {
    before: "gateway-",
    after: ".sock",
};

impl PerPort {
    /// That of a port.
    pub(super) fn of(self, directory: &Path, port: u16) -> PathBuf {
        directory.join(format!("{}{port}{}", self.before, self.after))
    }

    /// Those that are in `directory` besides `own`, in the order of their names.
    pub(super) fn others(self, directory: &Path, own: &Path) -> Vec<PathBuf> {
        let is_one = |name: &str| {
            let port = name.strip_prefix(self.before)?;
            port.strip_suffix(self.after)?.parse::<u16>().ok()
        };
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let mut others: Vec<_> = entries
            .filter(|entry| entry.file_name().to_str().and_then(is_one).is_some())
            .map(|entry| entry.path())
            .filter(|path| path != own)
            .collect();
        others.sort();
        others
    }
}

/// Where the registry of endpoints is kept unless configured: in the state directory, where the
/// admin listener may add some, or some were added before.
pub(super) fn keep_endpoints(config: &mut Config) {
    if config.endpoint_store.is_none() && config.listen.port() != 0 {
        let name = format!("endpoints-{}.redb", config.listen.port());
        let file = directory().map(|directory| directory.join(name));
        config.endpoint_store = file.filter(|file| config.admin_listen.is_some() || file.exists());
    }
}

/// Puts the files that the configuration does not name into the state directory.
pub(super) fn keep_state(config: &mut Config) {
    if let (Some(auth), Some(directory)) = (&mut config.auth, directory()) {
        auth.keep_state_in(&directory);
    }
}
