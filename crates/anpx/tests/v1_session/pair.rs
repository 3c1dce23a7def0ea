//! Sessions of version 1 in memory, and frames written by hand.

use std::time::{Duration, Instant};

use anpx::{
    Fields, RequestHead, ResetCode, ResponseHead, StreamError,
    frame::Frame,
    session::{End, Event, Read, Role, StreamId, Transmit, config::V1Config, v1::Session},
    v1::codec::{self, Decoded, Kind, Position},
};
use bytes::Bytes;

pub(crate) const ID: &str = "6f1b0a52-7e57-4d5a-9d0b-0123456789ab";

pub(crate) fn encoded(frame: &Frame) -> Bytes {
    let mut out = Vec::new();
    frame.encode(&mut out);
    Bytes::from(out)
}

pub(crate) fn frame(
    kind: Kind,
    id: &str,
    meta: Option<&str>,
    chunk: Option<Position>,
    body: &[u8],
) -> Bytes {
    let body = Bytes::copy_from_slice(body);
    encoded(&codec::frame(
        kind,
        id.as_bytes(),
        meta.map(str::as_bytes),
        chunk,
        body,
    ))
}

pub(crate) fn at(index: u32, total: Option<u32>, last: bool) -> Option<Position> {
    Some(Position { index, total, last })
}

pub(crate) fn request(method: &str, id: &str) -> RequestHead {
    RequestHead {
        method: Bytes::copy_from_slice(method.as_bytes()),
        target: Bytes::from_static(b"/a?b=c"),
        scheme: Bytes::from_static(b"https"),
        authority: Bytes::from_static(b"app.example"),
        headers: Fields::from_pairs([("accept", "*/*")]).unwrap(),
        request_id: Bytes::copy_from_slice(id.as_bytes()),
        client_addr: None,
        protocol: None,
    }
}

pub(crate) fn response(status: u16) -> ResponseHead {
    ResponseHead {
        status,
        headers: Fields::from_pairs([("x-app", "yes")]).unwrap(),
    }
}

/// One session under test; its peer is the test.
pub(crate) struct One {
    pub(crate) now: Instant,
    pub(crate) session: Session,
}

impl One {
    pub(crate) fn new(role: Role, edit: impl FnOnce(&mut V1Config)) -> Self {
        let mut config = V1Config::new(role);
        edit(&mut config);
        let now = Instant::now();
        Self {
            now,
            session: Session::new(config, now),
        }
    }

    pub(crate) fn gateway() -> Self {
        Self::new(Role::Gateway, |_| {})
    }

    /// A receiver whose first ping was taken.
    pub(crate) fn receiver() -> Self {
        let mut one = Self::new(Role::Receiver, |_| {});
        assert!(matches!(
            one.session.poll_transmit(one.now, 0),
            Some(Transmit::Text(_))
        ));
        one
    }

    pub(crate) fn take(&mut self, message: Bytes) {
        self.session.handle_binary(self.now, message).unwrap();
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.session.handle_timeout(self.now).unwrap();
    }

    /// The next frame written.
    pub(crate) fn sent(&mut self) -> Option<Decoded> {
        match self.session.poll_transmit(self.now, 0)? {
            Transmit::Frame(frame) => Some(Decoded::decode(encoded(&frame)).unwrap()),
            Transmit::Text(text) => panic!("a text, not a frame: {text}"),
        }
    }

    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }

    pub(crate) fn open(&mut self, method: &str) -> StreamId {
        let head = request(method, ID);
        let id = self
            .session
            .open(|| self.now, &head, Bytes::new(), End::Yes)
            .unwrap();
        assert!(self.sent().is_some());
        id
    }

    pub(crate) fn read(&mut self, id: StreamId) -> Result<Read, StreamError> {
        self.session.read(|| self.now, id)
    }
}

/// The meta of a plain answer.
pub(crate) const OK: &str = r#"{"status":200,"headers":{"X-App":"yes"}}"#;

/// A reset, as a reader sees it.
pub(crate) fn reset(code: ResetCode) -> StreamError {
    StreamError::Reset(code)
}

/// Reads the stream to its end: status, content-length, body.
pub(crate) fn whole(one: &mut One, id: StreamId) -> (u16, Option<Vec<u8>>, Vec<u8>) {
    let Ok(Read::Head(head, end)) = one.read(id) else {
        panic!("no head");
    };
    let length = head.headers.get("content-length").map(<[u8]>::to_vec);
    let mut body = Vec::new();
    let mut over = end.is_end();
    while !over {
        match one.read(id).unwrap() {
            Read::Data(data, end) => {
                body.extend_from_slice(&data);
                over = end.is_end();
            }
            Read::End => over = true,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(one.read(id), Ok(Read::Pending));
    (head.status, length, body)
}
