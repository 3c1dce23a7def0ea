//! What the other end answers to a handshake: read, bounded, and judged.

use std::time::{Duration, SystemTime};

use anp_tunnel::{Version, handshake};
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::ConnectError;
use crate::printable::printable;

/// Most bytes of a response head that is read before giving up.
pub(crate) const MAX_HEAD: usize = 16 << 10;
/// Most fields of a response head.
const MAX_FIELDS: usize = 64;
/// Most public URLs taken from one.
const MAX_URLS: usize = 32;
/// Most bytes of a refusal's text that are shown.
const MAX_SAID: usize = 256;
/// How long a refusal's text may take to come behind its head.
const SAID_TIMEOUT: Duration = Duration::from_secs(1);

/// The parts of a response head that a handshake looks at.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    fields: Vec<(String, String)>,
    /// What the body of a refusal says, fit for a log.
    said: Option<String>,
}

/// Reads one response head and takes it off `read`.
pub(crate) async fn read_head<IO: AsyncRead + Unpin>(
    io: &mut IO,
    read: &mut BytesMut,
) -> Result<Answer, ConnectError> {
    loop {
        if let Some((answer, len)) = Answer::parse(read)? {
            let _ = read.split_to(len);
            return Ok(answer);
        }
        if read.len() >= MAX_HEAD {
            return Err(ConnectError::NotAGateway(format!(
                "the answer's head exceeds {MAX_HEAD} bytes: is this the tunnel address?"
            )));
        }
        if io.read_buf(read).await? == 0 {
            return Err(ConnectError::NotAGateway(match read.is_empty() {
                true => "the other end closed the connection without an answer: is this the tunnel address?".into(),
                false => "the other end closed the connection in the middle of its answer".into(),
            }));
        }
    }
}

impl Answer {
    /// The head at the start of `bytes` and its length; `None` while it is incomplete.
    fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, ConnectError> {
        // A TLS alert record (RFC 8446 section 5.1) is what a TLS port says to plain HTTP.
        if bytes.starts_with(&[0x15, 0x03]) {
            return Err(ConnectError::NotAGateway(
                "the other end speaks TLS, not plain HTTP: use wss://".into(),
            ));
        }
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut head = httparse::Response::new(&mut fields);
        let len = match head.parse(bytes) {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(e) => {
                return Err(ConnectError::NotAGateway(format!(
                    "the other end did not answer with HTTP ({e}): is this the tunnel address?"
                )));
            }
        };
        let fields = head
            .headers
            .iter()
            .map(|f| {
                let value = String::from_utf8_lossy(f.value).trim().to_owned();
                (f.name.to_ascii_lowercase(), value)
            })
            .collect();
        let status = head.code.unwrap_or_default();
        let answer = Self {
            status,
            fields,
            said: None,
        };
        Ok(Some((answer, len)))
    }

    pub(crate) fn get<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields
            .iter()
            .filter(move |(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    /// True where the comma-separated list `name` holds `token`, whatever its case.
    fn lists(&self, name: &str, token: &str) -> bool {
        self.get(name)
            .flat_map(|value| value.split(','))
            .any(|item| item.trim().eq_ignore_ascii_case(token))
    }

    /// Seconds or a date (RFC 9110 section 10.2.3).
    fn retry_after(&self) -> Option<Duration> {
        let value = self.get("retry-after").next()?;
        match value.parse() {
            Ok(secs) => Some(Duration::from_secs(secs)),
            Err(_) => {
                let at = httpdate::parse_http_date(value).ok()?;
                Some(at.duration_since(SystemTime::now()).unwrap_or_default())
            }
        }
    }

    /// True where the media type is `wanted`, whatever its parameters.
    fn is_a(&self, wanted: &str) -> bool {
        self.get("content-type").any(|value| {
            let kind = value.split(';').next().unwrap_or_default();
            kind.trim().eq_ignore_ascii_case(wanted)
        })
    }

    /// Reads what a gateway's refusal says behind its head, of which `read` was read already. One that
    /// says nothing, or breaks off, is a refusal all the same.
    pub(super) async fn read_said<IO: AsyncRead + Unpin>(&mut self, io: &mut IO, read: &[u8]) {
        if self.status == 101 || !self.is_a("text/plain") {
            return;
        }
        let length = self.get("content-length").next();
        let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut text = Vec::from(read);
        let mut rest = io.take(MAX_SAID.min(length).saturating_sub(text.len()) as u64);
        let _ = tokio::time::timeout(SAID_TIMEOUT, rest.read_to_end(&mut text)).await;
        text.truncate(MAX_SAID.min(length));
        let text = printable(String::from_utf8_lossy(&text).trim());
        self.said = (!text.is_empty()).then_some(text);
    }

    /// What a refusal means, in brackets, with what the gateway says of it.
    fn detail(&self) -> String {
        let meaning = match self.status {
            400 => "it speaks no version of ours, wants another path, or speaks TLS: try wss://",
            401 => "it did not accept this receiver's proof of identity; its log says why",
            403 => "this receiver may not serve here",
            429 => "too many tunnels or attempts",
            503 => "it takes no new tunnels now",
            _ => "",
        };
        match (meaning, &self.said) {
            ("", None) => String::new(),
            (meaning, None) => format!(" ({meaning})"),
            // What it says of a bad request is more exact than what could be guessed.
            (meaning, Some(said)) if meaning.is_empty() || self.status == 400 => {
                format!(" ({said})")
            }
            (meaning, Some(said)) => format!(" ({meaning}: {said})"),
        }
    }

    /// The nonce that the next signature shall have (did:wba method specification, section 3.2).
    fn nonce(&self) -> Option<String> {
        let challenge = self.get("www-authenticate").find_map(|value| {
            let (scheme, rest) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("DIDWba").then_some(rest)
        })?;
        let nonce = challenge.split(',').find_map(|part| {
            let (name, value) = part.trim().split_once('=')?;
            (name == "nonce").then(|| value.trim_matches('"'))
        })?;
        let plain = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
        let good = (1..=128).contains(&nonce.len()) && nonce.bytes().all(plain);
        good.then(|| nonce.to_owned())
    }

    /// The public URLs that the gateway gave, fit for a terminal.
    pub(crate) fn public_urls(&self) -> Vec<String> {
        self.get("anpx-public-url")
            .filter(|url| url.starts_with("https://") || url.starts_with("http://"))
            .filter(|url| url.len() <= 2048 && url.bytes().all(|b| b.is_ascii_graphic()))
            .take(MAX_URLS)
            .map(str::to_owned)
            .collect()
    }

    /// What was asked for and the gateway has no endpoint of this receiver's for, fit for a terminal.
    pub(crate) fn missing_endpoints(&self) -> Vec<String> {
        self.get("anpx-no-endpoint")
            .filter(|place| place.len() <= 2048 && place.bytes().all(|b| b.is_ascii_graphic()))
            .take(MAX_URLS)
            .map(str::to_owned)
            .collect()
    }

    /// Checks a handshake's answer (RFC 6455 section 4.1) and gives the wire version.
    pub(crate) fn check(&self, accept: &str) -> Result<Version, ConnectError> {
        let not_a_gateway = |reason: String| Err(ConnectError::NotAGateway(reason));
        match self.status {
            101 => {}
            // What a public listener says for itself; a tunnel's refusal is plain text.
            status if self.is_a("application/problem+json") => {
                return not_a_gateway(elsewhere(status));
            }
            400 | 401 | 403 | 429 | 500..=599 => {
                return Err(ConnectError::Refused {
                    status: self.status,
                    retry_after: self.retry_after(),
                    nonce: self.nonce(),
                    detail: self.detail(),
                });
            }
            status => return not_a_gateway(elsewhere(status)),
        }
        if !self.lists("upgrade", "websocket") || !self.lists("connection", "upgrade") {
            return not_a_gateway("answered 101 without upgrading to WebSocket".into());
        }
        if self.get("sec-websocket-accept").ne([accept]) {
            return not_a_gateway("answered 101 with a wrong Sec-WebSocket-Accept".into());
        }
        if let Some(extension) = self.get("sec-websocket-extensions").next() {
            return not_a_gateway(format!(
                "turned on a WebSocket extension nobody offered: {extension:?}"
            ));
        }
        let mut protocols = self.get("sec-websocket-protocol");
        let protocol = protocols.next();
        match handshake::answered(protocol) {
            Some(version) if protocols.next().is_none() => Ok(version),
            _ => not_a_gateway(format!(
                "speaks another protocol over WebSocket: {:?}",
                protocol.unwrap_or_default()
            )),
        }
    }
}

/// What is said of an answer with `status` by something that takes no tunnels.
fn elsewhere(status: u16) -> String {
    format!(
        "answered HTTP {status}: is this the tunnel address? (a gateway's tunnel listener is apart from \
         its public one)"
    )
}
