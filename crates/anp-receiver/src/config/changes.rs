//! What is different in a configuration that was read again, and what that takes.

use std::{
    fmt, fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::PathBuf,
};

use super::Config;

/// What it takes for a new value of a key to be in effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing: it is read when it is needed.
    Nothing,
    /// Tunnels to gateways that come, and an end of those to gateways that go.
    Gateways,
    /// Another app for the requests to come.
    App,
    /// New tunnels in place of all there are.
    Tunnels,
    /// Both.
    AppAndTunnels,
    /// A new process.
    Restart,
}

/// What is different.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Keys whose new values count, and those whose file has something else.
    pub(crate) changed: Vec<&'static str>,
    /// Keys whose new values wait for a restart.
    pub(crate) kept: Vec<&'static str>,
    /// Requests to come are for another app, or another way to call it.
    pub(crate) app: bool,
    /// No tunnel can stay.
    pub(crate) tunnels: bool,
}

/// What the files that a configuration names held when it was read, so far as a change of it calls for
/// something. (The certificate for gateways is read for every connection.)
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Files([(&'static str, Takes, Option<u64>); 4]);

impl Changes {
    /// Between what runs and `config`, which has `files`, and takes over from it what only a restart
    /// can change.
    pub(crate) fn between(
        running: (&Config, &Files),
        config: &mut Config,
        files: &Files,
    ) -> Changes {
        let (before, held) = running;
        let mut changes = Changes::default();
        for (key, takes) in differences(config, before) {
            changes.note(key, takes);
        }
        for (new, old) in files.0.iter().zip(&held.0) {
            let (key, takes, _) = *new;
            if new != old && !changes.changed.contains(&key) {
                changes.note(key, takes);
            }
        }
        config.workers = before.workers;
        config.status_listen = before.status_listen;
        changes
    }

    fn note(&mut self, key: &'static str, takes: Takes) {
        match takes {
            Takes::Restart => return self.kept.push(key),
            Takes::App => self.app = true,
            Takes::Tunnels => self.tunnels = true,
            Takes::AppAndTunnels => (self.app, self.tunnels) = (true, true),
            Takes::Nothing | Takes::Gateways => {}
        }
        self.changed.push(key);
    }
}

impl Files {
    /// Those of `config`. Blocks for as long as reading takes.
    pub(crate) fn of(config: &Config) -> Self {
        // What cannot be read is told of by whoever needs it.
        let held = |path: &Option<PathBuf>| {
            let bytes = fs::read(path.as_ref()?).ok()?;
            let mut hasher = DefaultHasher::new();
            bytes.hash(&mut hasher);
            Some(hasher.finish())
        };
        Self([
            ("ca_file", Takes::AppAndTunnels, held(&config.ca_file)),
            ("did_document", Takes::Tunnels, held(&config.did_document)),
            ("did_key", Takes::Tunnels, held(&config.did_key)),
            ("token_file", Takes::Tunnels, held(&config.token_file)),
        ])
    }
}

impl fmt::Debug for Files {
    /// Nothing of what is in them, not even a hash.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Files")
    }
}

macro_rules! keys {
    ($($takes:ident: $($key:ident)*;)*) => {
        /// Every key.
        #[cfg(test)]
        const KEYS: &[(Takes, &[&str])] = &[$((Takes::$takes, &[$(stringify!($key)),*])),*];

        /// The keys whose values in `new` are not those in `before`.
        fn differences(new: &Config, before: &Config) -> Vec<(&'static str, Takes)> {
            // Names every field: one that is missing here does not compile.
            let Config { $($($key,)*)* } = new;
            let same = [$($((stringify!($key), Takes::$takes, *$key == before.$key),)*)*];
            let different = same.into_iter().filter(|(.., same)| !same);
            different.map(|(key, takes, _)| (key, takes)).collect()
        }
    };
}

keys!(
    App: to app_connect_timeout pool_max_idle pool_idle_timeout compress health_path health_interval
        health_timeout health_fall health_rise;
    Gateways: gateways;
    Nothing: drain_timeout;
    Tunnels: resolve name client_cert client_key allow_world_readable_keys did_document did_key
        auth_form token token_file endpoints tunnels reconnect_delay max_reconnect_delay
        max_reconnect_attempts handshake_timeout max_streams ping_interval;
    AppAndTunnels: ca_file insecure_skip_verify;
    Restart: workers status_listen;
);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn between(running: &Config, mut config: Config) -> Changes {
        let files = (Files::of(running), Files::of(&config));
        Changes::between((running, &files.0), &mut config, &files.1)
    }

    #[test]
    fn the_document_says_what_each_key_takes() {
        let document = include_str!("../../../../docs/configuration.md");
        let (_, table) = document.split_once("\n| new values of | ").unwrap();
        let keys = |takes: &[Takes]| -> BTreeSet<&str> {
            let of = KEYS.iter().filter(|(is, _)| takes.contains(is));
            of.flat_map(|(_, keys)| *keys).copied().collect()
        };
        let mut rows = table.lines().skip(2).map(|row| {
            let (first, _) = row.strip_prefix("| ").unwrap().split_once(" | ").unwrap();
            let named = first.split('`').skip(1).step_by(2);
            named.collect::<BTreeSet<_>>()
        });
        let mut next = || rows.next().unwrap();
        use Takes::*;
        assert_eq!(next(), keys(&[App]));
        assert_eq!(next(), keys(&[Gateways]));
        assert_eq!(next(), keys(&[Tunnels]));
        assert_eq!(next(), keys(&[AppAndTunnels]));
        assert!(next().is_superset(&keys(&[Nothing])));
        assert!(next().is_superset(&keys(&[Restart])));
    }

    #[test]
    fn the_same_takes_nothing() {
        let config = Config::default();
        assert_eq!(between(&config, config.clone()), Changes::default());
    }

    #[test]
    fn what_waits_for_a_restart_stays_as_it_was() {
        let running = Config::default();
        let mut config = Config {
            workers: 3,
            to: vec!["http://127.0.0.1:1".parse().unwrap()],
            ..Config::default()
        };
        let files = Files::of(&running);
        let changes = Changes::between((&running, &files), &mut config, &files);
        assert_eq!(
            (changes.changed, changes.kept),
            (vec!["to"], vec!["workers"])
        );
        assert!(changes.app && !changes.tunnels);
        assert_eq!(config.workers, 1);
    }

    #[test]
    fn another_token_in_the_same_file_is_a_change() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        fs::write(&file, "one").unwrap();
        let config = Config {
            token_file: Some(file.clone()),
            ..Config::default()
        };
        let held = Files::of(&config);
        fs::write(&file, "two").unwrap();
        let now = Files::of(&config);
        let changes = Changes::between((&config, &held), &mut config.clone(), &now);
        assert_eq!(changes.changed, ["token_file"]);
        assert!(changes.tunnels && !changes.app);
    }
}
