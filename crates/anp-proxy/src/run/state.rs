//! Where a gateway keeps what outlives it.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anp_gateway::Config;

use crate::{config::Loaded, exit::Failure};

/// Where state is kept: the service manager's choice, the system's for root, else the user's.
/// `None` where a user has no home.
pub(super) fn directory() -> Option<PathBuf> {
    #[cfg(unix)]
    let root = rustix::process::geteuid().is_root();
    #[cfg(not(unix))]
    let root = false;
    directory_of(root, |name| env::var_os(name))
}

fn directory_of(root: bool, variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let variable = |name| variable(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    // A unit may have several, which systemd lists as PATH does.
    let managed = variable("STATE_DIRECTORY").unwrap_or_default();
    if let Some(first) = env::split_paths(&managed).find(|path| !path.as_os_str().is_empty()) {
        return Some(first);
    }
    if root {
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

/// Warns of what is lost with the process, or missing, where there is no directory for state.
pub(super) fn warn_not_kept(config: &Config) {
    let lost = match directory() {
        Some(_) => Vec::new(),
        None => not_kept(config),
    };
    if !lost.is_empty() {
        tracing::warn!(
            "there is no directory for state, since HOME is not set, and so none for {}; set \
             STATE_DIRECTORY, or these keys",
            lost.join(", ")
        );
    }
}

/// What would be in the state directory.
fn not_kept(config: &Config) -> Vec<&'static str> {
    let fixed_port = config.listen.port() != 0;
    let auth = config.auth.as_ref();
    let all = [
        (
            auth.is_some_and(|auth| auth.replay_store.is_none()),
            "nonces that were used (gateway.auth.replay_store)",
        ),
        (
            auth.is_some_and(|auth| auth.token_key.is_none()),
            "the key of tokens (gateway.auth.token_key)",
        ),
        (
            fixed_port && config.admin_listen.is_some() && config.endpoint_store.is_none(),
            "endpoints added by the admin listener (gateway.endpoint_store)",
        ),
        (
            fixed_port && config.control_socket.is_none(),
            "the socket for --replace (gateway.control_socket)",
        ),
    ];
    let lost = all.into_iter().filter(|(lost, _)| *lost);
    lost.map(|(_, what)| what).collect()
}

/// Checks that documents which are to be published have a place that outlives the process.
///
/// # Errors
/// There is none.
pub(super) fn check_documents_kept(loaded: &Loaded) -> Result<(), Failure> {
    let config = &loaded.config.gateway;
    let hosts = config
        .auth
        .as_ref()
        .is_some_and(|auth| auth.hosted_domain.is_some());
    if hosts && config.endpoint_store.is_none() && directory().is_none() {
        let problem = loaded.problem("gateway", "auth.hosted_domain", NO_PLACE_FOR_DOCUMENTS);
        return Err(problem.into());
    }
    Ok(())
}

const NO_PLACE_FOR_DOCUMENTS: &str = "documents are kept in gateway.endpoint_store, and there is no \
    directory for it, since HOME is not set: set gateway.endpoint_store, or STATE_DIRECTORY";

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
    fn state_is_where_the_service_manager_says_or_the_system_or_the_user() {
        let found = |root, set: &[(&str, &str)]| {
            let variable = |name: &str| {
                let (_, value) = set.iter().find(|(key, _)| *key == name)?;
                Some(OsString::from(value))
            };
            directory_of(root, variable)
        };
        let of = |path: &str| Some(PathBuf::from(path));
        let (home, xdg) = (("HOME", "/home/a"), ("XDG_STATE_HOME", "/xdg"));
        let managed = ("STATE_DIRECTORY", "/state/anp");
        assert_eq!(found(false, &[home, xdg, managed]), of("/state/anp"));
        let several = ("STATE_DIRECTORY", "/state/anp:/state/more");
        assert_eq!(found(true, &[several]), of("/state/anp"));
        assert_eq!(found(true, &[home, xdg]), of("/var/lib/anp-proxy"));
        assert_eq!(found(false, &[home, xdg]), of("/xdg/anp-proxy"));
        assert_eq!(found(false, &[home]), of("/home/a/.local/state/anp-proxy"));
        assert_eq!(found(false, &[("HOME", ""), ("STATE_DIRECTORY", "")]), None);
    }

    #[test]
    fn what_is_not_kept_is_named_with_its_key() {
        let keys = |config: &Config| {
            let key = |what: &&str| what.split_once('(').unwrap().1.replace(')', "");
            not_kept(config).iter().map(key).collect::<Vec<_>>()
        };
        let mut config = Config {
            auth: serde_json::from_str(r#"{"public_names": ["gate.test"]}"#).unwrap(),
            admin_listen: Some(([127, 0, 0, 1], 9000).into()),
            ..Config::default()
        };
        let expected = [
            "gateway.auth.replay_store",
            "gateway.auth.token_key",
            "gateway.endpoint_store",
            "gateway.control_socket",
        ];
        assert_eq!(keys(&config), expected);
        assert_eq!(keys(&Config::default()), ["gateway.control_socket"]);
        // By a port that is another each time there is nothing to find again.
        config.listen.set_port(0);
        assert_eq!(keys(&config), expected[..2]);
        config
            .auth
            .as_mut()
            .unwrap()
            .keep_state_in(Path::new("/state"));
        assert_eq!(keys(&config), [""; 0]);
    }

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
