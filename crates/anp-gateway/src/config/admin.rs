//! Who may ask the admin listener.

use super::{
    Config,
    endpoint::check_host,
    error::{ConfigError, fail},
};
use crate::secret::Secret;

impl Config {
    /// Checks the settings of the admin listener.
    pub(super) fn check_admin(&self) -> Result<(), ConfigError> {
        for (i, host) in self.admin_hosts.iter().enumerate() {
            check_host(&format!("admin_hosts[{i}]"), host)?;
        }
        let has_token = self.admin_token()?.is_some();
        match self.admin_listen {
            Some(address) if !address.ip().is_loopback() && !has_token => fail(
                "admin_listen",
                format!(
                    "whoever reaches {address} could change what is served; use a loopback address, \
                     or set admin_token_file to a file with a secret token if that is meant"
                ),
            ),
            Some(address) if !address.ip().is_loopback() && !self.allow_plain_admin => fail(
                "admin_listen",
                format!(
                    "the token would travel to {address} in plain text, and whoever reads it could \
                     change what is served; use a loopback address behind something that speaks TLS \
                     (SSH, a proxy), or set allow_plain_admin = true where nobody else is on the \
                     network"
                ),
            ),
            _ => Ok(()),
        }
    }

    /// The token that the admin listener asks for.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub fn admin_token(&self) -> Result<Option<Secret>, ConfigError> {
        let (key, token) = match (&self.admin_token, &self.admin_token_file) {
            (None, None) => return Ok(None),
            (Some(token), None) => ("admin_token", token.clone()),
            (None, Some(path)) => {
                let key = "admin_token_file";
                let read = Secret::read(path).map_err(|expected| ConfigError {
                    key: key.to_owned(),
                    expected,
                });
                (key, read?)
            }
            (Some(_), Some(_)) => {
                return fail(
                    "admin_token_file",
                    "admin_token is set as well; keep one of them",
                );
            }
        };
        match token.is_token() {
            true => Ok(Some(token)),
            false => fail(
                key,
                "a token is 16 to 1024 characters of ASCII without spaces",
            ),
        }
    }
}
