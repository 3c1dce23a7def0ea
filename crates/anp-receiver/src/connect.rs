//! Opens a connection to a gateway and does the WebSocket opening handshake (RFC 6455 section 4.1).
//!
//! The handshake is ours, not a WebSocket library's: the answered subprotocol decides the wire
//! version, a missing answer is allowed (ANPX section 1), and refusals carry meaning (ANPX 3.10).

use std::{io, time::Duration};

use anp_tls::TlsStream;
use anp_tunnel::{Version, handshake};
use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    address::GatewayUrl,
    addresses::Held,
    answer::{Answer, read_head},
    gateway::Gateway,
    proof::{Identity, Proof},
    proxy::{Proxies, Proxy},
    reconnect::Severity,
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
}

/// What a tunnel runs over.
#[derive(Debug)]
pub(crate) enum Link {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

/// Why no tunnel came to be.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No TCP connection; `source` says why.
    #[error("cannot connect to {address}: {source}")]
    Unreachable {
        /// `host:port` of the gateway or of the proxy.
        address: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The HTTP proxy did not open the way.
    #[error("proxy {proxy} {reason}")]
    Proxy {
        /// `host:port` of the proxy.
        proxy: String,
        /// What it did instead.
        reason: String,
    },
    /// No TLS with the gateway: its certificate is not accepted, or ours, or it speaks no TLS.
    #[error("no TLS with {address}: {source}")]
    Tls {
        /// `host:port` of the gateway.
        address: String,
        /// What went wrong, and what helps.
        source: io::Error,
    },
    /// The handshake took longer than `handshake_timeout`.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The connection broke during the handshake.
    #[error("the connection broke during the handshake: {0}")]
    Broken(#[from] io::Error),
    /// The gateway will not have this receiver, now or ever.
    #[error("the gateway refused the tunnel: HTTP {status}{detail}")]
    Refused {
        /// The status it answered.
        status: u16,
        /// Its `Retry-After`.
        retry_after: Option<Duration>,
        /// The nonce it wants signed, with 401.
        nonce: Option<String>,
        /// What the status means here.
        detail: &'static str,
    },
    /// Whatever answered is not a gateway's tunnel listener.
    #[error("{0}")]
    NotAGateway(String),
}

impl ConnectError {
    /// The nonce that the gateway wants signed.
    fn nonce(&self) -> Option<String> {
        match self {
            Self::Refused { nonce, .. } => nonce.clone(),
            _ => None,
        }
    }

    /// True where the gateway did not believe who we are.
    pub(crate) fn is_unproven(&self) -> bool {
        matches!(self, Self::Refused { status: 401, .. })
    }

    /// Whether trying again makes sense (ANPX 3.10).
    pub fn severity(&self) -> Severity {
        match self {
            Self::Refused {
                status: 401 | 403, ..
            } => Severity::Fatal,
            Self::Refused { retry_after, .. } => Severity::Passing {
                retry_after: *retry_after,
            },
            _ => Severity::Passing { retry_after: None },
        }
    }
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
            let fields = hello.fields(&proof, url);
            match attempt(gateway, &fields, proxies, tls).await {
                Err(refused @ ConnectError::Refused { status: 401, .. }) => {
                    gateway.given.forget();
                    match proof.after_refusal(refused.nonce()) {
                        Some(other) => proof = other,
                        None => return Err(refused),
                    }
                }
                other => return other,
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
            let (io, held) = dialled.map_err(|e| unreachable(url.host(), url.port(), e))?;
            (io, BytesMut::new(), Some(held))
        }
        Some(proxy) => {
            let mut io = dial(proxy.host(), proxy.port()).await?;
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

/// A TCP connection tuned for frames.
async fn dial(host: &str, port: u16) -> Result<TcpStream, ConnectError> {
    let failed = |source| unreachable(host, port, source);
    let io = TcpStream::connect((host, port)).await.map_err(failed)?;
    io.set_nodelay(true).map_err(failed)?;
    hold_little(&io).map_err(failed)?;
    Ok(io)
}

fn unreachable(host: &str, port: u16, source: io::Error) -> ConnectError {
    ConnectError::Unreachable {
        address: format!("{host}:{port}"),
        source,
    }
}

/// Lets little wait unsent in the system: on a tunnel it could not be overtaken by a frame of a
/// higher class (ANPX 3.5), and toward an app that does not read it would pass for bytes that were
/// taken, and windows grow.
pub(crate) fn hold_little(io: &TcpStream) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket2::SockRef::from(io).set_tcp_notsent_lowat(128 << 10)?;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = io;
    Ok(())
}

/// Asks a proxy for a way to the gateway (RFC 9110 section 9.3.6). Gives the bytes read past its answer.
async fn open_way<IO: AsyncRead + AsyncWrite + Unpin>(
    io: &mut IO,
    proxy: &Proxy,
    gateway: &GatewayUrl,
) -> Result<BytesMut, ConnectError> {
    let fail = |reason: String| ConnectError::Proxy {
        proxy: format!("{}:{}", proxy.host(), proxy.port()),
        reason,
    };
    let host = gateway.host();
    let port = gateway.port();
    let target = match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(credentials) = proxy.credentials() {
        request.push_str("Proxy-Authorization: Basic ");
        request.push_str(credentials);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    io.write_all(request.as_bytes()).await?;
    let mut read = BytesMut::new();
    let answer = read_head(io, &mut read).await;
    match answer {
        Ok(answer) if (200..300).contains(&answer.status) => Ok(read),
        Ok(answer) => Err(fail(format!(
            "answered HTTP {} to CONNECT {target}",
            answer.status
        ))),
        Err(ConnectError::NotAGateway(_)) => Err(fail("did not answer with HTTP".into())),
        Err(other) => Err(other),
    }
}

/// The client's side of the opening handshake. `read` holds bytes that were read already, `fields`
/// are lines for the request.
async fn shake_hands<IO: AsyncRead + AsyncWrite + Unpin>(
    io: &mut IO,
    mut read: BytesMut,
    gateway: &GatewayUrl,
    fields: &str,
) -> Result<(Bytes, Version, Answer), ConnectError> {
    let key = handshake::new_key();
    let mut request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: {}, {}\r\n",
        gateway.target(),
        gateway.authority(),
        handshake::V2,
        handshake::V1,
    );
    request.push_str(fields);
    request.push_str("\r\n");
    io.write_all(request.as_bytes()).await?;
    let answer = read_head(io, &mut read).await?;
    let version = answer.check(&handshake::accept_key(key.as_bytes()))?;
    Ok((read.freeze(), version, answer))
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    use super::*;
    use crate::answer::MAX_HEAD;
    use tokio::io::{AsyncReadExt, DuplexStream};

    /// Plays the other end: reads a request head, answers with what `answer` makes of it.
    async fn peer(mut io: DuplexStream, answer: impl FnOnce(&str) -> String) -> String {
        let mut read = BytesMut::new();
        while !read.ends_with(b"\r\n\r\n") {
            assert_ne!(io.read_buf(&mut read).await.unwrap(), 0);
        }
        let request = String::from_utf8(read.to_vec()).unwrap();
        io.write_all(answer(&request).as_bytes()).await.unwrap();
        request
    }

    fn accept_for(request: &str) -> String {
        let (_, rest) = request.split_once("Sec-WebSocket-Key: ").unwrap();
        let (key, _) = rest.split_once("\r\n").unwrap();
        handshake::accept_key(key.as_bytes())
    }

    /// A right answer with `extra` lines before the end of the head and `after` behind it.
    fn right(request: &str, extra: &str, after: &str) -> String {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nCONNECTION: keep-alive, Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n{extra}\r\n{after}",
            accept_for(request)
        )
    }

    async fn shake(
        answer: impl FnOnce(&str) -> String,
    ) -> (String, Result<(Bytes, Version, Answer), ConnectError>) {
        let (mut io, other) = tokio::io::duplex(64 << 10);
        let gateway = "ws://gate.example:8765/anpx".parse().unwrap();
        tokio::join!(
            peer(other, answer),
            shake_hands(&mut io, BytesMut::new(), &gateway, "ANP-Receiver: box\r\n")
        )
    }

    #[tokio::test]
    async fn a_right_answer_gives_the_version_and_keeps_the_bytes_behind_it() {
        for (line, version) in [
            ("Sec-WebSocket-Protocol: anpx.v2\r\n", Version::V2),
            ("Sec-WebSocket-Protocol: anpx.v1\r\n", Version::V1),
            ("", Version::Undecided),
        ] {
            let (request, result) = shake(|r| right(r, line, "frames")).await;
            let (read, got, _) = result.unwrap();
            assert_eq!((&read[..], got), (&b"frames"[..], version));
            assert!(request.starts_with("GET /anpx HTTP/1.1\r\nHost: gate.example:8765\r\n"));
            assert!(request.contains("\r\nSec-WebSocket-Protocol: anpx.v2, anpx.v1\r\n"));
            assert!(request.contains("\r\nANP-Receiver: box\r\n"));
            assert!(!request.contains("Extensions"));
        }
    }

    #[tokio::test]
    async fn every_wrong_answer_is_told_apart() {
        let cases: [(&str, &str); 7] = [
            (
                "HTTP/1.1 404 Not Found\r\n\r\n",
                "answered HTTP 404: is this the tunnel address?",
            ),
            (
                "HTTP/1.1 200 OK\r\n\r\n",
                "answered HTTP 200: is this the tunnel address?",
            ),
            ("SSH-2.0-OpenSSH_9.6\r\n", "did not answer with HTTP"),
            ("\x15\x03\x01\0\x02\x02\x46", "speaks TLS"),
            ("", "without an answer"),
            ("HTTP/1.1 101 Sw", "in the middle of its answer"),
            ("HTTP/1.1 101 OK\r\n\r\n", "without upgrading"),
        ];
        for (answer, reason) in cases {
            let (_, result) = shake(|_| answer.to_owned()).await;
            let error = result.unwrap_err();
            assert!(matches!(error, ConnectError::NotAGateway(_)), "{error}");
            assert!(error.to_string().contains(reason), "{error}");
            assert_eq!(error.severity(), Severity::Passing { retry_after: None });
        }
        let huge = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(MAX_HEAD));
        let (_, result) = shake(|_| huge).await;
        assert!(result.unwrap_err().to_string().contains("exceeds"));
        for (extra, reason) in [
            ("Sec-WebSocket-Protocol: graphql-ws\r\n", "another protocol"),
            (
                "Sec-WebSocket-Protocol: anpx.v2\r\nSec-WebSocket-Protocol: anpx.v1\r\n",
                "another protocol",
            ),
            (
                "Sec-WebSocket-Extensions: permessage-deflate\r\n",
                "extension nobody offered",
            ),
            (
                "Sec-WebSocket-Accept: bm8=\r\n",
                "wrong Sec-WebSocket-Accept",
            ),
        ] {
            let (_, result) = shake(|r| right(r, extra, "")).await;
            assert!(result.unwrap_err().to_string().contains(reason));
        }
    }

    #[tokio::test]
    async fn refusals_say_whether_to_come_back() {
        let passing = |secs| Severity::Passing {
            retry_after: Option::map(secs, Duration::from_secs),
        };
        for (answer, severity) in [
            ("401 Unauthorized\r\n", Severity::Fatal),
            ("403 Forbidden\r\n", Severity::Fatal),
            (
                "429 Too Many Requests\r\nRetry-After: 7\r\n",
                passing(Some(7)),
            ),
            (
                "503 Service Unavailable\r\nRetry-After: soon\r\n",
                passing(None),
            ),
            (
                "503 Service Unavailable\r\nRetry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
                passing(Some(0)),
            ),
            ("502 Bad Gateway\r\n", passing(None)),
        ] {
            let (_, result) = shake(|_| format!("HTTP/1.1 {answer}\r\n")).await;
            let error = result.unwrap_err();
            assert!(matches!(error, ConnectError::Refused { .. }), "{error}");
            assert_eq!(error.severity(), severity, "{answer}");
        }
    }

    #[tokio::test]
    async fn a_proxy_is_asked_for_the_way() {
        let proxy = Proxy::parse("http://user:pa%20ss@proxy.example:3128").unwrap();
        let gateway = "ws://[2001:db8::1]:8765".parse().unwrap();
        let (mut io, other) = tokio::io::duplex(1024);
        let (request, way) = tokio::join!(
            peer(other, |_| "HTTP/1.1 200 Connection established\r\n\r\nrest"
                .into()),
            open_way(&mut io, &proxy, &gateway)
        );
        assert_eq!(&way.unwrap()[..], b"rest");
        assert!(request.starts_with("CONNECT [2001:db8::1]:8765 HTTP/1.1\r\n"));
        // base64("user:pa ss")
        assert!(request.contains("Proxy-Authorization: Basic dXNlcjpwYSBzcw==\r\n"));

        let (mut io, other) = tokio::io::duplex(1024);
        let (_, way) = tokio::join!(
            peer(other, |_| {
                "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n".into()
            }),
            open_way(&mut io, &proxy, &gateway)
        );
        assert_eq!(
            way.unwrap_err().to_string(),
            "proxy proxy.example:3128 answered HTTP 407 to CONNECT [2001:db8::1]:8765"
        );
    }

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
