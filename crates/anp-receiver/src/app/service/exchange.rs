//! One request to a service and its response.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use anp_tunnel::{RecvStream, SendStream};
use anpx::{Fields, RequestHead, ResponseHead, session::End};
use bytes::{Buf, Bytes};
use http::{Request, Response};
use http_body::{Body as _, Frame};
use tower_service::Service;
use tracing::error;

use super::{
    body::Body,
    call::{call, guarded},
    heads::{self, Carries},
};
use crate::{
    app::{
        error::{AppError, BoxError, Fault},
        sparing::Sparing,
    },
    coding::{Codings, Outgoing},
};

/// Calls `service` and sends its response. The call, or the response's body, is dropped as soon as
/// the stream ends.
///
/// # Errors
/// The stream has to be reset, or is over.
pub(super) async fn exchange<S, B>(
    service: S,
    head: &RequestHead,
    recv: RecvStream,
    response: &mut SendStream,
    codings: &Codings,
    faults: &Arc<Sparing>,
) -> Result<(), AppError>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    let request = match heads::request(head, Body::new(head, recv)) {
        Ok(request) => request,
        Err(AppError::BadRequest(why)) => {
            return answer(response, 400, format!("400 Bad Request: {why}\n"));
        }
        Err(error) => return Err(error),
    };
    let answered = {
        let mut calling = pin!(call(service, request));
        poll_fn(|cx| match response.poll_error(cx) {
            Poll::Ready(gone) => Poll::Ready(Err(AppError::from(gone))),
            Poll::Pending => calling.as_mut().poll(cx).map(Ok),
        })
        .await?
    };
    let (parts, body) = match answered {
        Ok(answered) => answered.into_parts(),
        Err(fault) => {
            tell(head, &fault, faults);
            return answer(response, 500, "500 Internal Server Error\n".into());
        }
    };
    let is_head = head.method == "HEAD";
    let (told, carries) = heads::response(&parts, is_head, body.size_hint().exact())?;
    let mut outgoing = Outgoing::new(response, head, codings);
    if carries == Carries::Nothing {
        return outgoing.respond(&told, Bytes::new(), End::Yes);
    }
    let mut sending = Sending {
        body: pin!(body),
        outgoing,
        head: Some(told),
        waiting: None,
        ended: false,
    };
    let sent = poll_fn(|cx| sending.poll(cx)).await;
    let is_begun = sending.head.is_none();
    drop(sending);
    match sent {
        Err(AppError::Service(fault)) if !is_begun => {
            tell(head, &fault, faults);
            answer(response, 500, "500 Internal Server Error\n".into())
        }
        sent => sent,
    }
}

/// Says what became of a service's call; the caller learns nothing of it. `faults` knows what was said.
pub(super) fn tell(head: &RequestHead, fault: &Fault, faults: &Arc<Sparing>) {
    let more = |omitted| {
        error!(
            omitted,
            "the app failed {omitted} more times within a second"
        )
    };
    if faults.allows(more) {
        let request_id = head.request_id.escape_ascii();
        error!(%request_id, "the app failed: {fault}");
    }
}

/// Answers in the service's place.
fn answer(response: &mut SendStream, status: u16, text: String) -> Result<(), AppError> {
    let length = text.len().to_string();
    let headers = Fields::from_pairs([
        ("content-type", "text/plain; charset=utf-8"),
        ("content-length", &length),
    ])
    .map_err(AppError::from_field)?;
    let head = ResponseHead { status, headers };
    Ok(response.respond(&head, text.into(), End::Yes)?)
}

/// A response on its way.
struct Sending<'a, B: http_body::Body> {
    body: Pin<&'a mut B>,
    outgoing: Outgoing<'a>,
    /// The head, until it is sent.
    head: Option<ResponseHead>,
    /// What is left of a piece that was larger than what the stream took.
    waiting: Option<B::Data>,
    /// The body's end was sent.
    ended: bool,
}

impl<B> Sending<'_, B>
where
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AppError>> {
        if let Poll::Ready(error) = self.outgoing.stream().poll_error(cx) {
            return Poll::Ready(Err(error.into()));
        }
        if self.head.is_some() {
            self.respond(cx)?;
        }
        while !self.ended {
            let room = ready!(self.outgoing.poll_capacity(cx))?;
            let Poll::Ready((data, end)) = self.poll_piece(cx, room)? else {
                let _ = self.outgoing.poll_flush(cx)?;
                return Poll::Pending;
            };
            self.send(data, end)?;
        }
        self.outgoing.poll_done(cx)
    }

    /// Sends the head, with the body or as much of it as is at hand.
    fn respond(&mut self, cx: &mut Context<'_>) -> Result<(), AppError> {
        let room = self.outgoing.first_capacity();
        let piece = match room {
            // Without room (a peer that grants nothing) the head goes alone.
            0 => Poll::Pending,
            _ => self.poll_piece(cx, room)?,
        };
        let Some(head) = self.head.take() else {
            return Ok(());
        };
        let (data, end) = match piece {
            Poll::Ready((data, Some(Tail::End))) => {
                self.ended = true;
                (data, End::Yes)
            }
            Poll::Ready((data, tail)) => {
                self.outgoing.respond(&head, data, End::No)?;
                return self.send(Bytes::new(), tail);
            }
            Poll::Pending => (Bytes::new(), End::No),
        };
        self.outgoing.respond(&head, data, end)
    }

    fn send(&mut self, data: Bytes, tail: Option<Tail>) -> Result<(), AppError> {
        match tail {
            Some(Tail::Trailers(trailers)) => {
                if !data.is_empty() {
                    self.outgoing.send_data(data, End::No)?;
                }
                self.outgoing.send_trailers(trailers)?;
                self.ended = true;
                Ok(())
            }
            Some(Tail::End) => {
                self.ended = true;
                self.outgoing.send_data(data, End::Yes)
            }
            None if data.is_empty() => Ok(()),
            None => self.outgoing.send_data(data, End::No),
        }
    }

    /// The next of the body, at most `room` bytes.
    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
    ) -> Poll<Result<(Bytes, Option<Tail>), AppError>> {
        let mut data = match self.waiting.take() {
            Some(data) => data,
            None => match ready!(self.poll_frame(cx))? {
                None => return Poll::Ready(Ok((Bytes::new(), Some(Tail::End)))),
                Some(frame) => match frame.into_data() {
                    Ok(data) => data,
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        let trailers = heads::trailers(&trailers)?;
                        return Poll::Ready(Ok((Bytes::new(), Some(Tail::Trailers(trailers)))));
                    }
                },
            },
        };
        let piece = data.copy_to_bytes(room.min(data.remaining()));
        if data.has_remaining() {
            self.waiting = Some(data);
            return Poll::Ready(Ok((piece, None)));
        }
        let end = guarded(|| self.body.is_end_stream()).map_err(AppError::Service)?;
        if piece.is_empty() && !end {
            // Others of the worker get their turn before an empty frame's successor.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok((piece, end.then_some(Tail::End))))
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<B::Data>>, AppError>> {
        let polled = guarded(|| self.body.as_mut().poll_frame(cx)).map_err(AppError::Service)?;
        Poll::Ready(match ready!(polled) {
            Some(Ok(frame)) => Ok(Some(frame)),
            Some(Err(error)) => Err(AppError::Service(Fault::Error(error.into()))),
            None => Ok(None),
        })
    }
}

/// What follows a piece.
enum Tail {
    End,
    Trailers(Fields),
}
