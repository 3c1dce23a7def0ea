//! A look at what a receiver would find: does each gateway take it, does each app answer?

use std::{fmt, io, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

use anp_tunnel::Version;

use crate::{
    address::{AppUrl, GatewayUrl},
    app::Socket,
    config::Config,
    connect::{ConnectError, Connected, Hello, Link, connect},
    error::Error,
    gateway::Gateway,
    health::Check,
    printable::printable,
    proof::Identity,
    proxy::Proxies,
    tls::Tls,
};

/// A close frame of a client with code 1000, masked with a key of zeros (RFC 6455 section 5.5.1).
const CLOSE: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];

/// How long a gateway may take to answer it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What was found at one address. Its text is a line for people.
#[derive(Debug)]
#[non_exhaustive]
pub enum Finding {
    /// At a gateway.
    Gateway {
        /// The address as configured.
        url: GatewayUrl,
        /// What it said.
        result: Result<Taken, ConnectError>,
    },
    /// At an app.
    App {
        /// The address as configured.
        url: AppUrl,
        /// What it did that is well, or why it is not.
        result: Result<Sign, String>,
    },
}

/// A gateway's word that it takes the receiver.
#[derive(Debug)]
pub struct Taken {
    /// The wire version it answered with. One of version 1 says only later whether it takes the
    /// receiver.
    pub version: Version,
    /// The URLs under which callers would reach it, as far as the gateway says.
    pub urls: Vec<String>,
    /// What the receiver asked for and the gateway has no endpoint of its for.
    pub missing: Vec<String>,
}

/// A sign of life of an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It takes connections; more was not asked.
    Connection,
    /// It answered to `health_path`.
    Answer,
}

impl Finding {
    /// True if nothing is wrong.
    pub fn is_good(&self) -> bool {
        match self {
            Self::Gateway { result, .. } => result.as_ref().is_ok_and(|t| t.missing.is_empty()),
            Self::App { result, .. } => result.is_ok(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway { url, result } => match result {
                Ok(taken) if taken.version != Version::V2 => write!(
                    f,
                    "{url}: answers, and says only to a tunnel whether it takes this receiver (version 1)"
                ),
                Ok(taken) if !taken.missing.is_empty() => write!(
                    f,
                    "{url}: takes this receiver, but has no endpoint for it at {}",
                    taken.missing.join(", ")
                ),
                Ok(taken) if taken.urls.is_empty() => write!(f, "{url}: takes this receiver"),
                Ok(taken) => write!(
                    f,
                    "{url}: takes this receiver; callers reach it at {}",
                    taken.urls.join(", ")
                ),
                // It may quote a certificate.
                Err(error) => write!(f, "{url}: {}", printable(&error.to_string())),
            },
            Self::App { url, result } => match result {
                Ok(Sign::Connection) => write!(f, "{url}: takes connections"),
                Ok(Sign::Answer) => write!(f, "{url}: answers"),
                Err(reason) => write!(f, "{url}: {reason}"),
            },
        }
    }
}

/// Asks every gateway and every app of `config` once, one after the other.
pub(crate) async fn check(
    config: &Config,
    identity: &Identity,
    proxies: &Proxies,
) -> Result<Vec<Finding>, Error> {
    let tls = Tls::new(config)?;
    let mut findings = Vec::new();
    for url in &config.gateways {
        findings.push(Finding::Gateway {
            url: url.clone(),
            result: ask_gateway(url, config, identity, proxies, tls.as_ref()).await,
        });
    }
    let health = Check::new(config, tls.clone());
    for url in &config.to {
        let result = match &health {
            Some(health) => {
                let asked = health.ask(url).await;
                let asked = asked
                    .unwrap_or_else(|| Err("no descriptor is left for a connection".to_owned()));
                // An HTTP/2 app is asked nothing.
                asked.map(|()| {
                    if url.is_http2() {
                        Sign::Connection
                    } else {
                        Sign::Answer
                    }
                })
            }
            None => reach(url, config, tls.as_ref()).await,
        };
        let url = url.clone();
        findings.push(Finding::App { url, result });
    }
    Ok(findings)
}

/// A handshake, and the end of the connection before any request can come: a gateway sends none before
/// it has read SETTINGS.
async fn ask_gateway(
    url: &GatewayUrl,
    config: &Config,
    identity: &Identity,
    proxies: &Proxies,
    tls: Option<&Tls>,
) -> Result<Taken, ConnectError> {
    let gateway = Gateway::new(url.clone(), config);
    let hello = Hello {
        name: config.name.as_deref(),
        endpoints: &config.endpoints,
        identity,
    };
    let limit = config.handshake_timeout.0;
    let connected = connect(&gateway, &hello, proxies, tls, limit).await?;
    let Connected {
        link,
        version,
        urls,
        missing,
        ..
    } = connected;
    // What becomes of the connection says nothing of the handshake.
    let _ = timeout(CLOSE_TIMEOUT, async {
        match link {
            Link::Plain(io) => close(io).await,
            Link::Tls(io) => close(*io).await,
        }
    })
    .await;
    Ok(Taken {
        version,
        urls,
        missing,
    })
}

async fn close(mut io: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    io.write_all(&CLOSE).await?;
    io.flush().await?;
    // Unread bytes would make a reset of our end, which the gateway would call a lost tunnel.
    let mut unread = BytesMut::with_capacity(1024);
    while io.read_buf(&mut unread).await? > 0 {
        unread.clear();
    }
    Ok(())
}

/// A connection to the app, without a word.
async fn reach(app: &AppUrl, config: &Config, tls: Option<&Tls>) -> Result<Sign, String> {
    let limit = config.app_connect_timeout.0;
    match timeout(limit, Socket::connect(app, tls)).await {
        Ok(Ok(_)) => Ok(Sign::Connection),
        Ok(Err(error)) => Err(format!("cannot connect: {error}")),
        Err(_) => Err(format!(
            "no connection within {}",
            config.app_connect_timeout
        )),
    }
}
