//! The rules of ASGI for one WebSocket, and the frames of RFC 6455 on the stream after its 101.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    task::{Context, Poll},
};

use anp_tunnel::{Part, RecvStream, handshake::accept_key};
use anpx::{RequestHead, ResponseHead};
use bytes::{Buf as _, Bytes, BytesMut};
use tungstenite::{
    Error, Message as Ws,
    error::{CapacityError, ProtocolError},
    protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
};

use crate::{
    event::{Event, Message, Sent},
    fields::Headers,
    outgoing::{Outgoing, Tail},
    refusal::Refusal,
};

/// Bytes of messages that wait for the app before no more are read.
const AHEAD: usize = 64 << 10;
/// What a close frame's reason may hold (RFC 6455 section 5.5).
const MAX_REASON: usize = 123;

/// ```text
/// Asked ─ connect told ─► Connecting ─ accept ─► Open ─ close, either side ─► Closed
///                              └─ close, response ─► Denied
/// ```
enum Phase {
    /// The app does not know of it.
    Asked,
    /// The app is to decide.
    Connecting,
    /// The app answers with a response, whose head waits for the body.
    Denying(Option<(u16, Headers)>),
    /// The handshake was refused.
    Denied,
    Open,
    Closed,
}

/// The state of one WebSocket.
pub(crate) struct WebSocket {
    phase: Phase,
    accept: String,
    max_message: usize,
    socket: Option<tungstenite::WebSocket<Memory>>,
    /// Events for the app.
    events: VecDeque<Event>,
    waiting: usize,
    /// The answer to the last ping, while the caller takes too little for it to wait with the rest;
    /// earlier ones need not be sent (RFC 6455 section 5.5.3). Empty where there is none.
    pong: Bytes,
    /// The caller's bytes are over.
    read_over: bool,
    /// How it ended, unless the caller said.
    code: u16,
    /// The app was told that it ended.
    told: bool,
}

/// A connection made of two buffers.
#[derive(Debug, Default)]
struct Memory {
    read: BytesMut,
    closed: bool,
    written: Vec<u8>,
}

impl Read for Memory {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.read.is_empty() && !self.closed {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let len = self.read.len().min(buf.len());
        self.read.copy_to_slice(&mut buf[..len]);
        Ok(len)
    }
}

impl Write for Memory {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.written.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl WebSocket {
    /// The WebSocket that `head` asks for; `None` where it asks for something else.
    pub(crate) fn asked(head: &RequestHead, max_message: usize) -> Option<Self> {
        let protocol = head.protocol.as_ref()?;
        let key = head.headers.get("sec-websocket-key")?;
        let version = head.headers.get("sec-websocket-version");
        if !protocol.eq_ignore_ascii_case(b"websocket") || version != Some(b"13") {
            return None;
        }
        Some(Self {
            phase: Phase::Asked,
            accept: accept_key(key),
            max_message,
            socket: None,
            events: VecDeque::new(),
            waiting: 0,
            pong: Bytes::new(),
            read_over: false,
            code: 1006,
            told: false,
        })
    }

    /// True once the handshake was answered, either way.
    pub(crate) fn is_answered(&self) -> bool {
        !matches!(
            self.phase,
            Phase::Asked | Phase::Connecting | Phase::Denying(Some(_))
        )
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// True once the app has nothing more to send.
    pub(crate) fn is_complete(&self) -> bool {
        matches!(self.phase, Phase::Denied | Phase::Closed)
    }

    /// The handshake was answered in the app's place.
    pub(crate) fn complete(&mut self) {
        self.phase = Phase::Denied;
    }

    /// The next event for the app.
    pub(crate) fn poll_receive(
        &mut self,
        recv: &mut Option<RecvStream>,
        out: &mut Outgoing,
        cx: &mut Context<'_>,
    ) -> Poll<Event> {
        if matches!(self.phase, Phase::Asked) {
            self.phase = Phase::Connecting;
            return Poll::Ready(Event::Connect);
        }
        self.pump(recv, out, cx);
        if let Some(event) = self.events.pop_front() {
            self.waiting -= event.size();
            return Poll::Ready(event);
        }
        let gone = out.poll_broken(cx).is_ready();
        if gone || self.told || self.is_complete() {
            self.told = true;
            return Poll::Ready(Event::Closed {
                code: self.code,
                reason: String::new(),
            });
        }
        Poll::Pending
    }

    /// Takes an event of the app.
    pub(crate) fn send(&mut self, out: &mut Outgoing, sent: Sent) -> Result<(), Refusal> {
        let Sent {
            kind,
            denies,
            message,
        } = sent;
        let unexpected = |why: &str| {
            Err(Refusal::Unexpected(format!(
                "unexpected ASGI message {kind:?}: {why}"
            )))
        };
        if matches!(self.phase, Phase::Denied) {
            return unexpected("the handshake was refused");
        }
        if matches!(self.phase, Phase::Closed) && !self.told && !out.is_broken() {
            return unexpected("the WebSocket is closed");
        }
        if out.is_broken() || self.told {
            return Err(Refusal::Gone);
        }
        match (&mut self.phase, message) {
            (
                Phase::Asked | Phase::Connecting,
                Message::Accept {
                    subprotocol,
                    headers,
                },
            ) => self.accept(out, subprotocol, headers),
            (Phase::Asked | Phase::Connecting, Message::Close { .. }) => {
                self.phase = Phase::Denied;
                let headers = Headers::ours(&[("content-length", "0")]).build();
                out.respond(ResponseHead {
                    status: 403,
                    headers,
                });
                out.finish(Tail::End);
                Ok(())
            }
            (
                Phase::Asked | Phase::Connecting,
                Message::Start {
                    status, headers, ..
                },
            ) if denies => {
                self.phase = Phase::Denying(Some((status, headers)));
                Ok(())
            }
            (Phase::Denying(head), Message::Body { data, more }) if denies => {
                if let Some((status, headers)) = head.take() {
                    out.respond(ResponseHead {
                        status,
                        headers: headers.build(),
                    });
                }
                out.push(data);
                if !more {
                    self.phase = Phase::Denied;
                    out.finish(Tail::End);
                }
                Ok(())
            }
            (Phase::Open, Message::Send(message)) => {
                if let Some(socket) = &mut self.socket {
                    // To memory; what fails is a close that is under way.
                    if socket.write(message).is_err() || socket.flush().is_err() {
                        return Err(Refusal::Gone);
                    }
                    out.push(take(socket));
                }
                Ok(())
            }
            (Phase::Open, Message::Close { code, reason }) => {
                if !is_sendable(code) {
                    return Err(Refusal::Unexpected(format!(
                        "{code} is no close code to send"
                    )));
                }
                self.close(out, code, &reason);
                Ok(())
            }
            (Phase::Open, _) => unexpected("the WebSocket is open"),
            (Phase::Denying(_), _) => unexpected("the handshake is being refused"),
            _ => unexpected("the handshake is not answered"),
        }
    }

    fn accept(
        &mut self,
        out: &mut Outgoing,
        subprotocol: Option<String>,
        headers: Headers,
    ) -> Result<(), Refusal> {
        let mut answer = Headers::ours(&[("sec-websocket-accept", &self.accept)]);
        if let Some(name) = subprotocol {
            answer.add(b"sec-websocket-protocol", name.as_bytes())?;
        }
        for (name, value) in &headers.build() {
            answer.add(name, value)?;
        }
        out.respond(ResponseHead {
            status: 101,
            headers: answer.build(),
        });
        let config = WebSocketConfig::default()
            .read_buffer_size(4 << 10)
            .write_buffer_size(0)
            .max_message_size(Some(self.max_message))
            .max_frame_size(Some(self.max_message));
        let socket =
            tungstenite::WebSocket::from_raw_socket(Memory::default(), Role::Server, Some(config));
        self.socket = Some(socket);
        self.phase = Phase::Open;
        Ok(())
    }

    /// Begins the close handshake.
    pub(crate) fn close(&mut self, out: &mut Outgoing, code: u16, reason: &str) {
        self.phase = Phase::Closed;
        self.code = code;
        // Nobody takes what was read ahead; room for the caller's close.
        self.events.clear();
        self.waiting = 0;
        let Some(socket) = &mut self.socket else {
            return;
        };
        let mut end = reason.len().min(MAX_REASON);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let frame = CloseFrame {
            code: CloseCode::from(code),
            reason: reason[..end].into(),
        };
        // A close that is under way already.
        let _ = socket.close(Some(frame));
        let _ = socket.flush();
        out.push(take(socket));
    }

    /// Moves what it can both ways, reading ahead of the app a little: pings are answered whether
    /// the app reads or not.
    pub(crate) fn pump(
        &mut self,
        recv: &mut Option<RecvStream>,
        out: &mut Outgoing,
        cx: &mut Context<'_>,
    ) {
        while self.socket.is_some() && self.waiting < AHEAD {
            if !self.read(out, cx) || !self.fill(recv, cx) {
                break;
            }
        }
        out.flush(cx);
        // Of a full one, the flush wakes `cx` again.
        if self.is_open() && !self.pong.is_empty() && !out.is_full() {
            out.push(std::mem::take(&mut self.pong));
            out.flush(cx);
        }
        if out.is_broken() || out.is_over() && (self.read_over || self.socket.is_none()) {
            *recv = None;
        }
    }

    /// Takes the messages that were read whole; false once no more are to come.
    fn read(&mut self, out: &mut Outgoing, cx: &mut Context<'_>) -> bool {
        while self.waiting < AHEAD {
            let Some(socket) = &mut self.socket else {
                return false;
            };
            let read = socket.read();
            let _ = socket.flush();
            let answer = take(socket);
            if matches!(read, Ok(Ws::Ping(_))) {
                self.answer_ping(out, answer, cx);
            } else {
                out.push(answer);
            }
            match read {
                Ok(Ws::Text(text)) => self.add(Event::Text(text)),
                Ok(Ws::Binary(data)) => self.add(Event::Bytes(data)),
                Ok(Ws::Ping(_) | Ws::Pong(_) | Ws::Frame(_)) => {}
                Ok(Ws::Close(frame)) => {
                    let (code, reason) = match frame {
                        Some(frame) => (frame.code.into(), frame.reason.to_string()),
                        None => (1005, String::new()),
                    };
                    self.ended(out, code, reason);
                }
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                    self.ended(out, 1006, String::new());
                    return false;
                }
                Err(error) => {
                    if let Some(code) = fault(&error) {
                        self.close(out, code, "");
                        self.ended(out, code, String::new());
                    } else {
                        self.ended(out, 1006, String::new());
                    }
                    self.read_over = true;
                    self.socket = None;
                    return false;
                }
            }
        }
        true
    }

    /// Sends a pong, or keeps it in place of the one before where too much waits already.
    fn answer_ping(&mut self, out: &mut Outgoing, pong: Bytes, cx: &mut Context<'_>) {
        if out.is_full() {
            out.flush(cx);
        }
        self.pong = match out.is_full() {
            true => pong,
            false => {
                out.push(pong);
                Bytes::new()
            }
        };
    }

    /// Adds bytes of the caller; false where there are none now.
    fn fill(&mut self, recv: &mut Option<RecvStream>, cx: &mut Context<'_>) -> bool {
        let (Some(socket), Some(recv)) = (&mut self.socket, recv) else {
            return false;
        };
        if self.read_over {
            return false;
        }
        match recv.poll_part(cx) {
            Poll::Pending => false,
            Poll::Ready(Some(Ok(Part::Data(data, end)))) => {
                socket.get_mut().read.extend_from_slice(&data);
                if end.is_end() {
                    socket.get_mut().closed = true;
                    self.read_over = true;
                }
                true
            }
            Poll::Ready(_) => {
                socket.get_mut().closed = true;
                self.read_over = true;
                true
            }
        }
    }

    fn add(&mut self, event: Event) {
        // Of a WebSocket that the app closed, it hears no more.
        if matches!(self.phase, Phase::Open) {
            self.waiting += event.size();
            self.events.push_back(event);
        }
    }

    /// It is over: the app learns of it, and what waits goes out.
    fn ended(&mut self, out: &mut Outgoing, code: u16, reason: String) {
        if !std::mem::replace(&mut self.told, true) {
            self.events.push_back(Event::Closed { code, reason });
        }
        self.phase = Phase::Closed;
        out.finish(Tail::End);
    }
}

impl Event {
    /// How much of the queue it takes.
    fn size(&self) -> usize {
        match self {
            // A message is more than its bytes.
            Self::Text(text) => text.len() + 64,
            Self::Bytes(data) => data.len() + 64,
            _ => 0,
        }
    }
}

/// What was written to memory.
fn take(socket: &mut tungstenite::WebSocket<Memory>) -> Bytes {
    Bytes::from(std::mem::take(&mut socket.get_mut().written))
}

/// The close code for what a caller did wrong (RFC 6455 section 7.4.1); `None` where it just left.
fn fault(error: &Error) -> Option<u16> {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => Some(1009),
        Error::Utf8(_) => Some(1007),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some(1002),
        _ => None,
    }
}

/// RFC 6455 section 7.4.
fn is_sendable(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
