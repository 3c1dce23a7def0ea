//! Handles on the two halves of a stream.
#![allow(unused_variables, clippy::todo)]

use std::task::{Context, Poll};

use anpx::{Fields, ResetCode, ResponseHead, StreamError, session::End};
use bytes::Bytes;

/// A response head as a gateway reads it.
#[derive(Clone, Debug)]
pub enum Head {
    /// 100, 102 to 199; the final head follows.
    Informational(ResponseHead),
    /// The final head. With `End::Yes` no body and no trailers follow.
    Final(ResponseHead, End),
}

/// A part of a body.
#[derive(Clone, Debug)]
pub enum Part {
    /// Body bytes, never empty. With `End::Yes` nothing follows.
    Data(Bytes, End),
    /// Trailers; nothing follows.
    Trailers(Fields),
}

/// The incoming half of a stream: at a gateway the response, at a receiver the request body.
/// Dropping both halves releases the stream (see [`anpx::session::Session::release`]).
#[derive(Debug)]
pub struct RecvStream {}

impl RecvStream {
    /// Gateway: the next response head.
    pub fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, StreamError>> {
        todo!()
    }

    /// The next part of the body; `None` once the half ended whole.
    pub fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Part, StreamError>>> {
        todo!()
    }

    /// True where the half ended whole and nothing is left to read: `poll_part` would give `None`.
    pub fn is_end(&self) -> bool {
        todo!()
    }
}

/// The outgoing half of a stream: at a gateway the request body, at a receiver the response.
#[derive(Debug)]
pub struct SendStream {}

impl SendStream {
    /// Receiver: sends an informational head.
    pub fn inform(&mut self, head: &ResponseHead) -> Result<(), StreamError> {
        todo!()
    }

    /// Receiver: sends the final head, with the first bytes of the body where they are at hand
    /// (at most [`SendStream::first_capacity`]).
    pub fn respond(
        &mut self,
        head: &ResponseHead,
        body: Bytes,
        end: End,
    ) -> Result<(), StreamError> {
        todo!()
    }

    /// Most body bytes [`SendStream::respond`] takes.
    pub fn first_capacity(&self) -> usize {
        todo!()
    }

    /// Ready with how many bytes (at least 1) [`SendStream::send_data`] takes now. Fails as soon as
    /// the stream is over, so it may be polled to learn of a reset even with nothing to send.
    pub fn poll_capacity(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, StreamError>> {
        todo!()
    }

    /// Sends at most the capacity last polled. An empty `data` with `End::Yes` needs no capacity.
    pub fn send_data(&mut self, data: Bytes, end: End) -> Result<(), StreamError> {
        todo!()
    }

    /// Sends trailers and ends the half.
    pub fn send_trailers(&mut self, trailers: Fields) -> Result<(), StreamError> {
        todo!()
    }

    /// Ends both halves at once, for `code`'s reason.
    pub fn reset(&mut self, code: ResetCode) {
        todo!()
    }

    /// Ready once the stream is over before its time: the peer reset it or the tunnel ended.
    pub fn poll_error(&mut self, cx: &mut Context<'_>) -> Poll<StreamError> {
        todo!()
    }

    /// Gateway: true once the receiver may have processed the request (see [`anpx::session::Session::is_committed`]).
    pub fn is_committed(&self) -> bool {
        todo!()
    }
}
