//! The listener that sends callers on to https. It speaks plain HTTP/1.1 and answers nothing else: no
//! endpoint, no health and no tunnel is behind it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Response, StatusCode, header::LOCATION};
use tokio::net::{TcpListener, TcpStream};

use crate::{
    alive::{Alive, Life},
    config::Config,
    conn::{
        Deadline, Metered,
        http1::{self, Head},
    },
    error::ProxyError,
    listener::{self, Listener, Until},
    proxy::request::{self, Asked},
    proxy_protocol,
    route::path::host_of,
    worker::{Caller, Worker},
};

/// The port of https that no URL need name.
const HTTPS: u16 = 443;

/// What there is of callers who came by plain HTTP.
#[derive(Debug)]
pub(crate) struct Redirects {
    /// Their connections.
    pub(crate) connections: Alive,
    /// Requests that were sent on.
    pub(crate) sent_on: AtomicU64,
    /// The port of the public listener.
    listens: u16,
}

impl Redirects {
    /// To a public listener at this port.
    pub(crate) fn to(listens: u16) -> Self {
        Self {
            connections: Alive::default(),
            sent_on: AtomicU64::new(0),
            listens,
        }
    }

    /// The port at which callers find the public listener.
    fn port(&self, config: &Config) -> u16 {
        match &config.public_url {
            // Also of other hosts: whatever maps that port to ours does so for each of them.
            Some(url) if url.is_https() => url.name().port().unwrap_or(HTTPS),
            _ => self.listens,
        }
    }
}

/// Serves a redirect listener: that of the gateway until it drains.
pub(crate) async fn serve(worker: Arc<Worker>, listener: TcpListener, until: Until) {
    let shared = &worker.shared;
    let max = || shared.settings.load().config.max_connections;
    // A count of its own: who looks for open ports must not take the places of callers.
    let take = |socket: TcpStream, peer| match shared.redirects.connections.begin(max()) {
        Some(life) => {
            tokio::spawn(serve_one(worker.clone(), socket, peer, life));
        }
        None => shared.turn_away(Listener::Redirect, &socket),
    };
    let name = Listener::Redirect.name();
    listener::accept(listener, name, &shared.stop, until, take).await;
}

/// Serves one connection to its end. It counts as one for its `_life`.
async fn serve_one(worker: Arc<Worker>, mut socket: TcpStream, peer: SocketAddr, _life: Life) {
    let Ok(local) = socket.local_addr() else {
        return;
    };
    let beginning = worker.shared.beginning.begin(usize::MAX);
    let mut deadline = Deadline::new(worker.shared.settings.load().limits.head);
    // A balancer in front of the public listener is in front of this one, too.
    let ends = proxy_protocol::ends(&worker, &mut socket, (peer, local), &mut deadline).await;
    let Some((peer, local)) = ends else {
        return;
    };
    let caller = Caller::new(worker.clone(), Listener::Redirect, peer, local);
    let io = Metered::new(socket, worker.metrics.clone());
    // What turns out to be HTTP/2 is closed.
    http1::serve(&Arc::new(caller), io, BytesMut::new(), deadline, beginning).await;
}

/// The answer to a request: the same place with https.
///
/// # Errors
/// As on the public listener; and 400 for what has no URL, which is `OPTIONS *` and what names no host.
pub(crate) fn answer(
    caller: &Caller,
    config: &Config,
    head: &Head<'_>,
) -> Result<Response<Bytes>, ProxyError> {
    let asked = Asked {
        method: head.method.as_bytes(),
        target: head.target.as_bytes(),
        authority: None,
        // Our address would stand for it, which strangers need not know.
        may_lack_host: false,
        protocol: None,
    };
    let fields = head.fields.iter().map(|f| (f.name.as_bytes(), f.value));
    let (authority, target) = request::target_uri(&caller.origin, asked, fields)?;
    let redirects = &caller.worker.shared.redirects;
    let mut response = Response::new(Bytes::new());
    // 308 keeps the method and the body: of a POST that is answered with 301 clients make a GET
    // (RFC 9110 section 15.4).
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    let location = location(authority, redirects.port(config), &target)?;
    response.headers_mut().insert(LOCATION, location);
    redirects.sent_on.fetch_add(1, Relaxed);
    Ok(response)
}

/// `target` with https at the host of `authority`.
fn location(authority: &str, port: u16, target: &[u8]) -> Result<HeaderValue, ProxyError> {
    let host = host_of(authority);
    if host.is_empty() {
        // It was a dot. A browser would take the first segment of the path for the host.
        return Err(ProxyError::BadRequest("the Host header names no host"));
    }
    if target == b"*" {
        return Err(ProxyError::BadRequest("the request target is no path"));
    }
    let mut url = format!("https://{host}");
    if port != HTTPS {
        url.push_str(&format!(":{port}"));
    }
    let url = [url.as_bytes(), target].concat();
    // Both hold visible ASCII alone.
    HeaderValue::from_maybe_shared(Bytes::from(url))
        .map_err(|_| ProxyError::BadRequest("the request target is not valid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_the_same_place_with_https() {
        for (authority, port, target, expected) in [
            ("gate.example", 443, "/", "https://gate.example/"),
            (
                "gate.example:80",
                443,
                "/a?b=c",
                "https://gate.example/a?b=c",
            ),
            ("gate.example:8080", 8443, "/", "https://gate.example:8443/"),
            ("Gate.Example.", 443, "/A%2f", "https://gate.example/A%2f"),
            ("gate.example:", 443, "/", "https://gate.example/"),
            ("192.0.2.1:80", 443, "/", "https://192.0.2.1/"),
            ("[2001:db8::1]:80", 443, "/", "https://[2001:db8::1]/"),
            ("[::1]", 8443, "/", "https://[::1]:8443/"),
            ("a", 443, "//b.example/", "https://a//b.example/"),
        ] {
            let location = location(authority, port, target.as_bytes()).unwrap();
            assert_eq!(location, expected);
        }
    }

    #[test]
    fn what_has_no_url_has_no_location() {
        for (authority, target) in [(".", "/b.example/"), (".:80", "/"), ("a", "*")] {
            let error = location(authority, HTTPS, target.as_bytes()).unwrap_err();
            assert_eq!(error.status(), StatusCode::BAD_REQUEST);
        }
    }

    #[test]
    fn the_port_is_that_which_callers_use() {
        let port = |url: Option<&str>| {
            let config = Config {
                public_url: url.map(|url| url.parse().unwrap()),
                ..Config::default()
            };
            Redirects::to(8443).port(&config)
        };
        for (url, expected) in [
            (None, 8443),
            (Some("https://gate.example"), 443),
            (Some("https://gate.example:9443"), 9443),
            // Not where https is.
            (Some("http://gate.example:8080"), 8443),
        ] {
            assert_eq!(port(url), expected, "{url:?}");
        }
    }
}
