//! What is said on a fresh connection: to a proxy, for a way to the gateway; to the gateway, the
//! WebSocket opening handshake (RFC 6455 section 4.1).
//!
//! The handshake is ours, not a WebSocket library's: the answered subprotocol decides the wire
//! version, a missing answer is allowed (ANPX section 1), and refusals carry meaning (ANPX 3.10).

use anp_tunnel::{Version, handshake};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::{
    ConnectError,
    answer::{Answer, read_head},
};
use crate::{address::GatewayUrl, proxy::Proxy};

/// Asks a proxy for a way to the gateway (RFC 9110 section 9.3.6). Gives the bytes read past its answer.
pub(super) async fn open_way<IO: AsyncRead + AsyncWrite + Unpin>(
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
pub(super) async fn shake_hands<IO: AsyncRead + AsyncWrite + Unpin>(
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
    let mut answer = read_head(io, &mut read).await?;
    answer.read_said(io, &read).await;
    let version = answer.check(&handshake::accept_key(key.as_bytes()))?;
    Ok((read.freeze(), version, answer))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{connect::answer::MAX_HEAD, reconnect::Severity};
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
        let cases: [(&str, &str); 9] = [
            (
                "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n\
                 content-length: 2\r\n\r\n{}",
                "answered HTTP 503: is this the tunnel address?",
            ),
            (
                "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/problem+json\r\n\r\n",
                "answered HTTP 401: is this the tunnel address?",
            ),
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
    async fn refusals_are_shown_with_what_the_gateway_says() {
        let long = "x".repeat(300);
        let plain = |status, text: &str| {
            let length = text.len();
            format!(
                "{status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\r\n{text}"
            )
        };
        for (answer, detail) in [
            (
                plain("403 Forbidden", "no endpoint names it: receiver \"box\"\n"),
                " (this receiver may not serve here: no endpoint names it: receiver \"box\")",
            ),
            (
                plain("400 Bad Request", "offer anpx.v2"),
                " (offer anpx.v2)",
            ),
            (
                plain("502 Bad Gateway", "a\r\nFORGED\u{1b}[31m"),
                " (a\\r\\nFORGED\\u{1b}[31m)",
            ),
            (
                plain("502 Bad Gateway", &long),
                &format!(" ({})", &long[..256]),
            ),
            (
                plain("503 Service Unavailable", " \n"),
                " (it takes no new tunnels now)",
            ),
            // It breaks off, or is no text.
            (
                "403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nnot".into(),
                " (this receiver may not serve here: not)",
            ),
            (
                "403 Forbidden\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\n<p>".into(),
                " (this receiver may not serve here)",
            ),
        ] {
            let status = &answer[..3];
            let (_, result) = shake(|_| format!("HTTP/1.1 {answer}")).await;
            let expected = format!("the gateway refused the tunnel: HTTP {status}{detail}");
            assert_eq!(result.unwrap_err().to_string(), expected);
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
}
