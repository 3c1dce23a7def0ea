//! Whether the files that settings name can be used.

use std::{
    fs::{self, File},
    io,
    path::Path,
    time::SystemTime,
};

use anp_auth::{
    Tokens, load_document,
    resolver::{HttpsResolver, ResolverConfig},
};
use anp_tls::{FileError, OutOfTime, read};
use rustls::RootCertStore;

use super::{Config, auth::Auth, error::ConfigError};
use crate::tls::settings::KeyPair;

impl Config {
    /// Reads the files that the settings name, as a start does, and says what is wrong with each. It
    /// makes and changes none. Blocks for as long as reading takes.
    pub fn file_problems(&self) -> Vec<ConfigError> {
        let mut found = Vec::new();
        self.check_certificates(&mut found);
        if let Some(auth) = &self.auth {
            auth.check_files(&mut found);
        }
        if let Some(path) = &self.endpoint_store {
            note(&mut found, "endpoint_store", check_kept(path));
        }
        found
    }

    /// What is doubtful in files that can be used: certificates that have expired, or are not valid yet.
    /// A gateway starts with them, and those who connect refuse them. Blocks as
    /// [`Config::file_problems`] does.
    pub fn file_warnings(&self) -> Vec<ConfigError> {
        let mut found = Vec::new();
        for (table, pair) in self.certificates() {
            // Where it cannot be read, that is a problem and not a warning.
            let late = read::out_of_time(&pair.cert, SystemTime::now()).unwrap_or_default();
            found.extend(late.into_iter().map(|(name, why)| ConfigError {
                key: format!("{table}.cert"),
                expected: tell_late(&pair.cert, &name, why),
            }));
        }
        found
    }

    /// The certificates that are files, and the tables that name them.
    fn certificates(&self) -> Vec<(String, KeyPair)> {
        let public = self.tls.iter().flat_map(|tls| tls.pairs());
        let public = public.enumerate().map(|(i, pair)| match i.checked_sub(1) {
            None => ("tls".to_owned(), pair),
            Some(more) => (format!("tls.more[{more}]"), pair),
        });
        let tunnel = self.tunnel_tls.as_ref().and_then(|tls| tls.pair());
        let tunnel = tunnel.map(|pair| ("tunnel_tls".to_owned(), pair));
        public.chain(tunnel).collect()
    }

    fn check_certificates(&self, found: &mut Vec<ConfigError>) {
        for (table, pair) in self.certificates() {
            self.check_pair(&table, &pair, found);
        }
        if let Some(acme) = &self.acme
            && let Some(path) = &acme.ca_file
        {
            note(found, "acme.ca_file", check_authorities(path));
        }
        if let Some(tls) = &self.tunnel_tls
            && let Some(path) = &tls.client_ca
        {
            note(found, "tunnel_tls.client_ca", check_authorities(path));
        }
    }

    /// Reads a certificate and its key, which `table` names.
    fn check_pair(&self, table: &str, pair: &KeyPair, found: &mut Vec<ConfigError>) {
        if let Err(error) = read::certified_key(&pair.cert, &pair.key, self.readable_keys()) {
            let key = match error.path == pair.key && error.path != pair.cert {
                true => "key",
                false => "cert",
            };
            note(found, &format!("{table}.{key}"), Err(error.to_string()));
        }
    }
}

impl Auth {
    fn check_files(&self, found: &mut Vec<ConfigError>) {
        for (i, path) in self.resolver.documents.iter().enumerate() {
            let read = load_document(path).map(drop);
            let key = format!("auth.resolver.documents[{i}]");
            note(found, &key, read.map_err(|error| error.to_string()));
        }
        let resolver = HttpsResolver::new(&ResolverConfig {
            ca_file: self.resolver.ca_file.clone(),
            ..ResolverConfig::default()
        });
        let resolver = resolver.map(drop).map_err(|error| error.to_string());
        note(found, "auth.resolver.ca_file", resolver);
        if let Some(path) = &self.token_key {
            let checked = match path.exists() {
                true => Tokens::open(path, "", "", self.token_lifetime.0)
                    .map(drop)
                    .map_err(|error| error.to_string()),
                false => check_kept(path),
            };
            note(found, "auth.token_key", checked);
        }
        if let Some(path) = &self.replay_store {
            note(found, "auth.replay_store", check_kept(path));
        }
    }
}

/// What the user is told of a certificate of `file` that is not valid now.
fn tell_late(file: &Path, name: &str, why: OutOfTime) -> String {
    let (is, at) = why.words();
    let (file, date) = (file.display(), httpdate::fmt_http_date(at));
    format!("{file}: the certificate of {name} {is} {date}")
}

fn note(found: &mut Vec<ConfigError>, key: &str, checked: Result<(), String>) {
    found.extend(checked.err().map(|expected| ConfigError {
        key: key.to_owned(),
        expected,
    }));
}

fn check_authorities(path: &Path) -> Result<(), String> {
    anp_tls::authorities(&mut RootCertStore::empty(), path)
        .map_err(|error: FileError| error.to_string())
}

/// Looks whether a file that the gateway keeps can be read and written, or be made with its directory.
fn check_kept(file: &Path) -> Result<(), String> {
    let open = || File::options().read(true).write(true).open(file).map(drop);
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other.map_err(|error| format!("{}: {error}", file.display())),
    }
    // The nearest directory that is there takes those that are missing.
    for above in file.ancestors().skip(1) {
        let above = match above.as_os_str().is_empty() {
            true => Path::new("."),
            false => above,
        };
        let checked = match fs::metadata(above) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => Err(error),
            Ok(about) if !about.is_dir() => Err(io::ErrorKind::NotADirectory.into()),
            Ok(_) => check_writable(above),
        };
        return checked.map_err(|error| cannot_be_made(file, above, &error));
    }
    Ok(())
}

/// What the user is told of a `file` that is not there, where `above` takes none.
fn cannot_be_made(file: &Path, above: &Path, error: &io::Error) -> String {
    let directory = file.parent().unwrap_or(above);
    match directory.exists() || directory.as_os_str().is_empty() {
        true => format!(
            "{}: cannot be made in {}: {error}",
            file.display(),
            above.display()
        ),
        false => format!(
            "{}: its directory {} cannot be made in {}: {error}",
            file.display(),
            directory.display(),
            above.display()
        ),
    }
}

/// Looks whether this process may make files in a directory.
#[cfg(unix)]
fn check_writable(directory: &Path) -> io::Result<()> {
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    Ok(accessat(CWD, directory, wanted, AtFlags::EACCESS)?)
}

/// Only trying would tell.
#[cfg(not(unix))]
fn check_writable(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use anp_tls::testing::{Authority, put};

    use super::*;
    use crate::tls::settings::{TlsConfig, TunnelTlsConfig};

    fn keys(config: &Config) -> Vec<String> {
        let found = config.file_problems().into_iter();
        found.map(|error| error.to_string()).collect()
    }

    #[test]
    fn every_file_that_cannot_be_used_is_named_with_its_key() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        let missing = || place("missing");
        fs::write(place("file"), "no PEM").unwrap();
        let below = place("file/below/it");
        let pair = KeyPair {
            cert: missing(),
            key: missing(),
        };
        let mut auth = Auth {
            token_key: Some(below.clone()),
            replay_store: Some(below.clone()),
            ..Auth::default()
        };
        auth.resolver.documents = vec![place("file"), missing()];
        auth.resolver.ca_file = Some(missing());
        let config = Config {
            tls: Some(TlsConfig {
                cert: missing(),
                key: missing(),
                more: vec![pair],
            }),
            tunnel_tls: Some(TunnelTlsConfig {
                cert: Some(place("file")),
                key: Some(missing()),
                client_ca: Some(place("file")),
            }),
            auth: Some(auth),
            endpoint_store: Some(below),
            ..Config::default()
        };
        let found = keys(&config);
        let starts = [
            "tls.cert: ",
            "tls.more[0].cert: ",
            "tunnel_tls.cert: ",
            "tunnel_tls.client_ca: ",
            "auth.resolver.documents[0]: ",
            "auth.resolver.documents[1]: ",
            "auth.resolver.ca_file: ",
            "auth.token_key: ",
            "auth.replay_store: ",
            "endpoint_store: ",
        ];
        assert_eq!(found.len(), starts.len(), "{found:?}");
        for (error, start) in found.iter().zip(starts) {
            assert!(error.starts_with(start), "{error}");
            assert!(
                error.contains(&directory.path().display().to_string()),
                "{error}"
            );
        }
    }

    #[test]
    fn certificates_out_of_time_are_told_and_are_no_problem() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let pair = |name: &str, years| {
            let (cert, key) = authority.pem_between(years, &[&format!("{name}.example")]);
            let file = |end: &str, text: &str| {
                let file = directory.path().join(format!("{name}.{end}"));
                put(&file, text);
                file
            };
            KeyPair {
                cert: file("pem", &cert),
                key: file("key", &key),
            }
        };
        let KeyPair { cert, key } = pair("good", [2000, 2100]);
        let tunnel = pair("early", [2098, 2100]);
        let mut config = Config {
            tls: Some(TlsConfig {
                cert,
                key,
                more: vec![pair("late", [2000, 2001])],
            }),
            tunnel_tls: Some(TunnelTlsConfig {
                cert: Some(tunnel.cert),
                key: Some(tunnel.key),
                client_ca: None,
            }),
            ..Config::default()
        };
        assert_eq!(keys(&config), [""; 0]);
        let told: Vec<_> = config
            .file_warnings()
            .iter()
            .map(|w| w.to_string())
            .collect();
        let place = directory.path().display();
        assert_eq!(
            told,
            [
                format!(
                    "tls.more[0].cert: {place}/late.pem: the certificate of late.example expired on \
                     Mon, 01 Jan 2001 00:00:00 GMT"
                ),
                format!(
                    "tunnel_tls.cert: {place}/early.pem: the certificate of early.example is not \
                     valid before Wed, 01 Jan 2098 00:00:00 GMT"
                ),
            ]
        );
        // What cannot be read is told by the other.
        config.tunnel_tls = None;
        config.tls = Some(TlsConfig {
            cert: directory.path().join("missing"),
            key: directory.path().join("missing"),
            more: Vec::new(),
        });
        assert_eq!(config.file_warnings(), []);
    }

    #[cfg(unix)]
    #[test]
    fn a_directory_that_takes_no_file_is_named() {
        use std::os::unix::fs::PermissionsExt as _;
        // Nothing is closed to root, and so is nothing said of it.
        let closed = !rustix::process::geteuid().is_root();
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o500)).unwrap();
        let place = directory.path().display();
        for (file, why) in [
            ("endpoints.redb", format!("cannot be made in {place}: ")),
            (
                "deeper/still/endpoints.redb",
                format!("its directory {place}/deeper/still cannot be made in {place}: "),
            ),
        ] {
            let config = Config {
                endpoint_store: Some(directory.path().join(file)),
                ..Config::default()
            };
            let found = keys(&config);
            assert_eq!(found.len(), usize::from(closed), "{found:?}");
            let start = format!("endpoint_store: {place}/{file}: {why}");
            assert!(found.iter().all(|f| f.starts_with(&start)), "{found:?}");
        }
    }

    #[test]
    fn files_that_are_made_need_not_be_there() {
        let directory = tempfile::tempdir().unwrap();
        let place: PathBuf = directory.path().join("deeper/still/nonces.redb");
        let config = Config {
            auth: Some(Auth {
                replay_store: Some(place.clone()),
                token_key: Some(place.with_file_name("tokens.pem")),
                ..Auth::default()
            }),
            endpoint_store: Some("endpoints.redb".into()),
            ..Config::default()
        };
        assert_eq!(keys(&config), [""; 0]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
