//! The address by which callers know a gateway.

use std::{fmt, str::FromStr};

use anp_auth::PublicName;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// `http://` or `https://` and a name, such as `https://gateway.example`; trailing slashes are left
/// out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicUrl {
    is_https: bool,
    name: PublicName,
}

/// Text that is no [`PublicUrl`].
#[derive(Debug, Error)]
#[error("expected scheme and host, such as \"https://gateway.example\", got {0:?}")]
pub struct PublicUrlError(String);

impl PublicUrl {
    /// Whether callers speak TLS to it.
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.is_https { "https" } else { "http" }
    }

    /// Its host, and its port where it names one.
    pub fn name(&self) -> &PublicName {
        &self.name
    }
}

impl FromStr for PublicUrl {
    type Err = PublicUrlError;

    fn from_str(text: &str) -> Result<Self, PublicUrlError> {
        let is_https = text.starts_with("https://");
        let rest = match text.split_once("://") {
            Some(("http" | "https", rest)) => rest.trim_end_matches('/'),
            _ => return Err(PublicUrlError(text.to_owned())),
        };
        let name = rest.parse();
        let name = name.map_err(|_| PublicUrlError(text.to_owned()))?;
        Ok(Self { is_https, name })
    }
}

impl TryFrom<String> for PublicUrl {
    type Error = PublicUrlError;

    fn try_from(text: String) -> Result<Self, PublicUrlError> {
        text.parse()
    }
}

impl From<PublicUrl> for String {
    fn from(url: PublicUrl) -> Self {
        url.to_string()
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme(), self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_scheme_and_a_name() {
        for (text, written) in [
            ("https://gateway.example", "https://gateway.example"),
            (
                "http://gateway.example:8080/",
                "http://gateway.example:8080",
            ),
            ("https://[::1]:8443", "https://[::1]:8443"),
        ] {
            assert_eq!(text.parse::<PublicUrl>().unwrap().to_string(), written);
        }
        for text in [
            "",
            "gateway.example",
            "https://",
            "wss://gateway.example",
            "https://gateway.example/path",
            "https://user@gateway.example",
            "https://gateway.example:0",
            "https://https://gateway.example",
        ] {
            let error = text.parse::<PublicUrl>().unwrap_err().to_string();
            assert!(error.ends_with(&format!("got {text:?}")), "{error}");
        }
    }
}
