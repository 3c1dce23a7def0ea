//! The response's half of an exchange: what waits, and what the tunnel takes of it.

use std::{
    collections::VecDeque,
    task::{Context, Poll},
};

use anp_tunnel::SendStream;
use anpx::{Fields, ResetCode, ResponseHead, StreamError, session::End};
use bytes::{Bytes, BytesMut};

/// Bytes that may wait before the app's `send` is suspended: as much as a stream's first window.
const HIGH_WATER: usize = 64 << 10;
/// What a piece takes besides its bytes.
const PIECE: usize = 64;
/// What fits beside a head on any tunnel; for more, the tunnel is asked.
const SURELY_FIRST: usize = 4 << 10;
/// Pieces are joined into one frame up to this many bytes: below it a copy costs less than a frame.
const JOINED: usize = 16 << 10;

/// What follows the last piece.
#[derive(Debug)]
pub(crate) enum Tail {
    /// Nothing.
    End,
    /// Trailers.
    Trailers(Fields),
}

/// A response on its way.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// `None` once the response went out whole, or broke.
    stream: Option<SendStream>,
    head: Option<ResponseHead>,
    waiting: VecDeque<Bytes>,
    held: usize,
    tail: Option<Tail>,
    broken: bool,
}

impl Outgoing {
    pub(crate) fn new(stream: SendStream) -> Self {
        Self {
            stream: Some(stream),
            head: None,
            waiting: VecDeque::new(),
            held: 0,
            tail: None,
            broken: false,
        }
    }

    /// True once nothing more is to be done here.
    pub(crate) fn is_over(&self) -> bool {
        self.stream.is_none()
    }

    /// True where the caller or the tunnel is gone.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// True while more should not be added.
    pub(crate) fn is_full(&self) -> bool {
        self.held + self.waiting.len() * PIECE > HIGH_WATER && self.stream.is_some()
    }

    /// Adds the final head, which nothing has gone before.
    pub(crate) fn respond(&mut self, head: ResponseHead) {
        self.head = Some(head);
    }

    /// Adds a piece of the body.
    pub(crate) fn push(&mut self, data: Bytes) {
        if !data.is_empty() && self.stream.is_some() {
            self.held += data.len();
            self.waiting.push_back(data);
        }
    }

    /// Adds the end.
    pub(crate) fn finish(&mut self, tail: Tail) {
        self.tail = Some(tail);
    }

    /// Gives the tunnel what it takes. Wakes `cx` once it takes more, or the stream broke.
    pub(crate) fn flush(&mut self, cx: &mut Context<'_>) {
        let Some(mut stream) = self.stream.take() else {
            return;
        };
        match self.poll_send(&mut stream, cx) {
            Ok(Poll::Ready(())) => {}
            Ok(Poll::Pending) => self.stream = Some(stream),
            Err(_) => self.give_up(),
        }
    }

    /// Ready once the stream broke: the caller left, or the tunnel ended.
    pub(crate) fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let polled = match &mut self.stream {
            Some(stream) => stream.poll_error(cx).map(drop),
            None => Poll::Pending,
        };
        if polled.is_ready() {
            self.give_up();
        }
        match self.broken {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Breaks the response off.
    pub(crate) fn reset(&mut self, code: ResetCode) {
        if let Some(mut stream) = self.stream.take() {
            stream.reset(code);
        }
        self.give_up();
    }

    fn give_up(&mut self) {
        self.broken = true;
        self.stream = None;
        self.waiting.clear();
        self.held = 0;
    }

    /// Ready once the end was given to the tunnel.
    fn poll_send(
        &mut self,
        stream: &mut SendStream,
        cx: &mut Context<'_>,
    ) -> Result<Poll<()>, StreamError> {
        if let Some(head) = self.head.take() {
            let room = match self.held > SURELY_FIRST {
                true => stream.first_capacity(),
                false => SURELY_FIRST,
            };
            let (data, end) = match head.status {
                // What follows is raw, and no part of it.
                101 => (Bytes::new(), End::No),
                _ => self.next(room),
            };
            stream.respond(&head, data, end)?;
            if end.is_end() {
                return Ok(Poll::Ready(()));
            }
        }
        loop {
            if self.waiting.is_empty() {
                return Ok(match self.tail.take() {
                    None => Poll::Pending,
                    Some(Tail::End) => {
                        stream.send_data(Bytes::new(), End::Yes)?;
                        Poll::Ready(())
                    }
                    Some(Tail::Trailers(trailers)) => {
                        stream.send_trailers(trailers)?;
                        Poll::Ready(())
                    }
                });
            }
            let Poll::Ready(room) = stream.poll_capacity(cx)? else {
                return Ok(Poll::Pending);
            };
            let (data, end) = self.next(room);
            stream.send_data(data, end)?;
            if end.is_end() {
                return Ok(Poll::Ready(()));
            }
        }
    }

    /// The next at most `room` bytes, and whether nothing follows them.
    fn next(&mut self, room: usize) -> (Bytes, End) {
        let mut data = match self.waiting.front_mut() {
            Some(front) if front.len() > room => front.split_to(room),
            _ => self.waiting.pop_front().unwrap_or_default(),
        };
        let fits = |have: usize, next: &Bytes| have + next.len() <= JOINED.min(room);
        if self
            .waiting
            .front()
            .is_some_and(|next| fits(data.len(), next))
        {
            let mut joined = BytesMut::from(data);
            while let Some(next) = self.waiting.pop_front_if(|next| fits(joined.len(), next)) {
                joined.extend_from_slice(&next);
            }
            data = joined.freeze();
        }
        self.held = self.held.saturating_sub(data.len());
        let last = self.waiting.is_empty() && matches!(self.tail, Some(Tail::End));
        if last {
            self.tail = None;
        }
        (data, End::from(last))
    }
}
