//! Everything between the socket and the session that has no I/O.

use std::{
    borrow::Cow,
    time::{Duration, Instant},
};

use anpx::{
    CloseCode, SessionError,
    header::Header,
    session::{Role, Transmit},
};
use bytes::Bytes;

use crate::{
    config::{TunnelConfig, Version},
    keepalive::Keepalive,
    shared::State,
    websocket::{Message, Reader, Side, WebSocketError, Writer},
};

/// A receiver that does not know the version yet shows a version-1 gateway that it lives
/// (ANPX section 1), first after this long.
const UNDECIDED_PING: Duration = Duration::from_secs(5);

/// Turns bytes into what the session is told, and what it says into bytes.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    pub(crate) keepalive: Keepalive,
    /// The payload of the last ping, to be answered.
    pub(crate) pong: Option<Bytes>,
    pub(crate) config: TunnelConfig,
    /// Receiver without a version: when the next sign of life is due.
    pub(crate) undecided_ping: Option<Instant>,
}

/// Why the connection ends.
#[derive(Debug)]
pub(crate) enum Ending {
    Ours(CloseCode, Cow<'static, str>),
    Peer(Option<CloseCode>, String),
    /// No byte can be exchanged any more.
    Broken(String),
}

impl From<SessionError> for Ending {
    fn from(error: SessionError) -> Self {
        Self::Ours(error.code, error.reason)
    }
}

impl From<WebSocketError> for Ending {
    fn from(error: WebSocketError) -> Self {
        Self::Ours(error.code, Cow::Borrowed(error.reason))
    }
}

impl Wire {
    pub(crate) fn new(config: &TunnelConfig, version: Version, now: Instant) -> Self {
        let side = match config.v2.role {
            Role::Gateway => Side::Server,
            Role::Receiver => Side::Client,
        };
        Self {
            reader: Reader::new(
                side,
                config.message_limit(version),
                config.v1.process_held.clone(),
            ),
            writer: Writer::new(side),
            keepalive: Keepalive::new(config.ping_interval, now),
            pong: None,
            undecided_ping: (version == Version::Undecided).then(|| now + UNDECIDED_PING),
            config: config.clone(),
        }
    }

    /// Takes one message of the peer.
    pub(crate) fn handle(
        &mut self,
        state: &mut State,
        message: Message,
        now: Instant,
    ) -> Result<(), Ending> {
        match message {
            Message::Binary(frame) => {
                if state.session.is_none() {
                    // A header's version byte says which version speaks (ANPX section 1).
                    let v2 = frame.len() >= Header::LEN && frame[4] == 2;
                    self.decide(state, if v2 { Version::V2 } else { Version::V1 }, now);
                }
                if let Some(session) = &mut state.session {
                    session.handle_binary(now, frame)?;
                }
            }
            Message::Text(text) => {
                // Only a version-1 gateway says anything in text.
                if state.session.is_none() {
                    self.decide(state, Version::V1, now);
                }
                if let Some(session) = &mut state.session {
                    session.handle_text(now, &String::from_utf8_lossy(&text))?;
                }
            }
            Message::Ping(payload) => {
                if self.keepalive.handle_ping(now) {
                    return Err(SessionError::limit("too many pings").into());
                }
                self.pong = Some(payload);
            }
            Message::Pong(payload) => {
                if let Some(sample) = self.keepalive.handle_pong(now, &payload) {
                    state.round_trip = Some(state.round_trip.map_or(sample, |r| r.min(sample)));
                    if let Some(session) = &mut state.session {
                        session.handle_round_trip(sample);
                    }
                }
            }
            Message::Close(Some((code, reason))) => {
                let reason = String::from_utf8_lossy(&reason).into_owned();
                return Err(Ending::Peer(Some(CloseCode(code)), reason));
            }
            Message::Close(None) => return Err(Ending::Peer(None, "closed without a code".into())),
        }
        Ok(())
    }

    fn decide(&mut self, state: &mut State, version: Version, now: Instant) {
        state.version = version;
        state.session = self.config.session(version, now);
        if let (Some(session), Some(sample)) = (&mut state.session, state.round_trip) {
            session.handle_round_trip(sample);
        }
        self.undecided_ping = None;
        self.reader.set_limit(self.config.message_limit(version));
    }

    /// Encodes everything that is ready, pings and pongs first. The transport keeps `kept` bytes of
    /// what was written before.
    pub(crate) fn fill(
        &mut self,
        state: &mut State,
        kept: usize,
        now: Instant,
    ) -> Result<(), Ending> {
        let mut first = true;
        if let Some(payload) = self.pong.take() {
            self.writer.pong(&payload);
        }
        if self.undecided_ping.is_some_and(|due| now >= due) {
            self.undecided_ping = Some(now + self.config.v1.ping_interval);
            self.writer.text(r#"{"type":"ping","timestamp":0}"#);
        }
        let Some(session) = &mut state.session else {
            return Ok(());
        };
        loop {
            match session.poll_transmit(now, self.writer.len() + kept) {
                Some(Transmit::Frame(frame)) => self.writer.frame(frame),
                Some(Transmit::Text(text)) => self.writer.text(&text),
                None => break,
            }
            // The session's SETTINGS come first, the ping right behind them (ANPX 3.4).
            if std::mem::take(&mut first) {
                self.ping(now);
            }
        }
        self.ping(now);
        Ok(())
    }

    fn ping(&mut self, now: Instant) {
        if let Some(payload) = self.keepalive.take_ping(now) {
            self.writer.ping(&payload);
        }
    }
}
