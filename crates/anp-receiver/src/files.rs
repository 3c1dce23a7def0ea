//! Whether the files that settings name can be used.

use anp_auth::SignerError;

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
}
