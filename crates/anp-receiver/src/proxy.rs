//! HTTP proxies between the receiver and its gateways, as `HTTP_PROXY` and its kin name them.

use std::{env, net::IpAddr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use url::Url;

use crate::address::GatewayUrl;

/// Which proxy leads to which gateway.
///
/// `HTTP_PROXY` is for `ws://`, `HTTPS_PROXY` for `wss://`; the lower-case names win. `NO_PROXY` is
/// a list of host names (each covers its subdomains), addresses, or `*`. `localhost` and loopback
/// addresses are never reached through a proxy.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    except: Vec<String>,
}

/// One HTTP proxy.
#[derive(Clone)]
pub struct Proxy {
    host: String,
    port: u16,
    credentials: Option<String>,
    /// The variable that names it.
    variable: Option<&'static str>,
}

/// A variable names a proxy in a way that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {reason}")]
pub struct ProxyError {
    variable: &'static str,
    reason: String,
}

impl Proxies {
    /// No proxy for anything.
    pub fn none() -> Self {
        Self::default()
    }

    /// What the environment says.
    ///
    /// # Errors
    /// A variable holds something other than an `http://` URL.
    pub fn from_env() -> Result<Self, ProxyError> {
        Self::from_vars(|name| env::var(name).ok())
    }

    /// What the variables say that `var` gives by their names.
    ///
    /// # Errors
    /// As [`Proxies::from_env`].
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Result<Self, ProxyError> {
        let either = |lower: &'static str, upper: &'static str| {
            let set = |name| var(name).filter(|value| !value.trim().is_empty());
            set(lower)
                .map(|v| (lower, v))
                .or_else(|| set(upper).map(|v| (upper, v)))
        };
        let proxy = |lower, upper| match either(lower, upper) {
            None => Ok(None),
            Some((variable, value)) => match Proxy::parse(value.trim()) {
                Ok(proxy) => Ok(Some(Proxy {
                    variable: Some(variable),
                    ..proxy
                })),
                Err(reason) => Err(ProxyError { variable, reason }),
            },
        };
        let except = either("no_proxy", "NO_PROXY").map_or_else(Vec::new, |(_, list)| {
            list.split(',')
                .map(|host| host.trim().trim_start_matches('.').to_ascii_lowercase())
                .filter(|host| !host.is_empty())
                .collect()
        });
        Ok(Self {
            http: proxy("http_proxy", "HTTP_PROXY")?,
            https: proxy("https_proxy", "HTTPS_PROXY")?,
            except,
        })
    }

    /// The proxy that leads to `gateway`, if it takes one.
    pub fn for_gateway(&self, gateway: &GatewayUrl) -> Option<&Proxy> {
        let proxy = match gateway.is_secure() {
            true => self.https.as_ref(),
            false => self.http.as_ref(),
        }?;
        (!self.is_excepted(gateway.host())).then_some(proxy)
    }

    fn is_excepted(&self, host: &str) -> bool {
        if host == "localhost"
            || host
                .parse::<IpAddr>()
                .is_ok_and(|ip| ip.to_canonical().is_loopback())
        {
            return true;
        }
        self.except.iter().any(|except| {
            except == "*"
                || host
                    .strip_suffix(except.as_str())
                    .is_some_and(|left| left.is_empty() || left.ends_with('.'))
        })
    }
}

impl Proxy {
    /// Reads `http://[user:password@]host[:port]` or `host[:port]`; the port is 80 unless given.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let with_scheme = match text.contains("://") {
            true => text.to_owned(),
            false => format!("http://{text}"),
        };
        // The text may hold a password, so no message repeats it.
        let url = Url::parse(&with_scheme)
            .map_err(|e| format!("expected a URL such as http://proxy.example:3128 ({e})"))?;
        if url.scheme() != "http" {
            return Err(format!(
                "expected an http:// proxy, got {}://",
                url.scheme()
            ));
        }
        let host = url.host_str().unwrap_or_default();
        let credentials = (!url.username().is_empty()).then(|| {
            let mut pair = percent_decode(url.username());
            pair.push(b':');
            pair.extend(percent_decode(url.password().unwrap_or_default()));
            STANDARD.encode(pair)
        });
        Ok(Self {
            host: host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            port: url.port().unwrap_or(80),
            credentials,
            variable: None,
        })
    }

    /// The proxy's name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The proxy's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it is called where it cannot be reached, with the variable that can be mended.
    pub(crate) fn described(&self) -> String {
        let from = self.variable.map(|variable| format!(" ({variable})"));
        let from = from.unwrap_or_default();
        format!("the proxy {}:{}{from}", self.host, self.port)
    }

    /// What follows `Basic ` in `Proxy-Authorization` (RFC 7617).
    pub(crate) fn credentials(&self) -> Option<&str> {
        self.credentials.as_deref()
    }
}

/// Shows everything but the credentials.
impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("credentials", &self.credentials.as_ref().map(|_| "***"))
            .field("variable", &self.variable)
            .finish()
    }
}

/// Undoes percent-encoding; a `%` without two hexadecimal digits stays.
fn percent_decode(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = |i: usize| after.get(i).and_then(|b| char::from(*b).to_digit(16));
        match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or_default());
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(vars: &[(&str, &str)]) -> Result<Proxies, ProxyError> {
        Proxies::from_vars(|name| {
            let (_, value) = vars.iter().find(|(n, _)| *n == name)?;
            Some((*value).to_owned())
        })
    }

    fn leads(proxies: &Proxies, gateway: &str) -> Option<String> {
        let proxy = proxies.for_gateway(&gateway.parse().unwrap())?;
        Some(format!("{}:{}", proxy.host(), proxy.port()))
    }

    #[test]
    fn each_scheme_has_its_variable_and_lower_case_wins() {
        let set = proxies(&[
            ("HTTP_PROXY", "http://upper.example"),
            ("http_proxy", "lower.example:3128"),
            ("HTTPS_PROXY", "http://secure.example:8080"),
        ])
        .unwrap();
        assert_eq!(
            leads(&set, "ws://gate.example").unwrap(),
            "lower.example:3128"
        );
        assert_eq!(
            leads(&set, "wss://gate.example").unwrap(),
            "secure.example:8080"
        );
        assert_eq!(leads(&Proxies::none(), "ws://gate.example"), None);
    }

    #[test]
    fn exceptions_cover_subdomains_and_loopback() {
        let set = proxies(&[
            ("HTTP_PROXY", "http://proxy.example"),
            ("NO_PROXY", " .inner.example, 10.0.0.7,"),
        ])
        .unwrap();
        for direct in [
            "inner.example",
            "a.inner.example",
            "10.0.0.7",
            "localhost",
            "127.0.0.9",
            "[::1]",
        ] {
            assert_eq!(leads(&set, &format!("ws://{direct}")), None, "{direct}");
        }
        for through in ["spinner.example", "10.0.0.77", "gate.example"] {
            assert!(
                leads(&set, &format!("ws://{through}")).is_some(),
                "{through}"
            );
        }
        let all = proxies(&[("HTTP_PROXY", "http://proxy.example"), ("no_proxy", "*")]).unwrap();
        assert_eq!(leads(&all, "ws://gate.example"), None);
    }

    #[test]
    fn what_cannot_be_used_names_the_variable_and_hides_the_password() {
        let error = proxies(&[("HTTPS_PROXY", "socks5://u:secret@proxy.example")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "HTTPS_PROXY: expected an http:// proxy, got socks5://"
        );
        let proxy = Proxy::parse("http://u:secret@proxy.example").unwrap();
        assert!(!format!("{proxy:?}").contains("secret"));
    }
}
