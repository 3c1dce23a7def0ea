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

/// Registries of endpoints.
const ENDPOINTS: PerPort = PerPort {
    before: "endpoints-",
    after: ".redb",
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
        let file = directory().map(|directory| ENDPOINTS.of(&directory, config.listen.port()));
        config.endpoint_store = file.filter(|file| config.admin_listen.is_some() || file.exists());
    }
}

/// Warns of a gateway that begins without endpoints although there are registries of other ports: its
/// own port may have been another before.
pub(super) fn warn_new_registry(config: &Config) {
    let others = directory()
        .map(|d| registries_of_others(config, &d))
        .unwrap_or_default();
    if !others.is_empty() {
        let others: Vec<_> = others
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        tracing::warn!(
            others = others.join(", "),
            "there is no registry of endpoints for this port of gateway.listen, but there are those of \
             others; to serve the endpoints of one, name it as gateway.endpoint_store"
        );
    }
}

/// Registries of other ports in `directory`, where this gateway would have its own there and has none.
fn registries_of_others(config: &Config, directory: &Path) -> Vec<PathBuf> {
    let own = ENDPOINTS.of(directory, config.listen.port());
    let configured = config
        .endpoint_store
        .as_ref()
        .is_some_and(|path| *path != own);
    match configured || config.listen.port() == 0 || own.exists() {
        true => Vec::new(),
        false => ENDPOINTS.others(directory, &own),
    }
}

/// Puts the files that the configuration does not name into the state directory.
pub(super) fn keep_state(config: &mut Config) {
    if let (Some(auth), Some(directory)) = (&mut config.auth, directory()) {
        auth.keep_state_in(&directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_of_other_ports_are_seen_by_a_gateway_that_has_none() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        let found = |config: &Config| registries_of_others(config, directory.path());
        let at = |port| Config {
            listen: ([127, 0, 0, 1], port).into(),
            ..Config::default()
        };
        assert_eq!(found(&at(8080)), [""; 0].map(PathBuf::from));
        for name in [
            "endpoints-9.redb",
            "endpoints-10.redb",
            "endpoints-x.redb",
            "gateway-9.sock",
        ] {
            fs::write(place(name), "").unwrap();
        }
        let others = ["endpoints-10.redb", "endpoints-9.redb"].map(place);
        assert_eq!(found(&at(8080)), others);
        // Its own would be there, with the first endpoint.
        let own = Config {
            endpoint_store: Some(place("endpoints-8080.redb")),
            ..at(8080)
        };
        assert_eq!(found(&own), others);
        let named = Config {
            endpoint_store: Some(place("mine.redb")),
            ..at(8080)
        };
        for config in [at(9), at(0), named] {
            assert_eq!(found(&config), [""; 0].map(PathBuf::from));
        }
    }
}
