//! Whether the files that settings name can be used.

use std::time::SystemTime;

use anp_auth::SignerError;
use anp_tls::{OutOfTime, read};

use crate::{
    config::{Config, ConfigError},
    proof::{Identity, IdentityError},
    tls::{Tls, TlsError},
};

impl Config {
    /// Reads the files that the settings name, as a start does, and says what is wrong with each.
    /// Blocks for as long as reading takes.
    pub fn file_problems(&self) -> Vec<ConfigError> {
        let identity = Identity::load(self).err().map(of_identity);
        let tls = Tls::new(self).err().map(of_tls);
        identity.into_iter().chain(tls).collect()
    }

    /// What is doubtful in files that can be used: a certificate that has expired, or is not valid yet,
    /// which gateways refuse. Blocks as [`Config::file_problems`] does.
    pub fn file_warnings(&self) -> Vec<ConfigError> {
        let Some(file) = &self.client_cert else {
            return Vec::new();
        };
        // Where it cannot be read, that is a problem and not a warning.
        let late = read::out_of_time(file, SystemTime::now()).unwrap_or_default();
        let told = |(name, why): (String, OutOfTime)| {
            let (is, at) = why.words();
            let (file, date) = (file.display(), httpdate::fmt_http_date(at));
            ConfigError {
                key: "client_cert",
                message: format!("{file}: the certificate of {name} {is} {date}"),
            }
        };
        late.into_iter().map(told).collect()
    }
}

fn of_identity(error: IdentityError) -> ConfigError {
    let (key, message) = match error {
        IdentityError::Signer(error) => {
            let key = match &error {
                SignerError::Read { .. } | SignerError::Document { .. } => "did_document",
                SignerError::KeyFile(_) | SignerError::Key(_) | SignerError::OtherKey { .. } => {
                    "did_key"
                }
            };
            (key, error.to_string())
        }
        IdentityError::File(error) => ("token_file", error.to_string()),
        IdentityError::Token(file) => (
            "token_file",
            format!(
                "{}: expected a token, such as anp_…, and nothing else",
                file.display()
            ),
        ),
    };
    ConfigError { key, message }
}

fn of_tls(error: TlsError) -> ConfigError {
    match error {
        TlsError::File { key, source } => ConfigError {
            key,
            message: source.to_string(),
        },
        TlsError::NoRoots | TlsError::Crypto(_) => ConfigError {
            key: "ca_file",
            message: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_file_that_cannot_be_used_is_named_with_its_key() {
        let directory = tempfile::tempdir().unwrap();
        let missing = Some(directory.path().join("missing"));
        let (cert, other) = (
            directory.path().join("cert.pem"),
            directory.path().join("no.pem"),
        );
        fs::write(
            &cert,
            anp_tls::testing::Authority::new().pem(&["a.example"]).0,
        )
        .unwrap();
        fs::write(&other, "no PEM").unwrap();
        // Over ws:// nothing needs the authorities; that they are not there is noticed all the same.
        let config = |change: &dyn Fn(&mut Config)| {
            let mut config = Config {
                gateways: vec!["ws://127.0.0.1:1".parse().unwrap()],
                ..Config::default()
            };
            change(&mut config);
            let found = config.file_problems().into_iter();
            found.map(|error| error.key).collect::<Vec<_>>()
        };
        assert_eq!(config(&|_| ()), [""; 0]);
        assert_eq!(
            config(&|c| (c.did_document, c.did_key) = (missing.clone(), missing.clone())),
            ["did_document"]
        );
        assert_eq!(config(&|c| c.token_file = missing.clone()), ["token_file"]);
        assert_eq!(config(&|c| c.ca_file = missing.clone()), ["ca_file"]);
        assert_eq!(
            config(&|c| (c.client_cert, c.client_key) = (missing.clone(), missing.clone())),
            ["client_cert"]
        );
        assert_eq!(
            config(&|c| {
                c.token_file = missing.clone();
                (c.client_cert, c.client_key) = (Some(cert.clone()), Some(other.clone()));
            }),
            ["token_file", "client_key"]
        );
    }

    #[test]
    fn a_certificate_out_of_time_is_told_with_its_date() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("cert.pem");
        let authority = anp_tls::testing::Authority::new();
        let mut config = Config::default();
        assert_eq!(config.file_warnings().len(), 0);
        config.client_cert = Some(file.clone());
        for (years, told) in [
            ([2000, 2100], None),
            (
                [2000, 2001],
                Some("expired on Mon, 01 Jan 2001 00:00:00 GMT"),
            ),
            (
                [2098, 2100],
                Some("is not valid before Wed, 01 Jan 2098 00:00:00 GMT"),
            ),
        ] {
            fs::write(&file, authority.pem_between(years, &["lab.example"]).0).unwrap();
            let found = config.file_warnings();
            let found: Vec<_> = found.iter().map(|w| (w.key, w.message.clone())).collect();
            let told = told.map(|told| {
                let told = format!("{}: the certificate of lab.example {told}", file.display());
                ("client_cert", told)
            });
            assert_eq!(found, Vec::from_iter(told));
        }
    }
}
