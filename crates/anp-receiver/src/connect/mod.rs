//! Opens a connection to a gateway: past a proxy, over TLS, with a proof of who comes.

pub(crate) mod answer;
pub(crate) mod error;
mod opening;

use std::{io, time::Duration};

use anp_tls::TlsStream;
use anp_tunnel::{Version, limit_unsent};
use bytes::{Bytes, BytesMut};
use tokio::net::TcpStream;

pub(crate) use answer::read_head;
pub use error::ConnectError;
use opening::{open_way, shake_hands};

use crate::{
    address::GatewayUrl,
    addresses::Held,
    gateway::Gateway,
    proof::{Identity, Proof},
    proxy::{Proxies, Proxy},
    tls::{self, Tls},
};

/// A connection on which the handshake is over.
#[derive(Debug)]
pub(crate) struct Connected {
    /// The connection.
    pub(crate) link: Link,
    /// Bytes read past the response head.
    pub(crate) read: Bytes,
    /// The wire version the gateway answered.
    pub(crate) version: Version,
    /// The address it goes to; a proxy's is nobody's business.
    pub(crate) held: Option<Held>,
    /// Where callers reach this receiver, as far as the gateway says.
    pub(crate) urls: Vec<String>,
    /// What it asked for and the gateway has no endpoint of its for.
    pub(crate) missing: Vec<String>,
}

/// What a receiver says of itself in a handshake.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hello<'a> {
    /// Its name.
    pub(crate) name: Option<&'a str>,
    /// What it asks to serve.
    pub(crate) endpoints: &'a [String],
    /// What it proves itself with.
    pub(crate) identity: &'a Identity,
}

impl Hello<'_> {
    /// Its lines of the request, `proof` among them.
    fn fields(&self, proof: &Proof, gateway: &GatewayUrl) -> String {
        let mut fields = String::new();
        if let Some(name) = self.name {
            fields.push_str(&format!("ANP-Receiver: {name}\r\n"));
        }
        for endpoint in self.endpoints {
            fields.push_str(&format!("ANPX-Endpoint: {endpoint}\r\n"));
        }
        fields.push_str(&self.identity.fields(proof, gateway));
        fields
    }

    /// A refusal, with what this receiver left unsaid.
    fn explained(&self, mut error: ConnectError) -> ConnectError {
        if let (Identity::None, ConnectError::Refused { status, detail, .. }) =
            (self.identity, &mut error)
        {
            match status {
                401 => {
                    *detail = " (it wants a proof of identity, and this receiver has none: set \
                               did_document and did_key, or token_file)"
                        .to_owned();
                }
                403 if self.name.is_none() => {
                    detail.push_str("; it was given no name (--name)");
                }
                _ => {}
            }
        }
        error
    }
}

/// What a tunnel runs over.
#[derive(Debug)]
pub(crate) enum Link {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

/// Connects to `gateway`, through a proxy where one is set, and shakes hands, all within `timeout`.
/// Where a proof is refused and there is another, it is tried on a new connection.
///
/// # Errors
/// [`ConnectError`].
pub(crate) async fn connect(
    gateway: &Gateway,
    hello: &Hello<'_>,
    proxies: &Proxies,
    tls: Option<&Tls>,
    timeout: Duration,
) -> Result<Connected, ConnectError> {
    let url = &gateway.url;
    let work = async {
        let mut proof = hello.identity.first_proof(&gateway.given);
        loop {
            let mut fields = hello.fields(&proof, url);
            fields.push_str(&format!("ANPX-Instance: {}\r\n", gateway.instance));
            match attempt(gateway, &fields, proxies, tls).await {
                Err(refused @ ConnectError::Refused { status: 401, .. }) => {
                    gateway.given.forget();
                    match proof.after_refusal(refused.nonce()) {
                        Some(other) => proof = other,
                        None => return Err(hello.explained(refused)),
                    }
                }
                other => return other.map_err(|error| hello.explained(error)),
            }
        }
    };
    match tokio::time::timeout(timeout, work).await {
        Ok(result) => result,
        Err(_) => Err(ConnectError::Timeout(timeout)),
    }
}

/// One connection and one handshake; `fields` are lines for its request.
async fn attempt(
    gateway: &Gateway,
    fields: &str,
    proxies: &Proxies,
    tls: Option<&Tls>,
) -> Result<Connected, ConnectError> {
    let Gateway { url, addresses, .. } = gateway;
    let (mut io, read, held) = match proxies.for_gateway(url) {
        None => {
            let dialled = addresses.dial().await;
            let address = || format!("{}:{}", url.host(), url.port());
            let (io, held) = dialled.map_err(|e| unreachable(address(), e))?;
            (io, BytesMut::new(), Some(held))
        }
        Some(proxy) => {
            let mut io = dial(proxy).await?;
            let read = open_way(&mut io, proxy, url).await?;
            (io, read, None)
        }
    };
    let (link, read, version, answer) = if url.is_secure() {
        let mut io = over_tls(url, tls, io, &read).await?;
        let shaken = shake_hands(&mut io, BytesMut::new(), url, fields).await;
        // In TLS 1.3 the gateway judges our certificate after our handshake is over.
        let (read, version, answer) = shaken.map_err(|error| match error {
            ConnectError::Broken(source) if tls::is_tls(&source) => no_tls(url, source),
            other => other,
        })?;
        (Link::Tls(Box::new(io)), read, version, answer)
    } else {
        let (read, version, answer) = shake_hands(&mut io, read, url, fields).await?;
        (Link::Plain(io), read, version, answer)
    };
    gateway.given.keep(&answer);
    Ok(Connected {
        link,
        read,
        version,
        held,
        urls: answer.public_urls(),
        missing: answer.missing_endpoints(),
    })
}

/// TLS with the gateway on a connection of which `read` was read already.
async fn over_tls(
    gateway: &GatewayUrl,
    tls: Option<&Tls>,
    io: TcpStream,
    read: &[u8],
) -> Result<TlsStream, ConnectError> {
    // In TLS the client speaks first.
    if !read.is_empty() {
        let source = io::Error::other("the proxy sent bytes before the handshake");
        return Err(no_tls(gateway, source));
    }
    let Some(tls) = tls else {
        return Err(no_tls(gateway, io::Error::other("it was not set up")));
    };
    tls.with_gateway(gateway, io)
        .await
        .map_err(|source| no_tls(gateway, source))
}

fn no_tls(gateway: &GatewayUrl, source: io::Error) -> ConnectError {
    ConnectError::Tls {
        address: format!("{}:{}", gateway.host(), gateway.port()),
        source: tls::explained(source, gateway.host()),
    }
}

/// A TCP connection to a proxy, tuned for frames.
async fn dial(proxy: &Proxy) -> Result<TcpStream, ConnectError> {
    let failed = |source| unreachable(proxy.described(), source);
    let io = TcpStream::connect((proxy.host(), proxy.port())).await;
    let io = io.map_err(failed)?;
    io.set_nodelay(true).map_err(failed)?;
    limit_unsent(&io).map_err(failed)?;
    Ok(io)
}

fn unreachable(address: String, source: io::Error) -> ConnectError {
    ConnectError::Unreachable { address, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[tokio::test(start_paused = true)]
    async fn silence_ends_at_the_timeout() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = format!("ws://127.0.0.1:{port}").parse().unwrap();
        let gateway = Gateway::new(url, &Config::default());
        let hello = Hello {
            name: None,
            endpoints: &[],
            identity: &Identity::None,
        };
        let proxies = Proxies::none();
        let result = connect(&gateway, &hello, &proxies, None, Duration::from_secs(15)).await;
        assert!(matches!(result, Err(ConnectError::Timeout(_))));
    }
}
