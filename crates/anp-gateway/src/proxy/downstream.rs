//! What the road of a request needs of its caller, whichever HTTP the caller speaks.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use anpx::{Fields, ResponseHead};
use bytes::Bytes;

use super::failure::Failure;

/// A piece of a request's body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Bytes, never empty.
    Data(Bytes),
    /// The trailer section; nothing follows.
    Trailers(Fields),
    /// Nothing follows.
    End,
}

/// The caller of one request.
pub(crate) trait Downstream {
    /// True once everything of the request's body was taken.
    fn is_body_whole(&self) -> bool;

    /// The next piece of the request's body. Asked for only when it can be sent on, so that what an
    /// app does not read stays with its caller.
    ///
    /// # Errors
    /// The caller left, or what it sends is no valid body.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Failure>>;

    /// Gives this request other times than the connection has: for the head of its response, and for
    /// bodies to stand still. The former runs from now.
    fn allow(&mut self, response: Option<Duration>, idle: Option<Duration>);

    /// The gateway itself holds the request up: puts off when the phase took too long.
    fn put_off(&mut self);

    /// Passes on an informational head, where the caller's HTTP has them.
    fn inform(&mut self, head: &ResponseHead);

    /// Ready once the caller has left. Polled while the request waits, also to get out what
    /// [`Downstream::inform`] was given.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Ready once the phase that the request is in took too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}
