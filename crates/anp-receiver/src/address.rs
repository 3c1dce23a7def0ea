//! The two kinds of address a receiver is given: gateways to connect to and apps to call.

use std::{fmt, path::PathBuf, str::FromStr};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use url::Url;

use crate::printable::{without_query, without_user};

/// Why an address was refused. `Display` quotes it and says what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not {what}: {why}")]
pub struct AddressError {
    text: String,
    what: &'static str,
    why: String,
}

/// Where a gateway takes tunnels: `wss://host[:port][/path]`, or `ws://` without TLS. `https://` and
/// `http://` mean the same. A query goes to the gateway, and is shown nowhere else: neither `Display`,
/// `Debug` nor `Serialize` has it.
#[derive(Clone, PartialEq, Eq)]
pub struct GatewayUrl {
    /// As it is shown. The query, which may hold a secret, is in `target` alone.
    text: String,
    secure: bool,
    host: String,
    port: u16,
    authority: String,
    target: String,
}

/// An app to call: `http://host[:port][/prefix]`, `h2c://…` (HTTP/2 without TLS), `https://…`
/// (HTTP/1.1 over TLS), `h2://…` (HTTP/2 over TLS) or `unix:/path/of/socket`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppUrl {
    text: String,
    place: AppPlace,
    secure: bool,
    http2: bool,
    prefix: Bytes,
}

/// How an app is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppPlace {
    /// Over TCP.
    Tcp {
        /// A name or an address, without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// Over a Unix domain socket.
    Unix(PathBuf),
}

impl GatewayUrl {
    /// True for `wss` and `https`.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The name or address to connect to, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What `Host` says: the port is left out where it is the scheme's own.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The URL of the handshake as it is signed: scheme, authority and target.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.secure { "wss" } else { "ws" };
        format!("{scheme}://{}{}", self.authority, self.target)
    }

    /// True where what is sent reaches no network: a loopback address, or the name of one.
    pub fn is_loopback(&self) -> bool {
        let address = self.host.parse::<std::net::IpAddr>();
        address.is_ok_and(|address| address.to_canonical().is_loopback())
            || self.host.eq_ignore_ascii_case("localhost")
    }

    /// Path and query of the handshake request, at least `/`.
    pub fn target(&self) -> &str {
        &self.target
    }
}

impl AppUrl {
    /// How the app is reached.
    pub fn place(&self) -> &AppPlace {
        &self.place
    }

    /// True where the app is called over TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// What `Host` says where no caller's is at hand; a Unix socket has no better name than this
    /// machine's.
    pub(crate) fn authority(&self) -> String {
        match &self.place {
            AppPlace::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            AppPlace::Tcp { host, port } => format!("{host}:{port}"),
            AppPlace::Unix(_) => "localhost".to_owned(),
        }
    }

    /// Whom the certificate of an app over TLS must name; `None` for a Unix socket.
    pub fn host(&self) -> Option<&str> {
        match &self.place {
            AppPlace::Tcp { host, .. } => Some(host),
            AppPlace::Unix(_) => None,
        }
    }

    /// True where the app is called over HTTP/2: without TLS with prior knowledge (RFC 9113 section
    /// 3.3).
    pub fn is_http2(&self) -> bool {
        self.http2
    }

    /// What is put before every target, without a slash at its end; often empty.
    pub fn prefix(&self) -> &Bytes {
        &self.prefix
    }
}

impl fmt::Debug for GatewayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GatewayUrl").field(&self.text).finish()
    }
}

/// A URL's host without the brackets of an IPv6 address.
fn bare_host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned()
}

impl FromStr for GatewayUrl {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let refuse = |why: &dyn fmt::Display| AddressError {
            text: without_query(text),
            what: "a gateway address",
            why: why.to_string(),
        };
        if !text.contains("://") {
            return Err(refuse(&"expected a URL such as wss://gateway.example:8765"));
        }
        let mut url = Url::parse(text).map_err(|e| refuse(&e))?;
        let secure = match url.scheme() {
            "ws" | "http" => false,
            "wss" | "https" => true,
            other => {
                return Err(refuse(&format_args!(
                    "expected ws, wss, http or https, got {other}"
                )));
            }
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse(&"user names and passwords are not taken here"));
        }
        url.set_fragment(None);
        let authority = match (url.host_str(), url.port()) {
            (None | Some(""), _) => return Err(refuse(&"the host is missing")),
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
        };
        let port = url.port().unwrap_or(if secure { 443 } else { 80 });
        if port == 0 {
            return Err(refuse(&"port 0 cannot be connected to"));
        }
        let mut target = url.path().to_owned();
        if let Some(query) = url.query() {
            target.push('?');
            target.push_str(query);
        }
        Ok(Self {
            text: without_query(text),
            secure,
            host: bare_host(&url),
            port,
            authority,
            target,
        })
    }
}

impl FromStr for AppUrl {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let refuse = |why: &dyn fmt::Display| AddressError {
            text: without_user(text),
            what: "an app address",
            why: why.to_string(),
        };
        if let Some(path) = text.strip_prefix("unix:") {
            // unix:/path and unix:///path are both in use.
            let path = path.strip_prefix("//").unwrap_or(path);
            if !path.starts_with('/') {
                return Err(refuse(
                    &"expected an absolute path such as unix:/run/app.sock",
                ));
            }
            return Ok(Self {
                text: text.to_owned(),
                place: AppPlace::Unix(path.into()),
                secure: false,
                http2: false,
                prefix: Bytes::new(),
            });
        }
        if !text.contains("://") {
            return Err(refuse(
                &"expected a URL such as http://127.0.0.1:8000, h2c://127.0.0.1:50051 or unix:/run/app.sock",
            ));
        }
        let mut url = Url::parse(text).map_err(|e| refuse(&e))?;
        let (secure, http2) = match url.scheme() {
            "http" => (false, false),
            "h2c" => (false, true),
            "https" => (true, false),
            "h2" => (true, true),
            other => {
                return Err(refuse(&format_args!(
                    "expected http, h2c, https, h2 or unix, got {other}"
                )));
            }
        };
        if url.host_str().is_none_or(str::is_empty) {
            return Err(refuse(&"the host is missing"));
        }
        if http2 && let Some((_, rest)) = url.as_str().split_once(':') {
            // Hosts and paths have the rules of http, which the parser keeps for schemes it knows.
            let scheme = if secure { "https" } else { "http" };
            url = Url::parse(&format!("{scheme}:{rest}")).map_err(|e| refuse(&e))?;
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse(&"user names and passwords are not taken here"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse(&"a path prefix has no query and no fragment"));
        }
        let port = url.port().unwrap_or(if secure { 443 } else { 80 });
        if port == 0 {
            return Err(refuse(&"port 0 cannot be connected to"));
        }
        Ok(Self {
            text: text.to_owned(),
            place: AppPlace::Tcp {
                host: bare_host(&url),
                port,
            },
            secure,
            http2,
            prefix: Bytes::copy_from_slice(url.path().trim_end_matches('/').as_bytes()),
        })
    }
}

macro_rules! as_text {
    ($type:ident, $expecting:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.text)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.text)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Visitor)
            }
        }
    };
}

as_text!(
    GatewayUrl,
    "a gateway URL such as \"wss://gateway.example:8765\""
);
as_text!(
    AppUrl,
    "an app URL such as \"http://127.0.0.1:8000\", \"h2c://127.0.0.1:50051\" or \"unix:/run/app.sock\""
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_are_read() {
        let plain: GatewayUrl = "ws://Gate.example:8765".parse().unwrap();
        assert_eq!((plain.host(), plain.port()), ("gate.example", 8765));
        assert_eq!(plain.authority(), "gate.example:8765");
        assert_eq!((plain.target(), plain.is_secure()), ("/", false));
        assert_eq!(plain.to_string(), "ws://Gate.example:8765");

        let v6: GatewayUrl = "http://[::1]/anpx?a=b#c".parse().unwrap();
        assert_eq!((v6.host(), v6.port(), v6.authority()), ("::1", 80, "[::1]"));
        assert_eq!(v6.target(), "/anpx?a=b");

        let secure: GatewayUrl = "wss://gate.example".parse().unwrap();
        assert_eq!((secure.port(), secure.is_secure()), (443, true));
    }

    #[test]
    fn apps_are_read() {
        let app: AppUrl = "http://localhost:8000/v1/".parse().unwrap();
        assert_eq!(&app.prefix()[..], b"/v1");
        let place = AppPlace::Tcp {
            host: "localhost".into(),
            port: 8000,
        };
        assert_eq!(app.place(), &place);
        let app: AppUrl = "http://127.0.0.1:8000".parse().unwrap();
        assert!(app.prefix().is_empty());
        let app: AppUrl = "h2c://LocalHost:50051/v1/".parse().unwrap();
        assert_eq!((&app.prefix()[..], app.is_http2()), (&b"/v1"[..], true));
        let place = AppPlace::Tcp {
            host: "localhost".into(),
            port: 50051,
        };
        assert_eq!(app.place(), &place);
        for (text, http2, port) in [
            ("https://a.example/v1", false, 443),
            ("h2://a.example/v1", true, 443),
            ("h2://A.example:50051/v1", true, 50051),
        ] {
            let app: AppUrl = text.parse().unwrap();
            assert_eq!((app.is_secure(), app.is_http2()), (true, http2));
            assert_eq!(
                (app.host(), &app.prefix()[..]),
                (Some("a.example"), &b"/v1"[..])
            );
            let place = AppPlace::Tcp {
                host: "a.example".into(),
                port,
            };
            assert_eq!(app.place(), &place);
        }
        for text in ["unix:/run/app.sock", "unix:///run/app.sock"] {
            let app: AppUrl = text.parse().unwrap();
            assert_eq!(app.place(), &AppPlace::Unix("/run/app.sock".into()));
        }
    }

    #[test]
    fn a_query_goes_to_the_gateway_alone() {
        let url: GatewayUrl = "ws://gate.example/t?key=secret".parse().unwrap();
        assert_eq!(url.target(), "/t?key=secret");
        assert_eq!(url.to_string(), "ws://gate.example/t");
        assert_eq!(format!("{url:?}"), "GatewayUrl(\"ws://gate.example/t\")");
        assert_eq!(serde_json::to_value(&url).unwrap(), "ws://gate.example/t");
        assert_ne!(url, "ws://gate.example/t?key=other".parse().unwrap());
        let error = "ftp://gate.example/t?key=secret".parse::<GatewayUrl>();
        assert!(!error.unwrap_err().to_string().contains("secret"));
    }

    #[test]
    fn a_password_is_not_quoted() {
        let error = "wss://me:secret@gate.example".parse::<GatewayUrl>();
        let error = error.unwrap_err().to_string();
        assert!(
            error.starts_with("\"wss://****@gate.example\" is not a gateway address: user names")
        );
    }

    #[test]
    fn bad_addresses_are_quoted_with_a_reason() {
        for (text, why) in [
            ("gate.example:8765", "expected a URL such as wss://"),
            (
                "ftp://gate.example",
                "expected ws, wss, http or https, got ftp",
            ),
            ("ws://", "empty host"),
            ("ws://gate.example:0", "port 0"),
            ("ws://gate.example:99999", "invalid port"),
        ] {
            let error = text.parse::<GatewayUrl>().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("\"{text}\" is not a gateway address: ")),
                "{error}"
            );
            assert!(error.contains(why), "{error}");
        }
        for (text, why) in [
            ("localhost:8000", "expected a URL such as http://"),
            (
                "ftp://localhost",
                "expected http, h2c, https, h2 or unix, got ftp",
            ),
            ("h2c:///v1", "host is missing"),
            ("h2c://localhost:0", "port 0"),
            ("unix:app.sock", "absolute path"),
            ("http://localhost/?a", "no query"),
        ] {
            let error = text.parse::<AppUrl>().unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
