//! Asks the admin listener of a gateway, and reads its answer.

use std::{io, net::SocketAddr, time::Duration};

use anp_gateway::{ADMIN_MARK, Secret};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, StatusCode, Uri,
    client::conn::http1,
    header::{AUTHORIZATION, CONTENT_TYPE, ETAG, HOST, HeaderValue, IF_MATCH},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, sync::OnceCell, time::timeout};

use super::args::Target;
use crate::{config::Loaded, exit::Failure};

/// Where the examples of the documentation have it.
const USUAL: &str = "http://127.0.0.1:9000";

/// For the whole of a question and its answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Largest answer, in bytes: a page of a thousand endpoints fits.
const MAX_ANSWER: usize = 64 << 20;

/// The admin listener of a gateway.
pub(super) struct Client {
    /// Host and port.
    authority: String,
    token: Option<Secret>,
    /// Set once it was seen to be one.
    recognised: OnceCell<()>,
}

impl Client {
    /// That which the flags name, or else the configuration.
    ///
    /// # Errors
    /// The address is none, or the token's file cannot be used.
    pub(super) fn new(target: &Target, loaded: &Loaded) -> Result<Self, Failure> {
        let gateway = &loaded.config.gateway;
        let usual = || USUAL.to_owned();
        let configured = gateway
            .admin_listen
            .map(|address| format!("http://{}", here(address)));
        let url = target
            .admin
            .clone()
            .or(configured.clone())
            .unwrap_or_else(usual);
        let token = match &target.admin_token_file {
            Some(file) => {
                let read = Secret::read(file);
                Some(read.map_err(|why| Failure::usage(format!("--admin-token-file: {why}")))?)
            }
            // What the configuration says is for the gateway that it describes.
            None if target.admin.is_none() && configured.is_some() => gateway
                .admin_token()
                .map_err(|error| Failure::usage(format!("gateway.{error}")))?,
            None => None,
        };
        Ok(Self {
            authority: authority(&url)?,
            token,
            recognised: OnceCell::new(),
        })
    }

    /// The answer to `method target`; a change has a `body`.
    ///
    /// # Errors
    /// There was none, or the gateway refused.
    pub(super) async fn ask(
        &self,
        method: &str,
        target: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        Ok(self.ask_if(method, target, body, None).await?.0)
    }

    /// As [`Client::ask`], where what is changed still has the tag `seen`. Gives the tag of the
    /// answer as well.
    ///
    /// # Errors
    /// As [`Client::ask`], also where it was changed meanwhile.
    pub(super) async fn ask_if(
        &self,
        method: &str,
        target: &str,
        body: Option<&Value>,
        seen: Option<&HeaderValue>,
    ) -> Result<(Value, Option<HeaderValue>), Failure> {
        let asked = timeout(PATIENCE, async {
            self.recognised.get_or_try_init(|| self.recognise()).await?;
            let request = self.request(method, target, body, seen)?;
            self.exchange(request).await
        });
        let asked = asked.await;
        let (status, tag, body) = asked.unwrap_or_else(|_| {
            Err(Failure::runtime(format!(
                "http://{} did not answer within {} s",
                self.authority,
                PATIENCE.as_secs()
            )))
        })?;
        if status == StatusCode::NO_CONTENT {
            return Ok((Value::Null, None));
        }
        let value: Result<Value, _> = serde_json::from_slice(&body);
        match value {
            Ok(value) if status.is_success() => Ok((value, tag)),
            Ok(value) => match value.get("detail").and_then(Value::as_str) {
                Some(detail) => Err(self.refused(status, detail)),
                None => Err(self.not_ours(status)),
            },
            Err(_) => Err(self.not_ours(status)),
        }
    }

    /// Asks for what anybody may see, so that another server gets neither token nor change.
    async fn recognise(&self) -> Result<(), Failure> {
        let request = Request::get("/healthz").header(HOST, &self.authority);
        let request = request
            .body(Full::default())
            .map_err(|error| Failure::usage(error.to_string()))?;
        self.exchange(request).await.map(drop)
    }

    fn request(
        &self,
        method: &str,
        target: &str,
        body: Option<&Value>,
        seen: Option<&HeaderValue>,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, &self.authority);
        if method != "GET" {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(seen) = seen {
            request = request.header(IF_MATCH, seen);
        }
        if let Some(token) = &self.token {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose()))
                .map_err(|_| Failure::usage("the token cannot stand in a header"))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let body = body.map(|body| Bytes::from(body.to_string()));
        request
            .body(Full::new(body.unwrap_or_default()))
            .map_err(|error| Failure::usage(error.to_string()))
    }

    /// The answer of an admin listener: status, tag and body.
    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Option<HeaderValue>, Bytes), Failure> {
        let socket = TcpStream::connect(&self.authority).await;
        let socket = socket.map_err(|error| self.not_there(&error))?;
        let broke = |error: &dyn std::fmt::Display| {
            Failure::runtime(format!("http://{} broke off: {error}", self.authority))
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(socket))
            .await
            .map_err(|error| broke(&error))?;
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(|e| broke(&e))?;
        let status = response.status();
        if !response.headers().contains_key(ADMIN_MARK) {
            return Err(self.not_ours(status));
        }
        let tag = response.headers().get(ETAG).cloned();
        let body = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await;
        Ok((status, tag, body.map_err(|error| broke(&error))?.to_bytes()))
    }

    fn not_there(&self, error: &io::Error) -> Failure {
        let at = &self.authority;
        Failure::runtime(match error.kind() {
            io::ErrorKind::ConnectionRefused => format!(
                "nothing listens at http://{at}: start the gateway with --admin-listen ADDR \
                 (gateway.admin_listen), and say where it is with --admin http://ADDR"
            ),
            _ => format!("cannot connect to http://{at}: {error}"),
        })
    }

    fn refused(&self, status: StatusCode, detail: &str) -> Failure {
        let detail: String = detail.chars().map(super::table::plain).collect();
        Failure::runtime(match status {
            StatusCode::UNAUTHORIZED => format!("{detail} (--admin-token-file FILE)"),
            _ => detail,
        })
    }

    fn not_ours(&self, status: StatusCode) -> Failure {
        Failure::runtime(format!(
            "what answers at http://{} ({status}) is not the admin listener of a gateway; its \
             address is gateway.admin_listen",
            self.authority
        ))
    }
}

/// An address to connect to for a listener at `address`.
fn here(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// Host and port of a URL.
fn authority(url: &str) -> Result<String, Failure> {
    let wrong = || {
        Failure::usage(format!(
            "--admin: {url:?} is no address of an admin listener: expected such as \"{USUAL}\""
        ))
    };
    let with_scheme = match url.contains("://") {
        true => url.to_owned(),
        false => format!("http://{url}"),
    };
    let uri: Uri = with_scheme.parse().map_err(|_| wrong())?;
    let plain = uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/");
    match uri.authority() {
        Some(at) if plain && uri.query().is_none() && !at.as_str().contains('@') => {
            let port = at.port_u16().unwrap_or(80);
            Ok(format!("{}:{port}", at.host()))
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (url, expected) in [
            ("http://127.0.0.1:9000", "127.0.0.1:9000"),
            ("http://[::1]:9000/", "[::1]:9000"),
            ("gate.lan:9000", "gate.lan:9000"),
            ("http://gate.lan", "gate.lan:80"),
        ] {
            assert_eq!(authority(url).unwrap(), expected);
        }
        for url in [
            "https://h:1",
            "http://",
            "http://h:1/x",
            "http://u:p@h:1",
            "h h",
            "http://h?x",
        ] {
            let text = authority(url).unwrap_err().to_string();
            assert!(text.starts_with("--admin: "), "{url}: {text}");
        }
        assert_eq!(
            here("0.0.0.0:1".parse().unwrap()).to_string(),
            "127.0.0.1:1"
        );
        assert_eq!(here("[::]:1".parse().unwrap()).to_string(), "[::1]:1");
    }
}
