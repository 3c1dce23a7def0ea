//! The response's half of a stream, with a coding in between where that is wanted.

use std::{
    cell::Cell,
    io,
    task::{Context, Poll, ready},
};

use anp_tunnel::SendStream;
use anpx::{Fields, RequestHead, ResponseHead, session::End};
use bytes::{Bytes, BytesMut};

use super::{
    encoder::Encoder,
    headers,
    negotiate::ContentCoding,
    policy::{self, Plan, SMALL},
};
use crate::app::error::AppError;

/// Responses coded at once by one worker. An encoder holds up to 0.8 MiB; whoever comes when all
/// are taken gets the plain body.
pub(crate) const MAX_ENCODERS: usize = 128;

/// Most bytes an encoder is fed before other tasks of the worker get their turn, and about how much
/// may wait coded. They take 0.4 ms at most.
const PIECE: usize = 32 << 10;

/// The codings that one worker may apply, and what it has under way.
#[derive(Debug, Default)]
pub(crate) struct Codings {
    preference: Vec<ContentCoding>,
    encoders: Cell<usize>,
}

impl Codings {
    /// Codings in order of preference; none, and every response stays as it is.
    pub(crate) fn new(preference: &[ContentCoding]) -> Self {
        Self {
            preference: preference.to_vec(),
            encoders: Cell::new(0),
        }
    }

    fn place(&self) -> Option<Place<'_>> {
        let taken = self.encoders.get();
        (taken < MAX_ENCODERS).then(|| {
            self.encoders.set(taken + 1);
            Place(&self.encoders)
        })
    }
}

/// Counts one encoder while it lives.
struct Place<'a>(&'a Cell<usize>);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Where an exchange sends its response. Calls as on a [`SendStream`], and two more:
/// [`Outgoing::poll_flush`] when the app pauses and [`Outgoing::poll_done`] at the end.
pub(crate) struct Outgoing<'a> {
    stream: &'a mut SendStream,
    codings: &'a Codings,
    request: &'a RequestHead,
    coded: Option<Coded<'a>>,
}

/// A body that is being coded.
///
/// ```text
/// encoder: Some ── flushed whenever the app pauses ──► None   at the end of the body
/// tail:    None ─────────────────────────────────────► Some ──► None   once it was sent
/// ```
struct Coded<'a> {
    encoder: Option<Encoder>,
    /// Coded bytes that wait for room.
    waiting: Bytes,
    /// What follows them.
    tail: Option<Tail>,
    /// Bytes that the encoder may still be fed in this turn.
    turn: usize,
    _place: Place<'a>,
}

enum Tail {
    End,
    Trailers(Fields),
}

impl<'a> Outgoing<'a> {
    /// The response to `request` on `stream`.
    pub(crate) fn new(
        stream: &'a mut SendStream,
        request: &'a RequestHead,
        codings: &'a Codings,
    ) -> Self {
        Self {
            stream,
            codings,
            request,
            coded: None,
        }
    }

    /// The stream itself.
    pub(crate) fn stream(&mut self) -> &mut SendStream {
        self.stream
    }

    /// As [`SendStream::first_capacity`].
    pub(crate) fn first_capacity(&self) -> usize {
        self.stream.first_capacity()
    }

    /// As [`SendStream::respond`]; decides what becomes of the response.
    pub(crate) fn respond(
        &mut self,
        head: &ResponseHead,
        body: Bytes,
        end: End,
    ) -> Result<(), AppError> {
        let changed = match policy::plan(self.request, head, &self.codings.preference) {
            Plan::Leave => None,
            Plan::Tell => headers::telling(head).ok(),
            Plan::Revalidated => headers::revalidated(head).ok(),
            Plan::Code(coding) => {
                let coded = match end {
                    End::Yes => self.respond_whole(coding, head, &body),
                    End::No => self.respond_in_parts(coding, head, &body),
                };
                if let Some(result) = coded {
                    return result;
                }
                headers::telling(head).ok()
            }
        };
        Ok(self
            .stream
            .respond(changed.as_ref().unwrap_or(head), body, end)?)
    }

    /// Codes a body that is all at hand; `None` where it should stay as it is.
    fn respond_whole(
        &mut self,
        coding: ContentCoding,
        head: &ResponseHead,
        body: &Bytes,
    ) -> Option<Result<(), AppError>> {
        if body.len() as u64 <= SMALL {
            return None;
        }
        let coded = encode(coding, body).ok()?;
        if coded.len() >= body.len() {
            return None;
        }
        let head = headers::coded(head, coding, Some(coded.len())).ok()?;
        let sent = self.stream.respond(&head, coded, End::Yes);
        Some(sent.map_err(AppError::from))
    }

    /// Starts to code a body; `None` where it should stay as it is.
    fn respond_in_parts(
        &mut self,
        coding: ContentCoding,
        head: &ResponseHead,
        body: &Bytes,
    ) -> Option<Result<(), AppError>> {
        let place = self.codings.place()?;
        let length = head.headers.get("content-length");
        let length = length.and_then(|v| std::str::from_utf8(v).ok()?.parse().ok());
        let mut encoder = Encoder::new(coding, length).ok()?;
        let head = headers::coded(head, coding, None).ok()?;
        let mut waiting = encoder.push(body).ok()?;
        let first = waiting.split_to(waiting.len().min(self.stream.first_capacity()));
        self.coded = Some(Coded {
            encoder: Some(encoder),
            waiting,
            tail: None,
            turn: PIECE,
            _place: place,
        });
        let sent = self.stream.respond(&head, first, End::No);
        Some(sent.map_err(AppError::from))
    }

    /// As [`SendStream::poll_capacity`]: how many bytes of the app's body are wanted. Pending, too,
    /// where others come first.
    pub(crate) fn poll_capacity(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, AppError>> {
        ready!(self.poll_drain(cx))?;
        let room = ready!(self.stream.poll_capacity(cx))?;
        let Some(coded) = &mut self.coded else {
            return Poll::Ready(Ok(room));
        };
        if coded.turn == 0 {
            coded.turn = PIECE;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(room.min(coded.turn)))
    }

    /// As [`SendStream::send_data`], with bytes of the app's body.
    pub(crate) fn send_data(&mut self, data: Bytes, end: End) -> Result<(), AppError> {
        let Some(coded) = &mut self.coded else {
            return Ok(self.stream.send_data(data, end)?);
        };
        coded.push(&data)?;
        match end {
            End::Yes => coded.finish(Tail::End),
            End::No => Ok(()),
        }
    }

    /// As [`SendStream::send_trailers`].
    pub(crate) fn send_trailers(&mut self, trailers: Fields) -> Result<(), AppError> {
        let Some(coded) = &mut self.coded else {
            return Ok(self.stream.send_trailers(trailers)?);
        };
        let trailers = headers::coded_trailers(&trailers).map_err(AppError::from_field)?;
        coded.finish(Tail::Trailers(trailers))
    }

    /// The app pauses: sends on whatever of its body waits in the coding, so that no byte waits for
    /// the next. Ready once the stream took all of it.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AppError>> {
        if let Some(coded) = &mut self.coded {
            coded.flush()?;
            return self.poll_drain(cx);
        }
        Poll::Ready(Ok(()))
    }

    /// Ready once a body that was sent to its end is on the stream whole.
    pub(crate) fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AppError>> {
        self.poll_drain(cx)
    }

    /// Moves coded bytes, and what follows them, to the stream.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AppError>> {
        let Some(coded) = &mut self.coded else {
            return Poll::Ready(Ok(()));
        };
        while !coded.waiting.is_empty() {
            let room = ready!(self.stream.poll_capacity(cx))?;
            let data = coded.waiting.split_to(room.min(coded.waiting.len()));
            let last = coded.waiting.is_empty() && matches!(coded.tail, Some(Tail::End));
            if last {
                coded.tail = None;
            }
            self.stream.send_data(data, End::from(last))?;
        }
        match coded.tail.take() {
            Some(Tail::Trailers(trailers)) => self.stream.send_trailers(trailers)?,
            Some(Tail::End) => self.stream.send_data(Bytes::new(), End::Yes)?,
            None => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl Coded<'_> {
    fn push(&mut self, data: &[u8]) -> Result<(), AppError> {
        self.turn = self.turn.saturating_sub(data.len());
        if let Some(encoder) = &mut self.encoder {
            let more = encoder.push(data).map_err(AppError::Coding)?;
            self.wait(more);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), AppError> {
        if let Some(encoder) = &mut self.encoder {
            let more = encoder.flush().map_err(AppError::Coding)?;
            self.wait(more);
        }
        Ok(())
    }

    fn finish(&mut self, tail: Tail) -> Result<(), AppError> {
        if let Some(encoder) = self.encoder.take() {
            let more = encoder.finish().map_err(AppError::Coding)?;
            self.wait(more);
        }
        self.tail = Some(tail);
        Ok(())
    }

    /// Puts `more` behind what waits.
    fn wait(&mut self, more: Bytes) {
        if self.waiting.is_empty() {
            self.waiting = more;
        } else if !more.is_empty() {
            let mut joined = BytesMut::with_capacity(self.waiting.len() + more.len());
            joined.extend_from_slice(&self.waiting);
            joined.extend_from_slice(&more);
            self.waiting = joined.freeze();
        }
    }
}

/// The whole of `body`, coded.
fn encode(coding: ContentCoding, body: &[u8]) -> io::Result<Bytes> {
    let mut encoder = Encoder::new(coding, Some(body.len() as u64))?;
    let first = encoder.push(body)?;
    let rest = encoder.finish()?;
    Ok(match first.is_empty() {
        true => rest,
        false => [first, rest].concat().into(),
    })
}
