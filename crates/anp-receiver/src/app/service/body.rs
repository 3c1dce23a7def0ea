//! The body of a request as a service reads it.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use anp_http1::fields::parse_length;
use anp_tunnel::{Part, RecvStream};
use anpx::{RequestHead, StreamError};
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::app::h2::header_map;

/// A request's body, streamed.
///
/// What is not polled stays at the gateway: a service that reads slowly holds back its caller, and
/// where the caller waits to be asked (`expect: 100-continue`), the first poll asks. Trailers come
/// as the last frame. The body may outlive the response; dropped, it refuses the rest.
#[derive(Debug, Default)]
pub struct Body(Option<Stream>);

/// The request broke off: the caller or the tunnel went away, and what was read is no whole body.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the request's body broke off: {0}")]
pub struct BodyError(#[source] StreamError);

#[derive(Debug)]
struct Stream {
    recv: RecvStream,
    /// A part that was there with the head.
    first: Option<Part>,
    /// The caller waits to be asked.
    expects: bool,
    /// Bytes that are still to come, where the head said how many.
    left: Option<u64>,
}

impl Body {
    /// A body without anything in it.
    pub fn empty() -> Self {
        Self(None)
    }

    /// The body of the request `head`.
    pub(super) fn new(head: &RequestHead, mut recv: RecvStream) -> Self {
        let left = head.headers.get("content-length").and_then(parse_length);
        // Only a body of unknown length is looked at before anybody asks: the usual one is empty.
        let first = match left {
            None => recv.poll_part(&mut Context::from_waker(Waker::noop())),
            Some(_) => Poll::Pending,
        };
        if left == Some(0) || matches!(first, Poll::Ready(None)) {
            return Self::empty();
        }
        Self(Some(Stream {
            recv,
            first: match first {
                Poll::Ready(Some(Ok(part))) => Some(part),
                // An error comes again at the next poll.
                _ => None,
            },
            expects: head.expects_continue(),
            left,
        }))
    }
}

impl Stream {
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Part, StreamError>>> {
        if let Some(part) = self.first.take() {
            return Poll::Ready(Some(Ok(part)));
        }
        let polled = self.recv.poll_part(cx);
        if std::mem::take(&mut self.expects) && polled.is_pending() {
            self.recv.ask()?;
        }
        polled
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(stream) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let (frame, over) = match ready!(stream.poll_part(cx)) {
            Some(Ok(Part::Data(data, end))) => {
                let len = data.len() as u64;
                stream.left = stream.left.map(|left| left.saturating_sub(len));
                (Some(Ok(Frame::data(data))), end.is_end())
            }
            // The wire's rules for fields are stricter than the map's.
            Some(Ok(Part::Trailers(trailers))) => {
                let trailers = header_map(&trailers).unwrap_or_default();
                (Some(Ok(Frame::trailers(trailers))), true)
            }
            Some(Err(error)) => (Some(Err(BodyError(error))), true),
            None => (None, true),
        };
        if over {
            self.0 = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            None => SizeHint::with_exact(0),
            Some(Stream {
                left: Some(left), ..
            }) => SizeHint::with_exact(*left),
            Some(_) => SizeHint::default(),
        }
    }
}
