//! Handles on the two halves of a stream.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use anpx::{
    Fields, ResetCode, ResponseHead, StreamError,
    session::{End, Read, StreamId},
};
use bytes::Bytes;

use crate::{
    shared::{Shared, State},
    timer::now,
};

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

/// One handle on a stream; with the last one dropped the stream is released.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    id: StreamId,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let waited = self.shared.with(|state| state.drop_handle(self.id));
        drop(waited);
    }
}

/// The two handles on a stream that was just opened or accepted.
pub(crate) fn halves(
    shared: &Arc<Shared>,
    state: &mut State,
    id: StreamId,
) -> (SendStream, RecvStream) {
    state.add_handles(id);
    let handle = || Handle {
        shared: Arc::clone(shared),
        id,
    };
    (
        SendStream {
            handle: handle(),
            responded: None,
        },
        RecvStream {
            handle: handle(),
            ended: false,
        },
    )
}

/// The incoming half of a stream: at a gateway the response, at a receiver the request body.
/// Dropping both halves releases the stream (see [`anpx::session::Session::release`]).
#[derive(Debug)]
pub struct RecvStream {
    handle: Handle,
    /// The end was read.
    ended: bool,
}

impl RecvStream {
    /// Gateway: the next response head.
    ///
    /// # Errors
    /// The stream was reset or its tunnel ended before the head came; or the head was read already.
    pub fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, StreamError>> {
        Poll::Ready(match ready!(self.poll_read(cx))? {
            Read::Informational(head) => Ok(Head::Informational(head)),
            Read::Head(head, end) => Ok(Head::Final(head, end)),
            _ => Err(StreamError::Reset(ResetCode::INTERNAL)),
        })
    }

    /// The next part of the body; `None` once the half ended whole.
    ///
    /// # Errors
    /// The half broke off: what was read of it is not a whole message.
    pub fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Part, StreamError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(self.poll_read(cx)) {
            Ok(Read::Data(data, end)) => Some(Ok(Part::Data(data, end))),
            Ok(Read::Trailers(trailers)) => Some(Ok(Part::Trailers(trailers))),
            Ok(Read::End | Read::Pending) => None,
            Ok(Read::Head(..) | Read::Informational(_)) => {
                Some(Err(StreamError::Reset(ResetCode::INTERNAL)))
            }
            Err(error) => Some(Err(error)),
        })
    }

    /// True where the half ended whole and everything of it was read: `poll_part` would give `None`.
    pub fn is_end(&self) -> bool {
        self.ended
    }

    /// Receiver: asks the caller for the body, where it waits to be asked (`expect: 100-continue`,
    /// RFC 9110 section 10.1.1). Says nothing once the final head was sent.
    ///
    /// # Errors
    /// The stream is over.
    pub fn ask(&mut self) -> Result<(), StreamError> {
        let id = self.handle.id;
        let head = ResponseHead {
            status: 100,
            headers: Fields::default(),
        };
        self.handle
            .shared
            .with(|state| state.session()?.inform(id, &head))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Read, StreamError>> {
        let id = self.handle.id;
        let read = self.handle.shared.with(|state| {
            let read = state.session()?.read(now, id)?;
            if matches!(read, Read::Pending) {
                state.wait_read(id, cx.waker());
            }
            Ok(read)
        })?;
        match &read {
            Read::Pending => return Poll::Pending,
            Read::Head(_, end) | Read::Data(_, end) => self.ended = end.is_end(),
            Read::Trailers(_) | Read::End => self.ended = true,
            Read::Informational(_) => {}
        }
        Poll::Ready(Ok(read))
    }
}

/// The outgoing half of a stream: at a gateway the request body, at a receiver the response.
#[derive(Debug)]
pub struct SendStream {
    handle: Handle,
    /// The status of the final head that was sent.
    responded: Option<u16>,
}

impl SendStream {
    /// Receiver: sends an informational head.
    ///
    /// # Errors
    /// The stream is over.
    pub fn inform(&mut self, head: &ResponseHead) -> Result<(), StreamError> {
        let id = self.handle.id;
        self.handle
            .shared
            .with(|state| state.session()?.inform(id, head))
    }

    /// Receiver: sends the final head, with the first bytes of the body where they are at hand
    /// (at most [`SendStream::first_capacity`]).
    ///
    /// # Errors
    /// The stream is over.
    pub fn respond(
        &mut self,
        head: &ResponseHead,
        body: Bytes,
        end: End,
    ) -> Result<(), StreamError> {
        let id = self.handle.id;
        self.handle
            .shared
            .with(|state| state.session()?.respond(id, head, body, end))?;
        self.responded = Some(head.status);
        Ok(())
    }

    /// Receiver: the status of the final head that was sent with [`SendStream::respond`]; `None`
    /// before.
    pub fn responded(&self) -> Option<u16> {
        self.responded
    }

    /// Most body bytes [`SendStream::respond`] takes.
    pub fn first_capacity(&self) -> usize {
        self.handle
            .shared
            .with(|state| state.session().map_or(0, |s| s.first_capacity()))
    }

    /// Ready with how many bytes (at least 1) [`SendStream::send_data`] takes now. Fails as soon as
    /// the stream is over, so it may be polled to learn of a reset even with nothing to send.
    ///
    /// # Errors
    /// The stream is over.
    pub fn poll_capacity(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, StreamError>> {
        let id = self.handle.id;
        self.handle
            .shared
            .with(|state| match state.session()?.send_capacity(id)? {
                0 => {
                    state.wait_write(id, cx.waker());
                    Poll::Pending
                }
                capacity => Poll::Ready(Ok(capacity)),
            })
    }

    /// Sends at most the capacity last polled. An empty `data` with `End::Yes` needs no capacity.
    ///
    /// # Errors
    /// The stream is over.
    pub fn send_data(&mut self, data: Bytes, end: End) -> Result<(), StreamError> {
        let id = self.handle.id;
        self.handle
            .shared
            .with(|state| state.session()?.send_data(id, data, end))
    }

    /// Sends trailers and ends the half.
    ///
    /// # Errors
    /// The stream is over.
    pub fn send_trailers(&mut self, trailers: Fields) -> Result<(), StreamError> {
        let id = self.handle.id;
        self.handle
            .shared
            .with(|state| state.session()?.send_trailers(id, trailers))
    }

    /// Ends both halves at once, for `code`'s reason.
    pub fn reset(&mut self, code: ResetCode) {
        let id = self.handle.id;
        self.handle.shared.with(|state| {
            if let Ok(session) = state.session() {
                session.reset(id, code);
            }
        });
    }

    /// Ready once the stream is over before its time: the peer reset it or the tunnel ended.
    pub fn poll_error(&mut self, cx: &mut Context<'_>) -> Poll<StreamError> {
        let id = self.handle.id;
        self.handle.shared.with(|state| {
            let error = match state.session() {
                Ok(session) => session.stream_error(id),
                Err(error) => Some(error),
            };
            if error.is_none() {
                state.wait_write(id, cx.waker());
            }
            error.map_or(Poll::Pending, Poll::Ready)
        })
    }

    /// Gateway: true once the receiver may have processed the request (see
    /// [`anpx::session::Session::is_committed`]).
    pub fn is_committed(&self) -> bool {
        let id = self.handle.id;
        self.handle
            .shared
            .with(|state| state.session().map_or(true, |s| s.is_committed(id)))
    }
}
