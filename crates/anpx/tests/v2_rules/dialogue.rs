//! One session, and a peer that says what the test tells it to.

use std::time::{Duration, Instant};

use anpx::{
    CloseCode, Fields, RequestHead, ResetCode, ResponseHead, SessionError, StreamError,
    frame::Frame as Outgoing,
    session::{End, Event, Read, Role, Session, StreamId, Transmit, config::V2Config},
    tlv,
    v2::{Frame, Kind, Payload, Settings, encode},
};
use bytes::{Bytes, BytesMut};

pub(crate) struct Dialogue {
    pub(crate) session: Session,
    pub(crate) now: Instant,
}

impl Dialogue {
    /// A session that has said and heard nothing.
    pub(crate) fn silent(config: V2Config) -> Self {
        let now = Instant::now();
        Self {
            session: Session::V2(anpx::session::v2::Session::new(config, now)),
            now,
        }
    }

    /// A session that exchanged SETTINGS with its peer, whose are `peer`.
    pub(crate) fn with(config: V2Config, peer: &Settings) -> Self {
        let mut dialogue = Self::silent(config);
        let said = dialogue.says();
        assert!(matches!(
            said[..],
            [Frame {
                payload: Payload::Settings(_),
                ..
            }]
        ));
        dialogue.hears(encode::settings(peer));
        assert_eq!(dialogue.session.poll_event(), Some(Event::Established));
        dialogue
    }

    pub(crate) fn gateway() -> Self {
        Self::with(V2Config::new(Role::Gateway), &Settings::default())
    }

    pub(crate) fn receiver() -> Self {
        Self::with(V2Config::new(Role::Receiver), &Settings::default())
    }

    /// A gateway that sent a POST on stream 1, its body open.
    pub(crate) fn gateway_after_post() -> Self {
        let mut dialogue = Self::gateway();
        assert_eq!(dialogue.opens(&head("POST"), b"", End::No), ONE);
        assert_eq!(dialogue.says().len(), 1);
        dialogue
    }

    /// A receiver whose app accepted a POST on stream 1, its body open.
    pub(crate) fn receiver_after_post() -> Self {
        let mut dialogue = Self::receiver();
        dialogue.hears(encode::request(1, &head("POST"), Bytes::new(), false));
        assert_eq!(dialogue.accepts(), ONE);
        dialogue
    }

    /// The peer says `frame`, and the session has nothing against it.
    pub(crate) fn hears(&mut self, frame: Outgoing) {
        self.try_hears(frame).unwrap();
    }

    pub(crate) fn try_hears(&mut self, frame: Outgoing) -> Result<(), SessionError> {
        self.session.handle_binary(self.now, bytes(&frame))
    }

    /// The peer says `frame`, which ends the session with `code`.
    pub(crate) fn ends_at(&mut self, frame: Outgoing, code: CloseCode) {
        let error = self.try_hears(frame).unwrap_err();
        assert_eq!(error.code, code, "{error}");
    }

    /// All that the session wants to write now.
    pub(crate) fn says(&mut self) -> Vec<Frame> {
        self.says_with(0)
    }

    /// What it wants to write while `unwritten` bytes wait.
    pub(crate) fn says_with(&mut self, unwritten: usize) -> Vec<Frame> {
        std::iter::from_fn(|| self.says_one(unwritten)).collect()
    }

    pub(crate) fn says_one(&mut self, unwritten: usize) -> Option<Frame> {
        let transmit = self.session.poll_transmit(self.now, unwritten)?;
        let Transmit::Frame(frame) = transmit else {
            panic!("a text on version 2")
        };
        Some(Frame::decode(&bytes(&frame)).unwrap())
    }

    pub(crate) fn opens(&mut self, head: &RequestHead, body: &'static [u8], end: End) -> StreamId {
        let body = Bytes::from_static(body);
        self.session.open(|| self.now, head, body, end).unwrap()
    }

    /// A receiver's app takes the next request.
    pub(crate) fn accepts(&mut self) -> StreamId {
        self.session.accept().unwrap().0
    }

    pub(crate) fn reads(&mut self, id: StreamId) -> Result<Read, StreamError> {
        self.session.read(|| self.now, id)
    }

    pub(crate) fn responds(&mut self, id: StreamId, status: u16, end: End) {
        let head = response(status);
        self.session.respond(id, &head, Bytes::new(), end).unwrap();
    }

    /// Sends as much of `len` zeros as there is room for.
    pub(crate) fn sends(&mut self, id: StreamId, len: usize) -> usize {
        let len = len.min(self.session.send_capacity(id).unwrap());
        let data = Bytes::from(vec![0; len]);
        self.session.send_data(id, data, End::No).unwrap();
        len
    }

    pub(crate) fn ends(&mut self, id: StreamId) {
        self.session.send_data(id, Bytes::new(), End::Yes).unwrap();
    }

    pub(crate) fn waits(&mut self, time: Duration) {
        self.now += time;
    }

    /// Takes every event that waits.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }
}

pub(crate) const ONE: StreamId = StreamId(1);

pub(crate) fn bytes(frame: &Outgoing) -> Bytes {
    let mut out = BytesMut::new();
    frame.encode(&mut out);
    out.freeze()
}

pub(crate) fn head(method: &'static str) -> RequestHead {
    RequestHead {
        method: method.into(),
        target: "/".into(),
        scheme: "http".into(),
        authority: "app.test".into(),
        headers: Fields::default(),
        request_id: "r".into(),
        client_addr: None,
        protocol: None,
    }
}

pub(crate) fn upgrade() -> RequestHead {
    RequestHead {
        protocol: Some("websocket".into()),
        ..head("GET")
    }
}

pub(crate) fn with_headers(head: RequestHead, pairs: &[(&str, &str)]) -> RequestHead {
    RequestHead {
        headers: fields(pairs),
        ..head
    }
}

pub(crate) fn response(status: u16) -> ResponseHead {
    response_with(status, &[])
}

pub(crate) fn response_with(status: u16, pairs: &[(&str, &str)]) -> ResponseHead {
    ResponseHead {
        status,
        headers: fields(pairs),
    }
}

pub(crate) fn fields(pairs: &[(&str, &str)]) -> Fields {
    Fields::from_pairs(pairs.iter().copied()).unwrap()
}

/// DATA with `len` zeros.
pub(crate) fn data(stream: u32, len: usize, end: bool) -> Outgoing {
    encode::data(stream, Bytes::from(vec![0; len]), end)
}

/// RESPONSE 200 without END_STREAM.
pub(crate) fn ok(stream: u32) -> Outgoing {
    encode::response(stream, &response(200), Bytes::new(), false)
}

/// A frame made of these TLVs, whatever they are.
pub(crate) fn raw(kind: u8, flags: u8, stream: u32, tlvs: &[(u8, &[u8])]) -> Outgoing {
    let mut encoded = BytesMut::new();
    for (tag, value) in tlvs {
        tlv::put(&mut encoded, *tag, value);
    }
    Outgoing {
        version: 2,
        kind,
        flags,
        stream,
        tlvs: encoded.freeze(),
        body: Bytes::new(),
    }
}

/// An encoded header block, whatever it holds.
pub(crate) fn block(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for part in pairs.iter().flat_map(|(name, value)| [*name, *value]) {
        block.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
        block.extend(part);
    }
    block
}

pub(crate) fn kind(frame: &Frame) -> Kind {
    match &frame.payload {
        Payload::Request { .. } => Kind::Request,
        Payload::Response { .. } => Kind::Response,
        Payload::Data(_) => Kind::Data,
        Payload::Trailers(_) => Kind::Trailers,
        Payload::Window(_) => Kind::Window,
        Payload::Reset(_) => Kind::Reset,
        Payload::Settings(_) => Kind::Settings,
        Payload::GoAway { .. } => Kind::GoAway,
        other => panic!("{other:?}"),
    }
}

/// The kinds and streams of frames.
pub(crate) fn outline(frames: &[Frame]) -> Vec<(Kind, u32)> {
    frames.iter().map(|f| (kind(f), f.stream)).collect()
}

/// The frame that says RESET.
pub(crate) fn reset(stream: u32, code: ResetCode) -> Frame {
    Frame {
        stream,
        end: false,
        payload: Payload::Reset(code),
    }
}
