//! The outgoing half of a version-1 stream.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::{
    frame::Frame,
    head::{RequestHead, ResponseHead},
    v1::{
        chunk::Splitter,
        codec::{self, Kind},
        message::{self, Losses},
    },
};

/// The head of a half, kept until its meta is written.
#[derive(Debug)]
pub(super) enum Head {
    /// Receiver: `respond` was not called yet.
    None,
    Request(Box<RequestHead>),
    /// The request's meta was written.
    Written,
    Response(ResponseHead),
}

/// ```text
/// Open ──end──▶ Ended ──last frame taken──▶ Over
///   └──────────────┴──── broken off ─────────▲
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Ended,
    Over,
}

/// Holds at most what one call handed over; frames are made only when they are taken, so that what
/// is known by then (the end, the length) goes into them.
#[derive(Debug)]
pub(super) struct Outgoing {
    splitter: Splitter,
    head: Head,
    /// Answer to a HEAD request.
    to_head: bool,
    /// The response can have no body: bytes handed over are dropped.
    no_body: bool,
    pending: Bytes,
    /// Body bytes handed over in all.
    total: u64,
    state: State,
    /// What is still to be said after the half was broken off.
    last_words: VecDeque<Frame>,
}

impl Outgoing {
    pub(super) fn request(head: RequestHead, id: Bytes, chunk_size: usize) -> Self {
        let mut half = Self::response(id, chunk_size);
        half.splitter = Splitter::new(Kind::Request, half.splitter.id().clone(), chunk_size);
        half.head = Head::Request(Box::new(head));
        half
    }

    pub(super) fn response(id: Bytes, chunk_size: usize) -> Self {
        Self {
            splitter: Splitter::new(Kind::Response, id, chunk_size),
            head: Head::None,
            to_head: false,
            no_body: false,
            pending: Bytes::new(),
            total: 0,
            state: State::Open,
            last_words: VecDeque::new(),
        }
    }

    pub(super) fn id(&self) -> &Bytes {
        self.splitter.id()
    }

    pub(super) fn answer_to_head(&mut self) {
        self.to_head = true;
    }

    /// Sets the response's head; false where there is one already.
    pub(super) fn set_response(&mut self, head: ResponseHead) -> bool {
        if !matches!(self.head, Head::None) || self.state != State::Open {
            return false;
        }
        self.no_body = message::has_no_body(head.status, self.to_head);
        self.head = Head::Response(head);
        true
    }

    pub(super) fn has_head(&self) -> bool {
        !matches!(self.head, Head::None)
    }

    /// Body bytes taken now.
    pub(super) fn capacity(&self) -> usize {
        if self.state == State::Open && self.pending.is_empty() {
            self.splitter.room()
        } else {
            0
        }
    }

    /// Takes body bytes; false once the half ended.
    pub(super) fn push(&mut self, data: Bytes, end: bool) -> bool {
        if self.state != State::Open {
            return data.is_empty();
        }
        if !self.no_body {
            self.total += data.len() as u64;
            if self.pending.is_empty() {
                self.pending = data;
            } else if !data.is_empty() {
                let mut joined = BytesMut::from(&self.pending[..]);
                joined.extend_from_slice(&data);
                self.pending = joined.freeze();
            }
        }
        if end {
            self.state = State::Ended;
        }
        true
    }

    /// True where no frame was taken yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.splitter.is_fresh()
    }

    /// True until the half was ended or broken off.
    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// True where no frame of the message follows; last words may.
    pub(super) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    pub(super) fn has_frame(&self) -> bool {
        !self.last_words.is_empty()
            || match self.state {
                State::Open => !self.pending.is_empty() && self.has_head(),
                State::Ended => true,
                State::Over => false,
            }
    }

    pub(super) fn next_frame(&mut self, losses: &mut Losses) -> Option<Frame> {
        if let Some(frame) = self.last_words.pop_front() {
            return Some(frame);
        }
        if !self.has_frame() {
            return None;
        }
        let ended = self.state == State::Ended;
        let length = ended.then_some(self.total);
        // Metas are written where the splitter reads them: at the start of a request, and at the
        // end of a response, where its length is known.
        let meta = match &self.head {
            Head::Request(head) if self.splitter.is_fresh() => {
                message::write_request(head, length, losses)
            }
            Head::Response(head) if ended => message::write_response(head, self.to_head, length),
            _ => Bytes::new(),
        };
        if matches!(self.head, Head::Request(_)) {
            self.head = Head::Written;
        }
        let (frame, last) = self.splitter.take(&meta, &mut self.pending, ended);
        if last {
            self.state = State::Over;
        }
        Some(frame)
    }

    /// Ends the half with nothing more to say.
    pub(super) fn stop(&mut self) {
        self.pending = Bytes::new();
        self.state = State::Over;
        self.last_words.clear();
    }

    /// Gateway: cancels a request of which something was written (ANPX 2.3).
    pub(super) fn cancel(&mut self) {
        const TEXT: &str = "request cancelled";
        let whole = self.state == State::Over;
        self.stop();
        if whole {
            self.last_words.push_back(self.error_frame(TEXT));
        } else {
            self.last_words.extend(self.splitter.abort(TEXT));
        }
    }

    /// Receiver: ends a response of which chunks have gone (ANPX 2.2, 11).
    pub(super) fn fail(&mut self) {
        self.stop();
        let frame = self.error_frame("the response broke off");
        self.last_words.push_back(frame);
    }

    /// Receiver: answers in the app's place, before anything was written.
    pub(super) fn replace(&mut self, head: ResponseHead, body: Bytes) {
        self.stop();
        self.head = Head::None;
        self.state = State::Open;
        self.total = 0;
        self.set_response(head);
        self.push(body, true);
    }

    fn error_frame(&self, text: &'static str) -> Frame {
        let text = Bytes::from_static(text.as_bytes());
        codec::frame(Kind::Error, self.splitter.id(), None, None, text)
    }
}
